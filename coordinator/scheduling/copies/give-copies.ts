/** Copies of late tasks for nodes that wait with nothing to do (late.ts). */
import { sql } from 'kysely';
import { inTransaction } from '../../../platform/database/in-transaction.ts';
import type { CoordinatorContext } from '../../context.ts';
import { isOfNode, mayBeWorkedOn, type TaskRow } from '../claim-run.ts';
import type { NodeFacts } from '../matching/facts.ts';
import { type Copy, chooseCopies, MAX_COPIES } from './late.ts';
import { readEnding } from './read-ending.ts';
import { isBesideOlder } from './two-leases.ts';

/** Gives copies of what is late to those of the nodes that are idle. Returns who got which task. */
export async function giveCopies(
  context: CoordinatorContext,
  waiting: readonly NodeFacts[],
): Promise<Map<NodeFacts, TaskRow>> {
  const given = new Map<NodeFacts, TaskRow>();
  const ending = await readEnding(context.db, waiting, context.clock.now());
  if (ending === null) return given;
  for (const copy of chooseCopies(ending)) {
    const task = await giveCopy(context, copy);
    if (task !== null) given.set(copy.node, task);
  }
  return given;
}

/**
 * Makes the node's lease the task's and keeps the older one beside it, under the token that it has; the new token is the
 * next of the task's own. Null where anything is not as it was when it was decided.
 */
export async function giveCopy(
  context: CoordinatorContext,
  { lease, node, reason }: Pick<Copy, 'lease' | 'reason'> & { node: Pick<NodeFacts, 'id'> },
): Promise<TaskRow | null> {
  const now = new Date(context.clock.now());
  const leaseUntil = new Date(now.getTime() + context.config.leaseMs);
  return await inTransaction(context.db, async (tx) => {
    const { rows } = await sql<TaskRow>`
      with mine as materialized (
        select t.* from tasks t join jobs j on j.id = t.job_id
        where t.id = ${lease.taskId} and t.state = 'leased' and t.token = ${lease.token}
          and t.node_id = ${lease.nodeId} and t.node_id <> ${node.id} and t.lease_until >= ${now}
          and ${mayBeWorkedOn(now)} and ${isOfNode(sql`${node.id}`)}
          and not exists (select 1 from tasks q where q.job_id = t.job_id and q.state = 'queued')
          and not exists (select 1 from tasks o where o.state = 'leased' and o.node_id = ${node.id})
          and not exists (select 1 from task_copies c join tasks t on ${isBesideOlder} where c.node_id = ${node.id})
          and not exists (select 1 from nodes n where n.id = ${node.id} and n.quarantined_until > ${now})
          and not exists (select 1 from job_exclusions e where e.job_id = t.job_id and e.node_id = ${node.id})
        for update of t skip locked),
      older as (
        insert into task_copies (task_id, node_id, token, lease_until, leased_at, progress)
        select m.id, m.node_id, m.token, m.lease_until, m.leased_at, m.progress from mine m
        where (select count(*) from task_copies c join tasks t on ${isBesideOlder}
               where t.job_id = m.job_id and not c.alone) < ${MAX_COPIES}
        -- One of a lease that is over waits there to be cleared away; a lease that has a copy, or had one, gets no other.
        on conflict (task_id) do update set
          node_id = excluded.node_id, token = excluded.token, lease_until = excluded.lease_until,
          leased_at = excluded.leased_at, progress = excluded.progress, alone = false
        where task_copies.token + 1 < excluded.token
        returning task_id)
      update tasks t set token = t.token + 1, node_id = ${node.id}, lease_until = ${leaseUntil}, leased_at = ${now}, progress = 0
      from older where t.id = older.task_id
      returning t.*`.execute(tx);
    const [task] = rows;
    if (task === undefined) return null;
    const { id: taskId, kind, frame, tile } = task;
    await context.events.add(
      tx,
      task.job_id,
      {
        type: 'task.copied',
        ...{ taskId, kind, frame, tile, nodeId: node.id, ofNodeId: lease.nodeId, reason },
      },
      now,
    );
    return task;
  });
}
