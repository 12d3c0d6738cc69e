/**
 * A task that two nodes work on: either of their leases may deliver, and what ends one of them leaves the other going.
 *
 * The copy is the task's lease in `tasks`, so that it is like any other; the older one is a row of task_copies that holds
 * while the task is leased under the next token. Rows of task_copies change only under the lock of their task. Where there is
 * no copy all this is a question to an empty table, and none at all for leases that are found.
 */
import { type RawBuilder, sql } from 'kysely';
import type { NodeId, TaskId } from '../../../protocol/ids.ts';
import type { CoordinatorContext } from '../../context.ts';
import type { FarmQuery } from '../../database/schema.ts';
import type { TaskRow } from '../claim-run.ts';
import { leaseMs, noteNodeTime } from '../node-time.ts';

/** Whether task `t` is leased beside the older lease `c` of it. */
export const isBesideOlder = sql<boolean>`(t.id = c.task_id and t.state = 'leased' and t.token = c.token + 1)`;

/** A lease as its node names it. */
export type NamedLease = { taskId: TaskId; token: number; nodeId: NodeId };

/** What of a task's row is its lease's. */
type OlderLease = Pick<TaskRow, 'node_id' | 'token' | 'leased_at' | 'lease_until' | 'progress'>;

/** Those of the leases that hold beside a copy, as rows of their tasks, which the caller has locked. */
export async function olderLeases(
  tx: FarmQuery,
  named: readonly NamedLease[],
  tasks: ReadonlyMap<TaskId, TaskRow>,
): Promise<TaskRow[]> {
  const rows = named.length === 0 ? [] : await readOlder(tx, named);
  return rows.flatMap(({ task_id: id, ...lease }) => {
    const task = tasks.get(id);
    return task === undefined ? [] : [{ ...task, ...lease }];
  });
}

async function readOlder(
  tx: FarmQuery,
  named: readonly NamedLease[],
): Promise<(OlderLease & { task_id: TaskId })[]> {
  const { rows } = await sql<OlderLease & { task_id: TaskId }>`
    select c.task_id, c.node_id, c.token, c.leased_at, c.lease_until, c.progress
    from jsonb_to_recordset(${JSON.stringify(named)}::jsonb) as l("taskId" text, token int, "nodeId" text)
    join task_copies c on c.task_id = l."taskId" and c.token = l.token and c.node_id = l."nodeId"
    join tasks t on ${isBesideOlder}`.execute(tx);
  return rows;
}

/** Heartbeats of leases that their tasks do not show: extends those that hold beside a copy, and returns them. */
export async function extendOlder(
  db: FarmQuery,
  beats: readonly (NamedLease & { progress: number })[],
  { leaseUntil, leasedAfter }: { leaseUntil: Date; leasedAfter: Date },
): Promise<NamedLease[]> {
  if (beats.length === 0) return [];
  const { rows } = await sql<NamedLease>`
    with mine as materialized (
      select t.id, l.progress
      from jsonb_to_recordset(${JSON.stringify(beats)}::jsonb)
        as l("taskId" text, token int, progress real, "nodeId" text)
      join task_copies c on c.task_id = l."taskId" and c.token = l.token and c.node_id = l."nodeId"
      join tasks t on ${isBesideOlder}
      join jobs j on j.id = t.job_id and j.state = 'active'
      where c.leased_at > ${leasedAfter}
      order by t.id for update of t),
    older as (
      update task_copies c set lease_until = ${leaseUntil}, progress = mine.progress
      from mine where c.task_id = mine.id
      returning c.task_id as "taskId", c.token, c.node_id as "nodeId", c.alone, c.progress),
    again as (
      update tasks t set lease_until = ${leaseUntil}, progress = o.progress
      from older o where t.id = o."taskId" and o.alone)
    select "taskId", token, "nodeId" from older`.execute(db);
  return rows;
}

/** One of two leases that is over, and who goes on. */
type Over = Pick<TaskRow, 'id' | 'job_id' | 'kind' | 'frame' | 'tile'> & {
  gone: NodeId;
  kept_by: NodeId;
  gone_since: Date;
};

/**
 * Copies whose node went silent are gone; the older lease is the task's again. To be asked before leases that ran out are
 * put back.
 */
export async function endSilentCopies(
  context: CoordinatorContext,
  tx: FarmQuery,
  now: Date,
): Promise<number> {
  if (!(await anyCopies(tx))) return 0;
  const gone = await backToOlder(tx, sql`t.lease_until < ${now}`, now, { losses: 1 });
  await noteOver(context, tx, gone, (node) => `${node} went silent; its lease ran out`, now);
  return gone.length;
}

/** Older leases whose node went silent are gone, and the copies go on. Also clears away what is over. */
export async function endSilentOlder(context: CoordinatorContext, tx: FarmQuery, now: Date): Promise<number> {
  if (!(await anyCopies(tx))) return 0;
  const gone = await withoutOlder(tx, sql`c.lease_until < ${now}`, { losses: 1 });
  await noteOver(context, tx, gone, (node) => `${node} went silent; its lease ran out`, now);
  await clearOver(tx, now);
  return gone.length;
}

/** Whatever of this node, `within` these tasks `t`, has another one beside it is the other one's alone; no blame. Its other leases are as they were. */
export async function leaveToOthers(
  context: CoordinatorContext,
  tx: FarmQuery,
  { nodeId, within }: { nodeId: NodeId; within: RawBuilder<unknown> },
  reason: string,
  now: Date,
): Promise<void> {
  if (!(await anyCopies(tx))) return;
  const gone = [
    ...(await withoutOlder(tx, sql`c.node_id = ${nodeId}`, { losses: 0, within })),
    ...(await backToOlder(tx, sql`t.node_id = ${nodeId} and ${within}`, now, { losses: 0 })),
  ];
  await noteOver(context, tx, gone, () => reason, now);
}

/** The node gives this lease back. Whether another one goes on with the task, which then stays leased. */
export async function leftToOther(
  context: CoordinatorContext,
  tx: FarmQuery,
  { id, token, node_id: nodeId }: TaskRow,
  reason: string,
  now: Date,
): Promise<boolean> {
  if (!(await anyCopies(tx))) return false;
  const own = sql`c.task_id = ${id} and c.token = ${token} and c.node_id = ${nodeId}`;
  const gone = [
    ...(await withoutOlder(tx, own, { losses: 0 })),
    ...(await backToOlder(tx, sql`t.id = ${id} and t.token = ${token} and t.node_id = ${nodeId}`, now, {
      losses: 0,
    })),
  ];
  await noteOver(context, tx, gone, () => reason, now);
  return gone.length > 0;
}

/** After a start: see graceLeases. */
export async function graceOlder(db: FarmQuery, until: Date): Promise<void> {
  await db.updateTable('task_copies').set({ lease_until: until }).execute();
}

async function anyCopies(tx: FarmQuery): Promise<boolean> {
  const { rows } = await sql<{ any: boolean }>`select exists (select 1 from task_copies) as any`.execute(tx);
  return rows[0]?.any === true;
}

/** Ends the copies that are `meant` (of `t`), where the older lease has not run out: the task is its node's alone again. */
async function backToOlder(
  tx: FarmQuery,
  meant: RawBuilder<unknown>,
  now: Date,
  { losses }: { losses: number },
): Promise<Over[]> {
  const { rows } = await sql<Over>`
    with mine as materialized (
      select t.id, t.node_id as gone, t.leased_at as gone_since,
             c.node_id, c.leased_at, c.lease_until, c.progress
      from tasks t join task_copies c on ${isBesideOlder}
      where not c.alone and c.lease_until >= ${now} and ${meant}
      order by t.id for update of t),
    older as (update task_copies c set alone = true from mine where c.task_id = mine.id)
    update tasks t set node_id = mine.node_id, leased_at = mine.leased_at, lease_until = mine.lease_until,
                       progress = mine.progress, losses = t.losses + ${losses}
    from mine where t.id = mine.id
    returning t.id, t.job_id, t.kind, t.frame, t.tile, mine.gone, mine.gone_since, t.node_id as kept_by`.execute(
    tx,
  );
  return rows;
}

/** Ends the older leases that are `meant` (of `c`) of tasks `within` (of `t`): the task is the copy's node's alone. */
async function withoutOlder(
  tx: FarmQuery,
  meant: RawBuilder<unknown>,
  { losses, within = sql`true` }: { losses: number; within?: RawBuilder<unknown> },
): Promise<Over[]> {
  const { rows } = await sql<Over>`
    with mine as materialized (
      select t.id from tasks t join task_copies c on ${isBesideOlder}
      where not c.alone and ${meant} and ${within}
      order by t.id for update of t),
    over as (
      delete from task_copies c using mine where c.task_id = mine.id and ${meant}
      returning c.task_id, c.node_id, c.leased_at)
    update tasks t set losses = t.losses + ${losses}
    from over where t.id = over.task_id
    returning t.id, t.job_id, t.kind, t.frame, t.tile, over.node_id as gone, over.leased_at as gone_since,
              t.node_id as kept_by`.execute(tx);
  return rows;
}

async function noteOver(
  context: CoordinatorContext,
  tx: FarmQuery,
  gone: readonly Over[],
  reasonOf: (node: NodeId) => string,
  now: Date,
): Promise<void> {
  if (gone.length === 0) return;
  await noteNodeTime(
    tx,
    // Its time was used; the task is counted where it ends.
    gone.map((one) => ({ jobId: one.job_id, ms: leaseMs({ leased_at: one.gone_since }, now), tasks: 0 })),
  );
  await context.events.addMany(
    tx,
    gone.map(({ id: taskId, job_id: jobId, kind, frame, tile, gone: nodeId, kept_by: keptBy }) => ({
      jobId,
      event: {
        type: 'task.copy-ended' as const,
        ...{ taskId, kind, frame, tile, nodeId, keptBy, reason: reasonOf(nodeId) },
      },
    })),
    now,
  );
}

/** Rows whose task is not leased any more, or under a later lease. The time of who came second counts for the job, too. */
async function clearOver(tx: FarmQuery, now: Date): Promise<void> {
  const { rows } = await sql<Pick<TaskRow, 'job_id' | 'leased_at'> & { alone: boolean }>`
    delete from task_copies c using tasks t
    where t.id = c.task_id and not ${isBesideOlder}
    returning t.job_id, c.alone, case when t.node_id = c.node_id then t.leased_at else c.leased_at end as leased_at`.execute(
    tx,
  );
  const second = rows.filter(({ alone }) => !alone);
  await noteNodeTime(
    tx,
    second.map((row) => ({ jobId: row.job_id, ms: leaseMs(row, now), tasks: 0 })),
  );
}
