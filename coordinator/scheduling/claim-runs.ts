/** Claims for many nodes in a few statements, whatever their number. */
import { sql } from 'kysely';
import type { JobId, NodeId, TaskId } from '../../protocol/ids.ts';
import type { FarmDb } from '../database/schema.ts';
import type { Candidate } from './candidate-list.ts';
import { deliveredBy, FIRST_LEASES, MAX_LEASES, mayBeWorkedOn, type TaskRow } from './claim-run.ts';

/** What there is to know of tasks whose pointers came; those that cannot be given out now are left out. */
export async function readCandidates(db: FarmDb, ids: readonly TaskId[], now: Date): Promise<Candidate[]> {
  const { rows } = await sql<Candidate>`
    select t.id, t.job_id as "jobId", j.seq::int as seq, t.kind, t.position, t.token, j.scene, j.engine, j.device_class as "deviceClass",
           t.losses > 0 or exists (select 1 from task_failures f where f.task_id = t.id)
             or exists (select 1 from task_blocks b where b.task_id = t.id) as troubled
    from tasks t join jobs j on j.id = t.job_id
    where t.id = any(${ids as TaskId[]}::text[]) and t.state = 'queued' and ${mayBeWorkedOn(now)}`.execute(
    db,
  );
  return rows;
}

export type Pair = { nodeId: NodeId; jobId: JobId };
export const pairKey = ({ nodeId, jobId }: Pair): string => `${nodeId} ${jobId}`;

/**
 * How many more tasks of the job each node may have in flight; a pair that is missing gets none: its node is in
 * quarantine, or excluded from the job.
 */
export async function readRooms(db: FarmDb, pairs: readonly Pair[], now: Date): Promise<Map<string, number>> {
  const { rows } = await sql<Pair & { room: number }>`
    select p.node_id as "nodeId", p.job_id as "jobId", least(
      ${MAX_LEASES} * d.devices - l.leased,
      (${FIRST_LEASES} + ${deliveredBy(sql`p.job_id`, sql`n.id`, sql`n.address`)}) * d.devices - l.of_job)::int as room
    from (select distinct * from unnest(${pairs.map((pair) => pair.nodeId)}::text[],
                                        ${pairs.map((pair) => pair.jobId)}::text[]) as u(node_id, job_id)) p
    join nodes n on n.id = p.node_id
    cross join lateral (
      select 1 + count(distinct g->>'device') as devices from jsonb_array_elements(n.gpus) g) d
    cross join lateral (
      select count(*) as leased, count(*) filter (where t.job_id = p.job_id) as of_job
      from tasks t where t.state = 'leased' and t.node_id = p.node_id) l
    where (n.quarantined_until is null or n.quarantined_until <= ${now})
      and not exists (select 1 from job_exclusions e where e.job_id = p.job_id and e.node_id = p.node_id)`.execute(
    db,
  );
  return new Map(rows.map((row) => [pairKey(row), row.room]));
}

/** A task for a node, as it was when it was looked at. */
export type Choice = { id: TaskId; token: number; nodeId: NodeId };

/**
 * Writes the leases down, of all that are queued still and as they were: two coordinators can never give one twice, and
 * what changed meanwhile is not given. In the order of work.
 */
export async function claimChosen(
  db: FarmDb,
  choices: readonly Choice[],
  { now, leaseUntil }: { now: Date; leaseUntil: Date },
): Promise<TaskRow[]> {
  if (choices.length === 0) return [];
  // One row after the other in the order of their ids, whoever takes them: of two who want the same ones the second waits,
  // and finds their tokens changed. A step that only locks them first would write each row twice.
  const { rows } = await sql<TaskRow>`
    with mine as materialized (
      select c.id, c.token, c."nodeId" as node_id
      from jsonb_to_recordset(${JSON.stringify(choices)}::jsonb) as c(id text, token int, "nodeId" text)
      order by c.id)
    update tasks t set state = 'leased', token = t.token + 1, node_id = mine.node_id,
                       lease_until = ${leaseUntil}, leased_at = ${now}, progress = 0
    from mine, jobs j
    where t.id = mine.id and t.token = mine.token and t.state = 'queued' and j.id = t.job_id and ${mayBeWorkedOn(now)}
      and not exists (select 1 from task_blocks b where b.task_id = t.id and b.node_id = mine.node_id)
    returning t.*`.execute(db);
  return rows.sort((a, b) => a.position - b.position);
}
