/** Leases are kept alive in one statement for all nodes that call; what is not in its answer is lost. */
import { sql } from 'kysely';
import type { Settled } from '../../platform/together.ts';
import type { NodeId, TaskId } from '../../protocol/ids.ts';
import type { CoordinatorContext } from '../context.ts';
import { extendOlder } from './copies/two-leases.ts';
import { TASK_TIMEOUT_MS } from './lease-run.ts';
import { noteSeen } from './nodes.ts';

type HeldLease = { taskId: TaskId; token: number; progress: number };

/** A node's heartbeat. */
export type Beat = { nodeId: NodeId; leases: readonly HeldLease[] };

/** Heartbeats that are answered together. */
export const MAX_TOGETHER = 128;

/** {@link extendAll} for one. */
export async function extendLeases(
  context: CoordinatorContext,
  nodeId: NodeId,
  leases: readonly HeldLease[],
): Promise<TaskId[]> {
  const [result] = await extendAll(context, [{ nodeId, leases }]);
  if (result === undefined) throw new Error('a heartbeat was not answered');
  if ('error' in result) throw result.error;
  return result.value;
}

/** Extends the leases these nodes still hold and returns for each the tasks it has lost (cancelled, expired, given away). */
export async function extendAll(
  context: CoordinatorContext,
  beats: readonly Beat[],
): Promise<Settled<TaskId[]>[]> {
  const now = context.clock.now();
  await noteSeen(
    context,
    beats.map(({ nodeId }) => nodeId),
  );
  const all = beats.flatMap(({ nodeId, leases }) => leases.map((lease) => ({ ...lease, nodeId })));
  const kept = new Set<string>();
  if (all.length > 0) {
    const { rows } = await sql<{ id: TaskId; node_id: NodeId; token: number }>`
      with mine as materialized (
        select t.id, l.progress
        from jsonb_to_recordset(${JSON.stringify(all)}::jsonb)
          as l("taskId" text, token int, progress real, "nodeId" text)
        join tasks t on t.id = l."taskId" and t.token = l.token and t.node_id = l."nodeId"
        join jobs j on j.id = t.job_id and j.state = 'active'
        where t.state = 'leased' and t.leased_at > ${new Date(now - TASK_TIMEOUT_MS)}
        order by t.id for update of t)
      update tasks t set lease_until = ${new Date(now + context.config.leaseMs)}, progress = mine.progress
      from mine where t.id = mine.id
      returning t.id, t.node_id, t.token`.execute(context.db);
    for (const row of rows) kept.add(`${row.node_id} ${row.id} ${row.token}`);
    const others = all.filter(({ nodeId, taskId, token }) => !kept.has(`${nodeId} ${taskId} ${token}`));
    const leasedAfter = new Date(now - TASK_TIMEOUT_MS);
    const leaseUntil = new Date(now + context.config.leaseMs);
    for (const { nodeId, taskId, token } of await extendOlder(context.db, others, {
      leaseUntil,
      leasedAfter,
    }))
      kept.add(`${nodeId} ${taskId} ${token}`);
  }
  return beats.map(({ nodeId, leases }) => ({
    value: leases
      .filter(({ taskId, token }) => !kept.has(`${nodeId} ${taskId} ${token}`))
      .map(({ taskId }) => taskId),
  }));
}
