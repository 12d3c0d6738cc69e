/** One statement that gives tasks to a node, so that two coordinators can never give one twice. */

import type { RawBuilder, Selectable } from 'kysely';
import { sql } from 'kysely';
import type { JobId, NodeId, TaskId } from '../../protocol/ids.ts';
import { type LeaseRequest, MAX_RUN } from '../../protocol/messages.ts';
import type { FarmDb, FarmTables } from '../database/schema.ts';
import { hasEngine } from './able-nodes.ts';

export type TaskRow = Selectable<FarmTables['tasks']>;

/** Network and storage failures count against nobody, but a node that has had this many with one task leaves it to others. */
const MAX_TRIES = 10;

/**
 * Tasks in flight per node, and as many again per GPU: a run that is rendered, the next one, and one on its way here. A
 * node that has delivered n tasks of a job, or of others lately, has {@link FIRST_LEASES} + n more of it at most: one that leases
 * everything and finishes nothing must not hold up the farm.
 */
export const MAX_LEASES = 3 * MAX_RUN;
/** One that renders, one before it and two after it. */
export const FIRST_LEASES = 4;

/** How many tasks a node has delivered of a job, and of others as far as they are not settled yet. */
export function deliveredBy(
  job: RawBuilder<unknown>,
  node: RawBuilder<unknown>,
  address: RawBuilder<unknown>,
): RawBuilder<number> {
  return sql`(
    (select coalesce(sum(b.receipts), 0) from batches b where b.job_id = ${job} and b.node_id = ${node})
    + (select coalesce(sum(b.receipts), 0) from batches b
       where b.node_address = ${address} and b.state <> 'settled' and b.job_id <> ${job}))`;
}

/** Whether task `t` may go to a node as far as its own failures with it go, and nobody keeps it away from just this one. */
export function isOfNode(node: RawBuilder<unknown>): RawBuilder<boolean> {
  return sql<boolean>`(
    not exists (select 1 from task_failures f
                where f.task_id = t.id and f.node_id = ${node} and f.failure_class <> 'infrastructure')
    and (select count(*) from task_failures f where f.task_id = t.id and f.node_id = ${node}) < ${MAX_TRIES}
    and not exists (select 1 from task_blocks b where b.task_id = t.id and b.node_id = ${node}))`;
}

/**
 * So long is a job worked on while nobody knows whether it can be paid for. A trial takes seconds where a machine is idle,
 * so where it takes longer the nodes are what it waits for; and whoever wants pictures for nothing gets no more than these.
 */
const UNADMITTED_MS = 60_000;

/** Whether tasks of job `j` are given out now. */
export const mayBeWorkedOn = (now: Date) => sql`(j.state = 'active'
  and not (j.admission = 'pending' and j.created_at < ${new Date(now.getTime() - UNADMITTED_MS)}))`;

/**
 * Claims the first task of `held` that this node may do, and after it those of the same job and kind up to `run.tasks`
 * where it is what the run is of. Jobs in the order given (matching/match.ts), else oldest first; within a job finish tasks
 * before tiles, since a frame that only waits for its finish is the cheapest result to have. A task that this node went silent with is left to others while
 * there are any. None for a node that was quarantined while it waited.
 */
export async function claimRun(
  db: FarmDb,
  claim: {
    held: readonly TaskId[];
    /** Only of these jobs. */
    order?: readonly JobId[];
    nodeId: NodeId;
    engines: readonly string[];
    /** As in KnownNode. */
    gpu?: { classes: readonly string[] } | undefined;
    now: Date;
    leaseUntil: Date;
    onlineSince: Date;
    run?: LeaseRequest['run'];
  },
): Promise<TaskRow[]> {
  const { scene = null, kind = null, tasks = 1 } = claim.run ?? {};
  const fits =
    claim.gpu === undefined
      ? sql`j.device_class is null and j.engine = any(${claim.engines as string[]}::text[])`
      : sql`j.engine || ' ' || j.device_class = any(${claim.gpu.classes as string[]}::text[])`;
  const devices = sql`1 + (select count(distinct g->>'device') from nodes n, jsonb_array_elements(n.gpus) g
                           where n.id = ${claim.nodeId})`;
  const leased = sql`(select count(*) from tasks l where l.state = 'leased' and l.node_id = ${claim.nodeId})`;
  const leasedOfJob = sql`(select count(*) from tasks l where l.state = 'leased' and l.node_id = ${claim.nodeId}
                           and l.job_id = ranked.job_id)`;
  const address = sql`(select address from nodes where id = ${claim.nodeId})`;
  const delivered = deliveredBy(sql`ranked.job_id`, sql`${claim.nodeId}`, address);
  const room = sql`least(${MAX_LEASES} * (${devices}) - ${leased},
                         (${FIRST_LEASES} + ${delivered}) * (${devices}) - ${leasedOfJob})`;
  const turn =
    claim.order === undefined ? sql`j.seq` : sql`array_position(${claim.order as JobId[]}::text[], j.id)`;
  const { rows } = await sql<TaskRow>`
    with fit as materialized (
      select t.id, t.job_id, t.kind, j.scene, ${turn} as turn, t.position
      from tasks t join jobs j on j.id = t.job_id
      where t.id = any(${claim.held as TaskId[]}::text[])
        and t.state = 'queued' and ${fits} and ${turn} is not null
        and ${mayBeWorkedOn(claim.now)}
        and not exists (select 1 from nodes q where q.id = ${claim.nodeId} and q.quarantined_until > ${claim.now})
        and not exists (select 1 from job_exclusions e where e.job_id = t.job_id and e.node_id = ${claim.nodeId})
        and ${isOfNode(sql`${claim.nodeId}`)}
        and not (t.losses > 0 and t.node_id = ${claim.nodeId} and exists (
          select 1 from nodes n where n.id <> ${claim.nodeId} and n.last_seen_at > ${claim.onlineSince}
            and ${hasEngine} and (n.quarantined_until is null or n.quarantined_until < ${claim.now})
            and not exists (select 1 from job_exclusions e where e.job_id = t.job_id and e.node_id = n.id)
            and not exists (select 1 from task_failures f where f.task_id = t.id and f.node_id = n.id)
            and not exists (select 1 from task_blocks b where b.task_id = t.id and b.node_id = n.id)))
      order by turn, (t.kind = 'finish') desc, t.position
      limit ${tasks}
      for update of t skip locked),
    ranked as (select *, row_number() over (order by turn, (kind = 'finish') desc, position) as place from fit),
    first as (select *, ${room} as room from ranked where place = 1)
    update tasks set state = 'leased', token = token + 1, node_id = ${claim.nodeId},
                     lease_until = ${claim.leaseUntil}, leased_at = ${claim.now}, progress = 0
    from ranked, first
    where tasks.id = ranked.id and ranked.place <= first.room and (ranked.place = 1 or (
      ranked.job_id = first.job_id and ranked.kind = first.kind
      and first.scene = ${scene}::text and first.kind = ${kind}::text))
    returning tasks.*`.execute(db);
  return rows.sort((a, b) => a.position - b.position);
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
