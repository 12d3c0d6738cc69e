/** A node delivers: the receipt joins its batch, in one transaction guarded by the lease's token. */

import { batchKey, jobKey } from '../../platform/chain/keys.ts';
import { escrowDomain, recoverCommitSigner } from '../../platform/chain/signing.ts';
import { receiptLeaf, receiptRoot } from '../../proof/receipts.ts';
import { FarmError } from '../../protocol/errors.ts';
import type { NodeId } from '../../protocol/ids.ts';
import { type Complete, type LeaseGrant, MAX_RECEIPTS } from '../../protocol/messages.ts';
import { countDelivered } from '../assembly/early-finish.ts';
import { requireExtraFiles } from '../assembly/extra-files.ts';
import { showFrame } from '../assembly/show-frames.ts';
import type { CoordinatorContext } from '../context.ts';
import type { FarmQuery } from '../database/schema.ts';
import { batchState, openBatch } from '../settlement/open-batch.ts';
import { storeReceipt } from '../settlement/receipts.ts';
import { filesToDeliver } from '../verification/hand-over.ts';
import { requireReceiptFits } from './check-receipt.ts';
import type { TaskRow } from './claim-task.ts';
import { deviceClassOf } from './nodes.ts';

/**
 * Takes a result; `queued` says that others have something to do because of it. Answers with the batch to sign for when it is not the one the node signed (it was closed or grew);
 * the lease is kept then. Throws LEASE_LOST for an old token, MESSAGE_INVALID for a receipt that does not fit.
 */
export async function completeTask(
  context: CoordinatorContext,
  nodeId: NodeId,
  message: Complete,
): Promise<{ moved: LeaseGrant['batch'] | null; queued: boolean }> {
  const { receipt } = message;
  const { spec, ...node } = await jobAndNode(context, message.taskId, nodeId);
  for (const digest of filesToDeliver(receipt, spec.exr === true)) {
    if (digest !== null && !(await context.blobs.has(digest))) {
      throw new FarmError('MESSAGE_INVALID', `the result ${digest} was not delivered`);
    }
  }
  if (receipt.extraFilesDigest !== undefined)
    await requireExtraFiles(context.blobs, receipt.extraFilesDigest);
  const now = new Date(context.clock.now());
  return await context.db.transaction().execute(async (tx) => {
    const task = await leasedTask(tx, nodeId, message);
    const rendered = { engine: spec.engine, device_class: deviceClassOf(node, spec) };
    requireReceiptFits(receipt, task, { address: node.address, ...rendered });
    const key = { jobId: task.job_id, nodeId, address: node.address, kind: task.kind };
    const batch = await batchState(tx, await openBatch(tx, key, now));
    const leaf = receiptLeaf(receipt);
    const leaves = [...batch.leaves, leaf];
    const signed = message.batch;
    const amount = batch.amount + BigInt(task.price);
    const root = receiptRoot(leaves);
    if (
      signed.batchId !== batch.batchId ||
      signed.root !== root ||
      signed.amount !== amount ||
      signed.count !== leaves.length
    ) {
      return { moved: batch, queued: false };
    }
    requireSignature(context, node.address, task, signed);
    await tx
      .updateTable('tasks')
      .set({
        state: 'delivered',
        receipt: storeReceipt(receipt),
        leaf,
        batch_id: batch.batchId,
        batch_index: batch.leaves.length,
        lease_until: null,
        progress: 1,
        render_ms: Math.round(message.renderMs),
      })
      .where('id', '=', task.id)
      .execute();
    await tx
      .updateTable('batches')
      .set({
        receipts: leaves.length,
        amount: amount.toString(),
        root,
        signature: signed.signature,
        // The age that closes a batch counts from its first receipt.
        ...(batch.leaves.length === 0 ? { opened_at: now } : {}),
        ...(leaves.length >= MAX_RECEIPTS ? { state: 'closed' as const } : {}),
      })
      .where('id', '=', batch.batchId)
      .execute();
    const queued = task.kind === 'render' && (await countDelivered(tx, task.job_id, task.frame));
    await showFrame(tx, receipt);
    await context.events.add(
      tx,
      task.job_id,
      {
        type: 'task.delivered',
        taskId: task.id,
        kind: task.kind,
        frame: task.frame,
        tile: task.tile,
        nodeId,
        renderMs: message.renderMs,
      },
      now,
    );
    return { moved: null, queued };
  });
}

/** What of a task's job and of the node that delivers it does not change while it is delivered. */
async function jobAndNode(context: CoordinatorContext, taskId: TaskRow['id'], nodeId: NodeId) {
  const row = await context.db
    .selectFrom('tasks')
    .innerJoin('jobs', 'jobs.id', 'tasks.job_id')
    .innerJoin('nodes', (join) => join.on('nodes.id', '=', nodeId))
    .select([
      'jobs.spec',
      'nodes.address',
      'nodes.engine',
      'nodes.device_class',
      'nodes.engines',
      'nodes.gpus',
    ])
    .where('tasks.id', '=', taskId)
    .executeTakeFirst();
  if (row === undefined) throw new FarmError('LEASE_LOST', `there is no task ${taskId} for ${nodeId}`);
  return row;
}

/** The task, if this node still holds it under this token. */
export async function leasedTask(
  tx: FarmQuery,
  nodeId: NodeId,
  lease: { taskId: TaskRow['id']; token: number },
): Promise<TaskRow> {
  const task = await tx
    .selectFrom('tasks')
    .selectAll()
    .where('id', '=', lease.taskId)
    .where('state', '=', 'leased')
    .where('node_id', '=', nodeId)
    .where('token', '=', lease.token)
    .forUpdate()
    .executeTakeFirst();
  if (task === undefined) throw new FarmError('LEASE_LOST', `the lease on ${lease.taskId} is over`);
  return task;
}

function requireSignature(
  context: CoordinatorContext,
  address: string,
  task: TaskRow,
  signed: Complete['batch'],
): void {
  const { chain } = context;
  const signer = recoverCommitSigner(
    escrowDomain(chain.chainId, chain.escrowAddress),
    {
      jobKey: jobKey(task.job_id),
      batchKey: batchKey(signed.batchId),
      node: address as never,
      root: signed.root,
      count: signed.count,
      amount: signed.amount,
    },
    signed.signature,
  );
  if (signer !== address)
    throw new FarmError('MESSAGE_INVALID', 'the batch is not signed by the node that delivers it');
}
