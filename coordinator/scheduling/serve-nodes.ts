/** What nodes may ask, wired to what answers it. */
import type { NatsConnection } from 'nats';
import { serve } from '../../platform/nats/exchange.ts';
import { Together } from '../../platform/together.ts';
import { isFarmError } from '../../protocol/errors.ts';
import { nodeIdSchema, type TaskId } from '../../protocol/ids.ts';
import { NODE_EXCHANGES } from '../../protocol/messages.ts';
import type { CoordinatorContext } from '../context.ts';
import { observeNodes } from '../observing/observe-nodes.ts';
import { takeAppeal } from '../settlement/appeals.ts';
import { requireMayJoin } from '../sign-in/may-join.ts';
import type { AppealDesk } from '../verification/appeal-desk.ts';
import type { HandOver } from '../verification/hand-over.ts';
import { type Completed, type Completion, completeAll, MAX_COMPLETIONS } from './complete-tasks.ts';
import type { Dispatcher } from './dispatcher.ts';
import { registerNode, whatToSign } from './enrolment.ts';
import { failTask } from './fail-task.ts';
import { type Beat, extendAll, MAX_TOGETHER } from './heartbeat.ts';
import { type KnownNode, MAX_LOOKED_UP, type Question, welcomeNode, workingNodes } from './nodes.ts';

/** Heartbeats in a lease's time: two may be lost without losing the lease. */
const HEARTBEATS_PER_LEASE = 3;

/** A node that may not work asks again after this; it is idle anyway. */
const NO_WORK_RETRY_MS = 5_000;

export async function serveNodes(
  context: CoordinatorContext,
  nats: NatsConnection,
  dispatcher: Dispatcher,
  { handOver, appeals }: { handOver: HandOver; appeals: AppealDesk },
  housekeeping: { delivered(tasks: number): void; wake(): void },
  onProgress: () => void,
  signal: AbortSignal,
): Promise<void> {
  const nodes = new Together<Question, KnownNode>((some) => workingNodes(context, some), MAX_LOOKED_UP);
  const beats = new Together<Beat, TaskId[]>((some) => extendAll(context, some), MAX_TOGETHER);
  const completions = new Together<Completion, Completed>(
    (some) => completeAll(context, some),
    MAX_COMPLETIONS,
  );
  await serve(
    nats,
    'node',
    NODE_EXCHANGES,
    nodeIdSchema,
    observeNodes(context.metrics, {
      hello: async (from, hello) => {
        requireMayJoin(context.config.join, { role: 'node', id: from, address: hello.address });
        const deviceClass = await welcomeNode(context, from, hello);
        const { chain } = context;
        return {
          enrol: await whatToSign(context, from, hello, deviceClass, signal),
          ...{ chainId: chain.chainId, escrow: chain.escrowAddress },
          ...{ registry: chain.registryAddress, token: chain.tokenAddress },
          heartbeatMs: Math.max(50, Math.floor(context.config.leaseMs / HEARTBEATS_PER_LEASE)),
        };
      },
      register: async (from, message) => {
        await registerNode(context, from, message, signal);
        return {};
      },
      lease: async (from, { device, run, warmScene }) => {
        try {
          const node = await nodes.run({ id: from, device });
          return await dispatcher.lease(
            { ...node, warm: warmScene === null ? [] : [warmScene] },
            run,
            signal,
          );
        } catch (error) {
          if (!isFarmError(error, 'NODE_QUARANTINED') && !isFarmError(error, 'NODE_NOT_REGISTERED'))
            throw error;
          return { run: null, reason: error.message, retryAfterMs: NO_WORK_RETRY_MS };
        }
      },
      heartbeat: async (from, { leases }) => ({ lost: await beats.run({ nodeId: from, leases }) }),
      complete: async (from, message) => {
        const { moved, lost, queued } = await completions.run({ nodeId: from, message });
        if (moved === null) housekeeping.delivered(message.deliveries.length);
        if (queued) housekeeping.wake();
        // It may have had as much in flight as it may have.
        if (moved === null) dispatcher.wake();
        return { moved, lost };
      },
      kept: (from, { kept }) => handOver.answer(from, kept, signal),
      failed: async (from) => ({ batch: await appeals.answer(from, signal) }),
      appeal: async (from, message) => {
        await takeAppeal(context, from, message, signal);
        onProgress();
        return {};
      },
      fail: async (from, message) => {
        await failTask(context, from, message);
        onProgress();
        return {};
      },
    }),
    signal,
    (error, subject, from) => context.log.warn({ err: error, subject, nodeId: from }, 'a node was refused'),
  );
}
