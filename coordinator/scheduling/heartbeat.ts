/** Leases are kept alive in one statement; what is not in its answer is lost. */
import { sql } from 'kysely';
import type { NodeId, TaskId } from '../../protocol/ids.ts';
import type { CoordinatorContext } from '../context.ts';
import { TASK_TIMEOUT_MS } from './lease-run.ts';

type HeldLease = { taskId: TaskId; token: number; progress: number };

/** Extends the leases this node still holds and returns the tasks it has lost (cancelled, expired, given away). */
export async function extendLeases(
  context: CoordinatorContext,
  nodeId: NodeId,
  leases: readonly HeldLease[],
): Promise<TaskId[]> {
  const now = context.clock.now();
  await context.db
    .updateTable('nodes')
    .set({ last_seen_at: new Date(now) })
    .where('id', '=', nodeId)
    .execute();
  if (leases.length === 0) return [];
  const { rows } = await sql<{ id: TaskId }>`
    update tasks t set lease_until = ${new Date(now + context.config.leaseMs)}, progress = l.progress
    from jsonb_to_recordset(${JSON.stringify(leases)}::jsonb) as l("taskId" text, token int, progress real), jobs j
    where t.id = l."taskId" and t.token = l.token and t.node_id = ${nodeId} and t.state = 'leased'
      and j.id = t.job_id and j.state = 'active'
      and t.leased_at > ${new Date(now - TASK_TIMEOUT_MS)}
    returning t.id`.execute(context.db);
  const kept = new Set(rows.map((row) => row.id));
  return leases.map((lease) => lease.taskId).filter((id) => !kept.has(id));
}
