/** Taken results, written down: tasks, batches, frames and events, each in one statement however many there are. */
import { sql } from 'kysely';
import { toJson } from '../../platform/json.ts';
import type { Bytes32, JobId, NodeId } from '../../protocol/ids.ts';
import { type BatchSignature, type Delivery, MAX_RECEIPTS } from '../../protocol/messages.ts';
import { countDelivered } from '../assembly/early-finish.ts';
import { showFrames } from '../assembly/show-frames.ts';
import type { FarmQuery } from '../database/schema.ts';
import type { EventLog } from '../event-log.ts';
import type { TaskRow } from './claim-run.ts';
import { leaseMs, noteNodeTime, type Use } from './node-time.ts';

/** A result beside the task that it is of. */
export type Taken = { delivery: Delivery; task: TaskRow; leaf: Bytes32 };

/** Results of one node, job and kind, on top of the `before` receipts of their batch. */
export type Accepted = { nodeId: NodeId; taken: readonly Taken[]; signed: BatchSignature; before: number };

/** Writes down what was accepted, of different batches each. Returns the jobs in which a finish task is queued because of it. */
export async function recordDeliveries(
  tx: FarmQuery,
  events: EventLog,
  accepted: readonly Accepted[],
  now: Date,
): Promise<ReadonlySet<JobId>> {
  if (accepted.length === 0) return new Set();
  await recordTasks(tx, accepted);
  await recordBatches(tx, accepted, now);
  const all = accepted.flatMap(({ nodeId, taken }) => taken.map((one) => ({ ...one, nodeId })));
  await noteNodeTime(
    tx,
    accepted.flatMap(({ taken }) => usedBy(taken, now)),
  );
  const tiles = all.filter(({ task }) => task.kind === 'render').map(({ task }) => task);
  const queued = await countDelivered(tx, tiles);
  await showFrames(
    tx,
    all.map(({ delivery }) => delivery.receipt),
  );
  await events.addMany(
    tx,
    all.map(({ task: { id: taskId, job_id: jobId, kind, frame, tile }, delivery: { renderMs }, nodeId }) => {
      return {
        jobId,
        event: { type: 'task.delivered' as const, taskId, kind, frame, tile, nodeId, renderMs },
      };
    }),
    now,
  );
  return queued;
}

/** The node time of one delivery. */
function usedBy(taken: readonly Taken[], now: Date): Use[] {
  const [first] = taken;
  if (first === undefined) return [];
  const ms = taken.reduce(
    (sum, { task, delivery }) => sum + Math.min(delivery.renderMs, leaseMs(task, now)),
    0,
  );
  return [{ jobId: first.task.job_id, ms, tasks: taken.length }];
}

async function recordTasks(tx: FarmQuery, accepted: readonly Accepted[]): Promise<void> {
  const rows = accepted.flatMap(({ nodeId, taken, signed, before }) =>
    taken.map(({ delivery, leaf }, index) => ({
      id: delivery.taskId,
      // Of two that work on it, the one that delivers.
      node: nodeId,
      receipt: delivery.receipt,
      leaf,
      batch: signed.batchId,
      place: before + index,
      ms: Math.round(delivery.renderMs),
    })),
  );
  await sql`
    update tasks t set state = 'delivered', node_id = d.node, receipt = d.receipt, leaf = d.leaf, batch_id = d.batch,
                       batch_index = d.place, lease_until = null, progress = 1, render_ms = d.ms
    from jsonb_to_recordset(${toJson(rows)}::jsonb)
      as d(id text, node text, receipt jsonb, leaf text, batch text, place int, ms int)
    where t.id = d.id`.execute(tx);
}

async function recordBatches(tx: FarmQuery, accepted: readonly Accepted[], now: Date): Promise<void> {
  const rows = accepted.map(({ signed, before }) => ({ ...signed, before }));
  await sql`
    update batches b set receipts = s.count, amount = s.amount, root = s.root, signature = s.signature,
      -- The age that closes a batch counts from its first receipt.
      opened_at = case when s.before = 0 then ${now}::timestamptz else b.opened_at end,
      state = case when s.count >= ${MAX_RECEIPTS} then 'closed' else b.state end
    from jsonb_to_recordset(${toJson(rows)}::jsonb)
      as s("batchId" text, count int, amount numeric, root text, signature text, before int)
    where b.id = s."batchId"`.execute(tx);
}
