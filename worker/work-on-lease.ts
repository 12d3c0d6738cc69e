/** One lease, from grant to a receipt that the farm has taken, kept alive meanwhile. */
import { ask } from '../platform/nats/exchange.ts';
import { runtimeOf } from '../platform/render/engines.ts';
import { pause } from '../platform/wait.ts';
import { receiptLeaf } from '../proof/receipts.ts';
import { FarmError, isFarmError, toFarmError } from '../protocol/errors.ts';
import { type LeaseGrant, NODE_EXCHANGES, nodeSubject } from '../protocol/messages.ts';
import { classifyFailure } from './classify-failure.ts';
import { doTask } from './do-task.ts';
import { wantsNext } from './lookahead.ts';
import type { Node } from './node.ts';
import { receiptFor } from './receipt.ts';
import { REQUEST_TIMEOUT_MS } from './request-timeout.ts';

/** Between two tries of a node whose network or storage does not work. */
const INFRASTRUCTURE_PAUSE_MS = 2_000;

/**
 * Does one task under its lease; gives it back with the reason when it cannot. Never throws for the task's sake.
 * `onNearlyDone` is called once it is time to lease the next one; more than once does no harm.
 */
export async function workOn(
  node: Node,
  grant: LeaseGrant,
  onNearlyDone: () => void,
  signal: AbortSignal,
): Promise<void> {
  const { taskId, token } = grant;
  const losing = new AbortController();
  const working = AbortSignal.any([signal, losing.signal]);
  let progress = 0;
  using _lease = node.leases.hold({
    taskId,
    token,
    progress: () => progress,
    onLost: () => losing.abort(),
  });
  using expected = node.deliveries.expect();
  try {
    // Before anything is fetched for it.
    const { engine } = runtimeOf(node.engines, grant.engine);
    const result = await doTask(
      grant,
      node,
      (fraction) => {
        progress = fraction;
        if (wantsNext({ fraction, lastRenderMs: node.last?.renderMs ?? null })) onNearlyDone();
      },
      working,
    );
    onNearlyDone();
    const receipt = receiptFor(grant, result, engine, node.key);
    const { renderMs, peakMemoryBytes } = result;
    try {
      await expected.handIn(
        { grant, receipt, leaf: receiptLeaf(receipt), renderMs, peakMemoryBytes },
        working,
      );
    } finally {
      // Also after an error: a delivery whose answer was lost on the way counts at the farm, which then wants the file.
      if (result.kept) node.kept.confirm(result.exrDigest);
    }
    node.log.info(
      { taskId, jobId: grant.jobId, frame: grant.frame, renderMs: Math.round(renderMs) },
      'delivered',
    );
  } catch (error) {
    if (working.aborted || isFarmError(error, 'LEASE_LOST')) {
      node.log.info({ taskId }, 'the lease is over; the work is dropped');
      // Stopped on purpose: said so, the next node has the task at once.
      if (signal.aborted && !losing.signal.aborted)
        await giveBack(node, grant, new FarmError('FARM_UNREACHABLE', 'the node was stopped'));
      return;
    }
    const failure = toFarmError(error);
    node.log.warn({ err: failure, taskId }, 'the task failed');
    await giveBack(node, grant, failure);
    // A network or a disk that fails now fails again at once.
    if (classifyFailure(failure) === 'infrastructure') await pause(INFRASTRUCTURE_PAUSE_MS, signal);
  }
}

/** Tells the farm that this node will not do the task, and why. */
async function giveBack(node: Node, grant: LeaseGrant, failure: FarmError): Promise<void> {
  const { taskId, token } = grant;
  const message = failure.message.slice(0, 4_000);
  const report = { taskId, token, failureClass: classifyFailure(failure), code: failure.code, message };
  const subject = nodeSubject(node.config.nodeId, 'fail');
  await ask(node.nats, NODE_EXCHANGES.fail, subject, report, REQUEST_TIMEOUT_MS)
    // Nobody listening: the lease runs out, which says the same.
    .catch((cause: unknown) => node.log.warn({ err: cause, taskId }, 'the failure could not be reported'));
}
