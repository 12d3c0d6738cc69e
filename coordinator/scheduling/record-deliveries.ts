/** Taken results, written down: tasks, batch, frames and events, each in one statement however many there are. */
import { sql } from 'kysely';
import { toJson } from '../../platform/json.ts';
import type { BatchId, Bytes32 } from '../../protocol/ids.ts';
import { type BatchSignature, type Delivery, MAX_RECEIPTS } from '../../protocol/messages.ts';
import { countDelivered } from '../assembly/early-finish.ts';
import { showFrames } from '../assembly/show-frames.ts';
import type { FarmQuery } from '../database/schema.ts';
import type { EventLog } from '../event-log.ts';
import type { TaskRow } from './claim-run.ts';
import { leaseMs, noteNodeTime } from './node-time.ts';

/** A result beside the task that it is of. */
export type Taken = { delivery: Delivery; task: TaskRow; leaf: Bytes32 };

/** Puts `taken` (of one job, kind and node) on top of the `before` receipts of their batch. */
export async function recordDeliveries(
  tx: FarmQuery,
  events: EventLog,
  taken: readonly Taken[],
  { signed, before, now }: { signed: BatchSignature; before: number; now: Date },
): Promise<{ queued: boolean }> {
  const [first] = taken;
  if (first === undefined) return { queued: false };
  const { job_id: jobId, kind } = first.task;
  await recordTasks(tx, signed.batchId, taken, before);
  await tx
    .updateTable('batches')
    .set({
      receipts: signed.count,
      amount: signed.amount.toString(),
      root: signed.root,
      signature: signed.signature,
      // The age that closes a batch counts from its first receipt.
      ...(before === 0 ? { opened_at: now } : {}),
      ...(signed.count >= MAX_RECEIPTS ? { state: 'closed' as const } : {}),
    })
    .where('id', '=', signed.batchId)
    .execute();
  const used = taken.map(({ task, delivery }) => Math.min(delivery.renderMs, leaseMs(task, now)));
  await noteNodeTime(tx, [{ jobId, ms: used.reduce((sum, ms) => sum + ms, 0), tasks: used.length }]);
  const frames = taken.map(({ task }) => task.frame);
  const queued = kind === 'render' && (await countDelivered(tx, jobId, frames));
  await showFrames(
    tx,
    jobId,
    taken.map(({ delivery }) => delivery.receipt),
  );
  await events.addAll(
    tx,
    jobId,
    taken.flatMap(({ task: { id: taskId, frame, tile, node_id: nodeId }, delivery: { renderMs } }) =>
      nodeId === null
        ? []
        : [{ type: 'task.delivered' as const, taskId, kind, frame, tile, nodeId, renderMs }],
    ),
    now,
  );
  return { queued };
}

async function recordTasks(
  tx: FarmQuery,
  batchId: BatchId,
  taken: readonly Taken[],
  before: number,
): Promise<void> {
  const rows = taken.map(({ delivery, leaf }, index) => ({
    id: delivery.taskId,
    receipt: delivery.receipt,
    leaf,
    place: before + index,
    ms: Math.round(delivery.renderMs),
  }));
  await sql`
    update tasks t set state = 'delivered', receipt = d.receipt, leaf = d.leaf, batch_id = ${batchId},
                       batch_index = d.place, lease_until = null, progress = 1, render_ms = d.ms
    from jsonb_to_recordset(${toJson(rows)}::jsonb) as d(id text, receipt jsonb, leaf text, place int, ms int)
    where t.id = d.id`.execute(tx);
}
