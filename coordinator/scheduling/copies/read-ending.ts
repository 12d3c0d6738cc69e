/** What copies are decided from, out of the database. Where no job is at its end with something old, that is one question. */
import { sql } from 'kysely';
import type { JobId, NodeId } from '../../../protocol/ids.ts';
import type { TaskKind } from '../../../protocol/receipt.ts';
import type { FarmDb } from '../../database/schema.ts';
import { mayBeWorkedOn } from '../claim-run.ts';
import type { NodeFacts } from '../matching/facts.ts';
import { readUnchanged } from '../read-facts.ts';
import { type Ending, LEAST_LATE_MS, type OpenLease, timesKey } from './late.ts';
import { isBesideOlder } from './two-leases.ts';

/** Times of a kind that the median is taken of; more make it no better. */
const TIMES = 200;

/**
 * The job's last events, in which a node's last result is looked for. Where it is not among them, others have delivered this
 * many since.
 */
const LAST_EVENTS = 500;

/** Null where there is nothing to decide. `waiting`: the devices that wait for work, those of busy nodes, too. */
export async function readEnding(
  db: FarmDb,
  waiting: readonly NodeFacts[],
  nowMs: number,
): Promise<Ending | null> {
  const leases = await oldLeases(db, new Date(nowMs));
  if (leases.length === 0) return null;
  const busy = await busyNodes(db, [...new Set(waiting.map(({ id }) => id))]);
  const idle = waiting.filter(({ id }) => !busy.has(id));
  if (idle.length === 0) return null;
  return {
    leases,
    times: await timesOf(db, leases),
    copies: await copiesByJob(db),
    idle,
    farm: await readUnchanged(db, nowMs),
    queued: await queuedJobs(db),
    nowMs,
  };
}

/**
 * Of each node the lease that it works under: the oldest of all that it has, since the others wait behind it. In jobs whose
 * every frame is begun and of which nothing is queued.
 */
async function oldLeases(db: FarmDb, now: Date): Promise<OpenLease[]> {
  const before = new Date(now.getTime() - LEAST_LATE_MS);
  const { rows } = await sql<Omit<OpenLease, 'sinceMs' | 'avoid'> & { since: Date; avoid: NodeId[] | null }>`
    select t.id as "taskId", t.token, t.job_id as "jobId", t.kind, t.frame, t.tile, t.node_id as "nodeId",
           greatest(t.leased_at, (
             select max(e.at) from (
               select at, event from events where job_id = t.job_id order by seq desc limit ${LAST_EVENTS}) e
             where e.event->>'type' = 'task.delivered' and e.event->>'nodeId' = t.node_id)) as since,
           (select array_agg(f.node_id) from (
              select node_id from task_failures where task_id = t.id and failure_class <> 'infrastructure'
              union select node_id from task_blocks where task_id = t.id) f) as avoid
    from tasks t join jobs j on j.id = t.job_id
    where t.state = 'leased' and t.leased_at < ${before} and t.lease_until >= ${now}
      and ${mayBeWorkedOn(now)} and j.frames_begun >= j.frames_total
      and not exists (select 1 from tasks q where q.job_id = t.job_id and q.state = 'queued')
      and not exists (select 1 from task_copies c where c.task_id = t.id)
      and not exists (
        select 1 from tasks o where o.state = 'leased' and o.node_id = t.node_id
          and (o.leased_at, o.position, o.id) < (t.leased_at, t.position, t.id))`.execute(db);
  return rows.map(({ since, avoid, ...lease }) => ({
    ...lease,
    sinceMs: since.getTime(),
    avoid: avoid ?? [],
  }));
}

async function timesOf(db: FarmDb, leases: readonly OpenLease[]): Promise<Map<string, number[]>> {
  const { rows } = await sql<{ jobId: JobId; kind: TaskKind; times: number[] | null }>`
    select k.job_id as "jobId", k.kind, (
      select array_agg(d.render_ms) from (
        select render_ms from tasks t
        where t.job_id = k.job_id and t.kind = k.kind and t.state in ('delivered', 'verified')
        limit ${TIMES}) d) as times
    from (select distinct * from unnest(${leases.map(({ jobId }) => jobId)}::text[],
                                        ${leases.map(({ kind }) => kind)}::text[]) as u(job_id, kind)) k`.execute(
    db,
  );
  return new Map(rows.map(({ times, ...key }) => [timesKey(key), times ?? []]));
}

/** Those of the nodes that have a lease, or are at a task beside somebody's copy. */
async function busyNodes(db: FarmDb, nodes: readonly NodeId[]): Promise<Set<NodeId>> {
  const { rows } = await sql<{ node_id: NodeId }>`
    select node_id from tasks where state = 'leased' and node_id = any(${nodes as NodeId[]}::text[])
    union
    select c.node_id from task_copies c join tasks t on ${isBesideOlder}`.execute(db);
  return new Set(rows.map((row) => row.node_id));
}

async function copiesByJob(db: FarmDb): Promise<Map<JobId, number>> {
  const { rows } = await sql<{ job_id: JobId; copies: number }>`
    select t.job_id, count(*)::int as copies from task_copies c join tasks t on ${isBesideOlder}
    where not c.alone group by t.job_id`.execute(db);
  return new Map(rows.map((row) => [row.job_id, row.copies]));
}

async function queuedJobs(db: FarmDb): Promise<Set<JobId>> {
  const { rows } = await sql<{ id: JobId }>`
    select j.id from jobs j where j.state = 'active' and (j.frames_begun < j.frames_total or exists (
      select 1 from tasks q where q.job_id = j.id and q.state = 'queued'))`.execute(db);
  return new Set(rows.map((row) => row.id));
}
