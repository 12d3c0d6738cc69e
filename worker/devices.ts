/** The devices of a node: each has its own leases and renders one task at a time, beside the others. */
import { Mutex } from '../platform/mutex.ts';
import { ask } from '../platform/nats/exchange.ts';
import type { BoundDevice } from '../platform/render/device-choice.ts';
import type { RenderRuntime } from '../platform/render/runtime.ts';
import { backoffMs, pause, stoppable } from '../platform/wait.ts';
import {
  type LeaseGrant,
  type LeaseRequest,
  type LeaseRun,
  MAX_RUN,
  NODE_EXCHANGES,
  nodeSubject,
} from '../protocol/messages.ts';
import { tasksPerRun } from './lookahead.ts';
import type { Node, NodeDevice } from './node.ts';
import { workOn } from './work-on-lease.ts';

/** A run that is rendered and one on its way to the farm: a farm that takes nothing is not asked for more. */
const MAX_IN_FLIGHT = 2 * MAX_RUN;

/** The coordinator answers a lease request within 15 s even when there is nothing. */
const LEASE_TIMEOUT_MS = 30_000;

/** As long as the name of a device may be (protocol/messages.ts). */
const MAX_NAME = 128;

/** What a GPU is called between its node and the farm. */
export function deviceName(device: Pick<BoundDevice, 'card'>): string {
  return device.card.slice(-MAX_NAME);
}

/** The CPU, then every GPU, each with the engines that render on it. A node without a GPU has one device. */
export function devicesOf(engines: readonly RenderRuntime[]): NodeDevice[] {
  const byName = new Map<string | undefined, RenderRuntime[]>();
  for (const runtime of engines) {
    const { device } = runtime.engine;
    const name = device && deviceName(device);
    byName.set(name, [...(byName.get(name) ?? []), runtime]);
  }
  return [...byName].map(([device, own]) => ({
    device,
    engines: own,
    turn: new Mutex(),
    last: null,
  }));
}

/**
 * Asks for tasks and has a few of them under way: while one renders, the next one's scene is fetched and the last one's
 * result travels. Rendering itself is one at a time ({@link Node.turn}). Every device of a node does this for itself.
 */
export async function workUntilStopped(node: Node, signal: AbortSignal): Promise<void> {
  const inFlight = new Set<Promise<void>>();
  let attempt = 0;
  while (!signal.aborted) {
    try {
      await roomToKeep(node, signal);
      if (signal.aborted) break;
      const subject = nodeSubject(node.config.nodeId, 'lease');
      // Not to be waited for when the node stops: the lease, should one come, runs out by itself.
      const reply = await stoppable(
        ask(node.nats, NODE_EXCHANGES.lease, subject, requestOf(node), LEASE_TIMEOUT_MS),
        signal,
      );
      attempt = 0;
      if (reply === null) break;
      if (reply.run !== null) {
        const nearlyDone = grantsOf(reply.run).map((grant) => {
          return new Promise<void>((resolve) => {
            const work = workOn(node, grant, resolve, signal).finally(() => {
              inFlight.delete(work);
              resolve();
            });
            inFlight.add(work);
          });
        });
        // The next run is asked for while the last but one renders: one more is at hand until the answer comes.
        await (nearlyDone.at(-2) ?? nearlyDone.at(-1));
        while (inFlight.size >= MAX_IN_FLIGHT) await Promise.race(inFlight);
      } else if (reply.retryAfterMs > 0) {
        node.log.warn({ reason: reply.reason }, 'the farm gives this node no work');
        await pause(reply.retryAfterMs, signal);
      }
    } catch (error) {
      if (signal.aborted) break;
      node.log.warn({ err: error }, 'the farm could not be asked for work; trying again');
      await pause(backoffMs(attempt++), signal);
    }
  }
  await Promise.all(inFlight);
}

function requestOf({ device, sessions, last }: Node): LeaseRequest {
  return {
    warmScene: sessions.warm[0]?.scene ?? null,
    ...(device !== undefined && { device }),
    ...(last !== null && {
      run: { scene: last.scene, kind: last.kind, tasks: tasksPerRun(last.renderMs) },
    }),
  };
}

function grantsOf({ tasks, ...common }: LeaseRun): LeaseGrant[] {
  return tasks.map((task) => ({ ...common, ...task }));
}

/** A node whose disk is full of what may still be drawn takes no more work until some of it is settled. */
async function roomToKeep({ kept, log }: Pick<Node, 'kept' | 'log'>, signal: AbortSignal): Promise<void> {
  if (kept.hasRoom) return;
  log.warn({ bytes: kept.bytes }, 'no more work until kept frames are settled: their folder is full');
  await kept.untilRoom(signal);
}
