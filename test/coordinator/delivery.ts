/** What an honest node does between lease and delivery, without rendering. */
import { sql } from 'kysely';
import type { CoordinatorContext } from '../../coordinator/context.ts';
import { claimRun } from '../../coordinator/scheduling/claim-run.ts';
import { completeTasks } from '../../coordinator/scheduling/complete-tasks.ts';
import { onlineSince } from '../../coordinator/scheduling/nodes.ts';
import type { Ending } from '../../coordinator/settlement/apply-outcome.ts';
import { batchState, openBatch } from '../../coordinator/settlement/open-batch.ts';
import { digestBytes } from '../../platform/blobs/digest-file.ts';
import { jobKey } from '../../platform/chain/keys.ts';
import { escrowDomain, type PrivateKey, signCommit } from '../../platform/chain/signing.ts';
import { receiptLeaf, receiptRoot } from '../../proof/receipts.ts';
import type { Bytes32, JobId, NodeId, TaskId } from '../../protocol/ids.ts';
import type { BatchSignature, Delivery, LeaseGrant } from '../../protocol/messages.ts';
import type { Receipt } from '../../protocol/receipt.ts';
import type { Outcome } from '../../protocol/verdict.ts';
import {
  DEVICE_CLASS,
  ENGINE,
  type TaskRow,
  type TestCoordinator,
  type TestNode,
} from '../support/coordinator-context.ts';

/** The node leases exactly this task. */
export async function leaseTo(farm: TestCoordinator, node: TestNode, task: { id: TaskId }): Promise<TaskRow> {
  const row = await claim(farm, node, [task]);
  if (row === null) throw new Error(`${node.id} could not lease ${task.id}`);
  return row;
}

/** The node holds this task, however many it has: as if it had delivered enough of the job before. */
export async function giveTo(farm: TestCoordinator, node: TestNode, task: { id: TaskId }): Promise<TaskRow> {
  const now = farm.clock.now();
  const { rows } = await sql<TaskRow>`
    update tasks set state = 'leased', token = token + 1, node_id = ${node.id}, leased_at = ${new Date(now)},
                     lease_until = ${new Date(now + farm.context.config.leaseMs)}, progress = 0
    where id = ${task.id} and state = 'queued' returning *`.execute(farm.db);
  if (rows[0] === undefined) throw new Error(`${task.id} is not queued`);
  return rows[0];
}

/** The node asks for one of these tasks, as the dispatcher would for it. */
export async function claim(
  farm: TestCoordinator,
  node: TestNode,
  tasks: readonly { id: TaskId }[],
  engine = ENGINE,
): Promise<TaskRow | null> {
  const { leaseMs } = farm.context.config;
  const now = farm.clock.now();
  const [row] = await claimRun(farm.db, {
    held: tasks.map((task) => task.id),
    nodeId: node.id,
    engines: [engine],
    now: new Date(now),
    leaseUntil: new Date(now + leaseMs),
    onlineSince: onlineSince(now, leaseMs),
  });
  return row ?? null;
}

/** The EXR that a node makes of a task: bytes that say so. */
export const exrOf = (node: TestNode, task: { id: TaskId }): Buffer =>
  Buffer.from(`exr of ${task.id} by ${node.id}`);

/**
 * The receipt of a task; its files are stored, as a node would have sent them. The EXR of a whole frame stays with the
 * node.
 */
export async function receiptFor(farm: TestCoordinator, node: TestNode, task: TaskRow): Promise<Receipt> {
  const bytes = exrOf(node, task);
  const exrDigest = task.kind === 'frame' ? digestBytes(bytes) : await farm.context.blobs.putBytes(bytes);
  return {
    jobId: task.job_id,
    taskId: task.id,
    kind: task.kind,
    node: node.address,
    frame: task.frame,
    rect: { x: task.x, y: task.y, width: task.width, height: task.height },
    samples: task.samples,
    exrDigest,
    pixelDigest: exrDigest,
    pictureDigest:
      task.kind !== 'render' ? await farm.context.blobs.putBytes(Buffer.from(`png of ${task.id}`)) : null,
    engine: ENGINE,
    deviceClass: DEVICE_CLASS,
    price: BigInt(task.price),
  };
}

/** How the chain tells that a batch ended; a fail is one that two verifiers agree in. */
export function ended(outcome: Outcome, more: Partial<Ending> = {}): Ending {
  return { outcome, agreed: outcome === 'fail', slashed: 0n, whose: 'node', ...more };
}

/** The batch of this node as a lease would tell it. */
export async function batchFor(
  farm: TestCoordinator,
  node: TestNode,
  task: TaskRow,
): Promise<LeaseGrant['batch']> {
  const key = { jobId: task.job_id, nodeId: node.id, address: node.address, kind: task.kind };
  return await batchState(farm.db, await openBatch(farm.db, key, new Date(farm.clock.now())));
}

export function signBatch(
  farm: TestCoordinator,
  key: PrivateKey,
  jobId: JobId,
  batch: LeaseGrant['batch'],
  leaf: Bytes32,
  price: bigint,
): BatchSignature {
  const { chainId, escrowAddress } = farm.context.chain;
  const leaves = [...batch.leaves, leaf];
  const signed = {
    batchId: batch.batchId,
    root: receiptRoot(leaves),
    count: leaves.length,
    amount: batch.amount + price,
  };
  const { root, count, amount } = signed;
  const commit = {
    jobKey: jobKey(jobId),
    batchKey: batch.batchKey,
    ...{ root, count, amount },
  };
  return { ...signed, signature: signCommit(escrowDomain(chainId, escrowAddress), commit, key) };
}

/** The batch with these receipts on top. */
export function signRun(
  farm: TestCoordinator,
  key: PrivateKey,
  batch: LeaseGrant['batch'],
  receipts: readonly Receipt[],
): BatchSignature {
  let signed: BatchSignature | undefined;
  let before = batch;
  for (const receipt of receipts) {
    const leaf = receiptLeaf(receipt);
    signed = signBatch(farm, key, receipt.jobId, before, leaf, receipt.price);
    before = { ...before, leaves: [...before.leaves, leaf], amount: signed.amount };
  }
  if (signed === undefined) throw new Error('nothing to sign');
  return signed;
}

/** One result and the batch with it on top. */
export type Completion = Delivery & { batch: BatchSignature };

/** The node hands in one result. */
export function completeTask(
  context: CoordinatorContext,
  nodeId: NodeId,
  { batch, ...delivery }: Completion,
) {
  return completeTasks(context, nodeId, { deliveries: [delivery], batch });
}

/** A completion that nothing is wrong with. */
export async function completionOf(
  farm: TestCoordinator,
  node: TestNode,
  task: TaskRow,
): Promise<Completion> {
  const receipt = await receiptFor(farm, node, task);
  const batch = await batchFor(farm, node, task);
  return {
    taskId: task.id,
    token: task.token,
    receipt,
    renderMs: 1_234.5,
    peakMemoryBytes: 1_000_000,
    batch: signBatch(farm, node.key, task.job_id, batch, receiptLeaf(receipt), receipt.price),
  };
}

/** Leases and delivers these tasks, one after the other. */
export async function deliver(
  farm: TestCoordinator,
  node: TestNode,
  tasks: readonly { id: TaskId }[],
): Promise<void> {
  for (const task of tasks) {
    const leased = await leaseTo(farm, node, task);
    const reply = await completeTask(farm.context, node.id, await completionOf(farm, node, leased));
    if (reply.moved !== null) throw new Error('the batch moved although nobody touched it');
  }
}
