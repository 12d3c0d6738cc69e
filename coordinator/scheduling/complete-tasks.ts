/** A node delivers: its receipts join their batch, in one transaction guarded by the tokens of the leases. */
import { jobKey } from '../../platform/chain/keys.ts';
import { escrowDomain, recoverCommitSigner } from '../../platform/chain/signing.ts';
import { receiptLeaf, receiptRoot } from '../../proof/receipts.ts';
import { FarmError } from '../../protocol/errors.ts';
import type { Bytes32, JobId, NodeId, TaskId } from '../../protocol/ids.ts';
import {
  type BatchSignature,
  type Complete,
  type CompleteReply,
  type Delivery,
  MAX_RECEIPTS,
} from '../../protocol/messages.ts';
import { requireExtraFiles } from '../assembly/extra-files.ts';
import type { CoordinatorContext } from '../context.ts';
import type { FarmQuery } from '../database/schema.ts';
import { batchState, openBatch } from '../settlement/open-batch.ts';
import { filesToDeliver } from '../verification/hand-over.ts';
import { requireReceiptFits } from './check-receipt.ts';
import type { TaskRow } from './claim-run.ts';
import { deviceClassOf } from './nodes.ts';
import { recordDeliveries, type Taken } from './record-deliveries.ts';

/**
 * Takes results, all or none; `queued` says that others have something to do because of it. Answers with the batch to
 * sign for when it is not the one the node signed (it was closed or grew) or when some of the leases are over, which it
 * names; the others are kept then. Throws LEASE_LOST when none of the leases is held, MESSAGE_INVALID for receipts that
 * do not fit them.
 */
export async function completeTasks(
  context: CoordinatorContext,
  nodeId: NodeId,
  { deliveries, batch: signed }: Complete,
): Promise<CompleteReply & { queued: boolean }> {
  const { jobId, kind } = requireOneRun(deliveries);
  const { spec, ...node } = await jobAndNode(context, jobId, nodeId);
  for (const { receipt } of deliveries) await requireFiles(context, receipt, spec.exr === true);
  const now = new Date(context.clock.now());
  return await context.db.transaction().execute(async (tx) => {
    const tasks = await leasedTasks(tx, nodeId, deliveries);
    const lost = deliveries.map(({ taskId }) => taskId).filter((id) => !tasks.has(id));
    const batch = await batchState(
      tx,
      await openBatch(tx, { jobId, nodeId, address: node.address, kind }, now),
    );
    if (lost.length > 0) return { moved: batch, lost, queued: false };
    const rendered = { engine: spec.engine, device_class: deviceClassOf(node, spec) };
    const taken = deliveries.flatMap((delivery): Taken[] => {
      const task = tasks.get(delivery.taskId);
      if (task === undefined) return [];
      requireReceiptFits(delivery.receipt, task, { address: node.address, ...rendered });
      return [{ delivery, task, leaf: receiptLeaf(delivery.receipt) }];
    });
    const leaves = [...batch.leaves, ...taken.map(({ leaf }) => leaf)];
    const amount = taken.reduce((sum, { task }) => sum + BigInt(task.price), batch.amount);
    if (
      leaves.length > MAX_RECEIPTS ||
      signed.batchId !== batch.batchId ||
      signed.count !== leaves.length ||
      signed.amount !== amount ||
      signed.root !== receiptRoot(leaves)
    ) {
      return { moved: batch, lost: [], queued: false };
    }
    requireSignature(context, node.address, jobId, batch.batchKey, signed);
    const { queued } = await recordDeliveries(tx, context.events, taken, {
      signed,
      before: batch.leaves.length,
      now,
    });
    return { moved: null, lost: [], queued };
  });
}

/** The job and kind of all of them. Throws MESSAGE_INVALID for several, or one task twice. */
function requireOneRun(deliveries: readonly Delivery[]): Pick<Delivery['receipt'], 'jobId' | 'kind'> {
  const first = deliveries[0]?.receipt;
  const tasks = new Set(deliveries.map(({ taskId }) => taskId));
  if (
    first === undefined ||
    tasks.size !== deliveries.length ||
    deliveries.some(({ receipt }) => receipt.jobId !== first.jobId || receipt.kind !== first.kind)
  )
    throw new FarmError('MESSAGE_INVALID', 'results are handed in once, those of one job and kind together');
  return { jobId: first.jobId, kind: first.kind };
}

/** Throws MESSAGE_INVALID for a result whose files are not here. */
async function requireFiles(
  { blobs }: CoordinatorContext,
  receipt: Delivery['receipt'],
  exr: boolean,
): Promise<void> {
  for (const digest of filesToDeliver(receipt, exr)) {
    if (digest !== null && !(await blobs.has(digest)))
      throw new FarmError('MESSAGE_INVALID', `the result ${digest} was not delivered`);
  }
  if (receipt.extraFilesDigest !== undefined) await requireExtraFiles(blobs, receipt.extraFilesDigest);
}

/** What of a job and of the node that delivers to it does not change while it does. */
async function jobAndNode(context: CoordinatorContext, jobId: JobId, nodeId: NodeId) {
  const row = await context.db
    .selectFrom('jobs')
    .innerJoin('nodes', (join) => join.on('nodes.id', '=', nodeId))
    .select([
      'jobs.spec',
      'nodes.address',
      'nodes.engine',
      'nodes.device_class',
      'nodes.engines',
      'nodes.gpus',
    ])
    .where('jobs.id', '=', jobId)
    .executeTakeFirst();
  if (row === undefined) throw new FarmError('LEASE_LOST', `there is no job ${jobId} for ${nodeId}`);
  return row;
}

/** The task, if this node still holds it under this token; LEASE_LOST otherwise. */
export async function leasedTask(
  tx: FarmQuery,
  nodeId: NodeId,
  lease: { taskId: TaskId; token: number },
): Promise<TaskRow> {
  const [task] = (await leasedTasks(tx, nodeId, [lease])).values();
  if (task === undefined) throw new FarmError('LEASE_LOST', `the lease on ${lease.taskId} is over`);
  return task;
}

/** Those of the tasks that this node still holds under these tokens, locked. Throws LEASE_LOST where it is none. */
async function leasedTasks(
  tx: FarmQuery,
  nodeId: NodeId,
  leases: readonly { taskId: TaskId; token: number }[],
): Promise<Map<TaskId, TaskRow>> {
  const tokens = new Map(leases.map(({ taskId, token }) => [taskId, token]));
  const rows = await tx
    .selectFrom('tasks')
    .selectAll()
    .where('id', 'in', [...tokens.keys()])
    .where('state', '=', 'leased')
    .where('node_id', '=', nodeId)
    // Always in the same order: two transactions that want the same rows wait for each other in turn.
    .orderBy('id')
    .forUpdate()
    .execute();
  const held = rows.filter((row) => tokens.get(row.id) === row.token);
  if (held.length === 0) {
    const names = [...tokens.keys()].join(', ');
    throw new FarmError('LEASE_LOST', `the lease on ${names} is over`);
  }
  return new Map(held.map((row) => [row.id, row]));
}

function requireSignature(
  { chain }: CoordinatorContext,
  address: string,
  jobId: JobId,
  batchKey: Bytes32,
  { root, count, amount, signature }: BatchSignature,
): void {
  const signer = recoverCommitSigner(
    escrowDomain(chain.chainId, chain.escrowAddress),
    { jobKey: jobKey(jobId), batchKey, root, count, amount },
    signature,
  );
  if (signer !== address)
    throw new FarmError('MESSAGE_INVALID', 'the batch is not signed by the node that delivers it');
}
