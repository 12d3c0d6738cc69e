/** One lease, from grant to signed receipt, kept alive by heartbeats. */
import { escrowDomain, type SigningDomain } from '../platform/chain/signing.ts';
import { ask } from '../platform/nats/exchange.ts';
import { runtimeOf } from '../platform/render/engines.ts';
import type { EngineInfo } from '../platform/render/runtime.ts';
import { whileUnreachable } from '../platform/retry.ts';
import { pause } from '../platform/wait.ts';
import { receiptLeaf } from '../proof/receipts.ts';
import { FarmError, isFarmError, toFarmError } from '../protocol/errors.ts';
import {
  type LeaseGrant,
  MAX_RECEIPTS,
  NODE_EXCHANGES,
  nodeSubject,
  type Welcome,
} from '../protocol/messages.ts';
import type { Receipt } from '../protocol/receipt.ts';
import { classifyFailure } from './classify-failure.ts';
import { receiptFor, signBatch } from './deliver.ts';
import { doTask, type TaskResult } from './do-task.ts';
import { wantsNext } from './lookahead.ts';
import { type Node, REQUEST_TIMEOUT_MS } from './node.ts';

/** Longer than a restart of the farm takes; a result that is done is worth delivering. */
const PATIENCE_MS = 120_000;

/** Between two tries of a node whose network or storage does not work. */
const INFRASTRUCTURE_PAUSE_MS = 2_000;

/** The batch can move while it is signed (closed by age, another receipt); more often than this is a fault. */
const MAX_SIGNINGS = 5;

/** Batches remembered; a node works on few jobs at a time, and one that is forgotten costs one more question. */
const MAX_REMEMBERED = 32;

/**
 * Does one task under its lease; gives it back with the reason when it cannot. Never throws for the task's sake.
 * `onNearlyDone` is called once it is time to lease the next one; more than once does no harm.
 */
export async function workOn(
  node: Node,
  grant: LeaseGrant,
  welcome: Welcome,
  onNearlyDone: () => void,
  signal: AbortSignal,
): Promise<void> {
  const { taskId } = grant;
  const losing = new AbortController();
  const working = AbortSignal.any([signal, losing.signal]);
  const progress = { fraction: 0 };
  const beating = beat(node, grant, welcome.heartbeatMs, progress, losing, working);
  try {
    // Before anything is fetched for it.
    const { engine } = runtimeOf(node.engines, grant.engine);
    const result = await doTask(
      grant,
      node,
      (fraction) => {
        progress.fraction = fraction;
        if (wantsNext({ fraction, lastRenderMs: node.lastRenderMs })) onNearlyDone();
      },
      working,
    );
    onNearlyDone();
    await deliver(node, grant, { result, engine }, escrowDomain(welcome.chainId, welcome.escrow), working);
    node.log.info(
      { taskId, jobId: grant.jobId, frame: grant.frame, renderMs: Math.round(result.renderMs) },
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
  } finally {
    losing.abort();
    await beating;
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

async function deliver(
  node: Node,
  grant: LeaseGrant,
  { result, engine }: { result: TaskResult; engine: EngineInfo },
  domain: SigningDomain,
  working: AbortSignal,
): Promise<void> {
  const receipt = receiptFor(grant, result, engine, node.key);
  try {
    await node.signing.run(() => sendSigned(node, grant, { receipt, result, domain }, working));
  } finally {
    // Also after an error: a delivery whose answer was lost on the way counts at the farm, which then wants the file.
    if (result.kept) node.kept.confirm(result.exrDigest);
  }
}

async function sendSigned(
  node: Node,
  grant: LeaseGrant,
  { receipt, result, domain }: { receipt: Receipt; result: TaskResult; domain: SigningDomain },
  working: AbortSignal,
): Promise<void> {
  const place = `${grant.jobId}/${grant.kind}`;
  // The grant is from before the receipts that this node has sent since.
  const known = node.batches.get(place);
  // A task that came back gives the same receipt again; the batch that holds the first one is over then.
  let batch = known === undefined || known.leaves.includes(receiptLeaf(receipt)) ? grant.batch : known;
  for (let signing = 0; signing < MAX_SIGNINGS; signing++) {
    const signed = await signBatch(receipt, batch, { journal: node.journal, domain, key: node.key });
    const message = {
      taskId: grant.taskId,
      token: grant.token,
      receipt,
      renderMs: result.renderMs,
      peakMemoryBytes: result.peakMemoryBytes,
      batch: signed,
    };
    const subject = nodeSubject(node.config.nodeId, 'complete');
    const send = () => ask(node.nats, NODE_EXCHANGES.complete, subject, message, REQUEST_TIMEOUT_MS);
    const reply = await whileUnreachable(send, working, PATIENCE_MS);
    if (reply.moved === null) {
      const leaves = [...batch.leaves, receiptLeaf(receipt)];
      node.batches.delete(place);
      if (leaves.length < MAX_RECEIPTS)
        node.batches.set(place, { batchId: batch.batchId, leaves, amount: signed.amount });
      forgetOldest(node.batches);
      return;
    }
    batch = reply.moved;
  }
  throw new FarmError('BATCH_MOVED', `the batch changed ${MAX_SIGNINGS} times while it was signed`);
}

/** The place used longest ago goes first: a map gives its keys in the order in which they were set. */
function forgetOldest(batches: Node['batches']): void {
  for (const place of [...batches.keys()].slice(0, -MAX_REMEMBERED)) batches.delete(place);
}

/** Keeps the lease alive until `working` ends; aborts `losing` when the farm says it is lost. */
async function beat(
  node: Node,
  grant: LeaseGrant,
  heartbeatMs: number,
  progress: { fraction: number },
  losing: AbortController,
  working: AbortSignal,
): Promise<void> {
  const subject = nodeSubject(node.config.nodeId, 'heartbeat');
  while (!working.aborted) {
    await pause(heartbeatMs, working);
    if (working.aborted) return;
    try {
      const leases = [
        { taskId: grant.taskId, token: grant.token, progress: Math.min(1, Math.max(0, progress.fraction)) },
      ];
      const { lost } = await ask(
        node.nats,
        NODE_EXCHANGES.heartbeat,
        subject,
        { leases },
        REQUEST_TIMEOUT_MS,
      );
      if (lost.includes(grant.taskId)) losing.abort();
    } catch (error) {
      // A coordinator that is restarting: the work goes on, and the token decides in the end.
      node.log.warn({ err: error, taskId: grant.taskId }, 'a heartbeat was not answered');
    }
  }
}
