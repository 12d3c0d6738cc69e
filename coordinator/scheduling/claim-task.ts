/** One statement that gives a task to a node, so that two coordinators can never give it twice. */

import type { Selectable } from 'kysely';
import { sql } from 'kysely';
import type { NodeId, TaskId } from '../../protocol/ids.ts';
import type { FarmDb, FarmTables } from '../database/schema.ts';

export type TaskRow = Selectable<FarmTables['tasks']>;

/**
 * Claims the first task of `held` that this node may do: oldest job first; within a job finish tasks before tiles,
 * since a frame that only waits for its finish is the cheapest result to have. Null when there is none.
 */
export async function claimTask(
  db: FarmDb,
  claim: { held: readonly TaskId[]; nodeId: NodeId; engine: string; leaseUntil: Date },
): Promise<TaskRow | null> {
  const result = await sql<TaskRow>`
    update tasks set state = 'leased', token = token + 1, node_id = ${claim.nodeId},
                     lease_until = ${claim.leaseUntil}, progress = 0
    where id = (
      select t.id from tasks t join jobs j on j.id = t.job_id
      where t.id = any(${claim.held as TaskId[]}::text[])
        and t.state = 'queued' and j.state = 'active' and j.spec->>'engine' = ${claim.engine}
        and not exists (select 1 from job_exclusions e where e.job_id = t.job_id and e.node_id = ${claim.nodeId})
        and not exists (select 1 from task_failures f where f.task_id = t.id and f.node_id = ${claim.nodeId}
                        and f.failure_class <> 'infrastructure')
      order by j.seq, (t.kind = 'finish') desc, t.position
      limit 1
      for update of t skip locked)
    returning *`.execute(db);
  return result.rows[0] ?? null;
}

/** Which of these are still in the queue; pointers to the others can be taken off the list. */
export async function stillQueued(db: FarmDb, held: readonly TaskId[]): Promise<Set<TaskId>> {
  const result = await sql<{ id: TaskId }>`
    select t.id from tasks t join jobs j on j.id = t.job_id
    where t.id = any(${held as TaskId[]}::text[]) and t.state = 'queued' and j.state in ('opening', 'active')`.execute(
    db,
  );
  return new Set(result.rows.map((row) => row.id));
}
