/**
 * Nodes that a person keeps away from a job, or from one task of it: one that makes wrong-looking pictures, and no check
 * finds why. For a whole job they are rows beside the exclusions by verdicts, which every claim asks for anyway.
 */
import { sql } from 'kysely';
import { inTransaction } from '../../platform/database/in-transaction.ts';
import type { Block, BlockView, Unblock } from '../../protocol/blocks.ts';
import { FarmError } from '../../protocol/errors.ts';
import type { JobId, NodeId, TaskId } from '../../protocol/ids.ts';
import type { CoordinatorContext } from '../context.ts';
import type { FarmQuery } from '../database/schema.ts';
import { releaseLeases } from './lost-leases.ts';

const UNCHANGED = { kept: 'nothing was changed' };

/**
 * Keeps the node away; what it has of it now goes back to the queue at once, without blame. Saying it again replaces name and
 * reason. NOT_FOUND for a job, node or task that is not there, JOB_ENDED for a job that has ended.
 */
export async function block(context: CoordinatorContext, jobId: JobId, asked: Block): Promise<void> {
  const { nodeId, taskId, reason, by } = asked;
  const now = new Date(context.clock.now());
  await inTransaction(context.db, async (tx) => {
    await requireTarget(tx, jobId, asked);
    const row = { job_id: jobId, node_id: nodeId, reason, set_by: by, set_at: now };
    if (taskId === undefined)
      await tx
        .insertInto('job_exclusions')
        .values(row)
        .onConflict((conflict) =>
          // What a verdict has said stays.
          conflict
            .columns(['job_id', 'node_id'])
            .doUpdateSet({ reason, set_by: by, set_at: now })
            .where('job_exclusions.set_by', 'is not', null),
        )
        .execute();
    else
      await tx
        .insertInto('task_blocks')
        .values({ ...row, task_id: taskId })
        .onConflict((conflict) =>
          conflict.columns(['task_id', 'node_id']).doUpdateSet({ reason, set_by: by, set_at: now }),
        )
        .execute();
    const event = { type: 'node.blocked' as const, nodeId, ...(taskId !== undefined && { taskId }) };
    await context.events.add(tx, jobId, { ...event, by, reason }, now);
    await releaseLeases(context, tx, nodeId, keptAway(nodeId, by, reason), now, { jobId, taskId });
  });
}

/** Lets the node have it again. NOT_FOUND where nobody keeps it away, BLOCK_STANDS where a verdict does. */
export async function unblock(context: CoordinatorContext, jobId: JobId, asked: Unblock): Promise<void> {
  const { nodeId, taskId, by } = asked;
  const now = new Date(context.clock.now());
  await inTransaction(context.db, async (tx) => {
    const gone =
      taskId === undefined
        ? await tx
            .deleteFrom('job_exclusions')
            .where('job_id', '=', jobId)
            .where('node_id', '=', nodeId)
            .where('set_by', 'is not', null)
            .returning('node_id')
            .executeTakeFirst()
        : await tx
            .deleteFrom('task_blocks')
            .where('job_id', '=', jobId)
            .where('task_id', '=', taskId)
            .where('node_id', '=', nodeId)
            .returning('node_id')
            .executeTakeFirst();
    if (gone === undefined) throw await whyNotLifted(tx, jobId, asked);
    const event = { type: 'node.unblocked' as const, nodeId, ...(taskId !== undefined && { taskId }) };
    await context.events.add(tx, jobId, { ...event, by }, now);
  });
}

/** Who is kept away from these jobs, or tasks of them, by whom and why; what was said last is last. */
export async function blocksOf(db: FarmQuery, jobs: readonly JobId[]): Promise<Map<JobId, BlockView[]>> {
  const { rows } = await sql<Omit<BlockView, 'atMs'> & { jobId: JobId; at: Date | null }>`
    select job_id as "jobId", node_id as "nodeId", null as "taskId", set_by as by, reason, set_at as at
    from job_exclusions where job_id = any(${jobs as JobId[]}::text[])
    union all
    select job_id, node_id, task_id, set_by, reason, set_at
    from task_blocks where job_id = any(${jobs as JobId[]}::text[])
    order by at nulls first, "nodeId"`.execute(db);
  const blocks = new Map<JobId, BlockView[]>();
  for (const { jobId, at, ...one } of rows)
    blocks.set(jobId, [...(blocks.get(jobId) ?? []), { ...one, atMs: at?.getTime() ?? null }]);
  return blocks;
}

/**
 * Takes back what was given to a node in the very moment in which it was blocked: a claim that had looked before does not
 * see it. Returns how many blocks there were to go by.
 */
export async function releaseBlocked(context: CoordinatorContext): Promise<number> {
  const { rows } = await sql<{
    jobId: JobId;
    taskId: TaskId | null;
    nodeId: NodeId;
    by: string;
    reason: string;
  }>`
    with held as (
      select id, job_id, node_id from tasks where state = 'leased' and (
        exists (select 1 from job_exclusions where set_by is not null) or exists (select 1 from task_blocks))
      union all
      select t.id, t.job_id, c.node_id from task_copies c join tasks t on t.id = c.task_id and t.state = 'leased'
      where not c.alone)
    select distinct h.job_id as "jobId", null as "taskId", h.node_id as "nodeId", e.set_by as by, e.reason
    from held h join job_exclusions e on e.job_id = h.job_id and e.node_id = h.node_id and e.set_by is not null
    union all
    select h.job_id, h.id, h.node_id, b.set_by, b.reason
    from held h join task_blocks b on b.task_id = h.id and b.node_id = h.node_id`.execute(context.db);
  const now = new Date(context.clock.now());
  for (const { jobId, taskId, nodeId, by, reason } of rows)
    await inTransaction(context.db, (tx) =>
      releaseLeases(context, tx, nodeId, keptAway(nodeId, by, reason), now, {
        jobId,
        taskId: taskId ?? undefined,
      }),
    );
  return rows.length;
}

function keptAway(node: NodeId, by: string, reason: string): string {
  return `${node} is kept away from it by ${by}: ${reason}`;
}

async function requireTarget(tx: FarmQuery, jobId: JobId, { nodeId, taskId }: Block): Promise<void> {
  const job = await tx.selectFrom('jobs').select('state').where('id', '=', jobId).executeTakeFirst();
  if (job === undefined) throw new FarmError('NOT_FOUND', `there is no job ${jobId}`, UNCHANGED);
  if (job.state !== 'opening' && job.state !== 'active')
    throw new FarmError('JOB_ENDED', `${jobId} is ${job.state}`, UNCHANGED);
  const node = await tx.selectFrom('nodes').select('id').where('id', '=', nodeId).executeTakeFirst();
  if (node === undefined)
    throw new FarmError(
      'NOT_FOUND',
      `there is no node ${nodeId}; it is known from its first hello on`,
      UNCHANGED,
    );
  if (taskId === undefined) return;
  const task = await tx
    .selectFrom('tasks')
    .select('id')
    .where('id', '=', taskId)
    .where('job_id', '=', jobId)
    .executeTakeFirst();
  if (task === undefined)
    throw new FarmError('NOT_FOUND', `${jobId} has no task ${taskId}; its events name them`, UNCHANGED);
}

async function whyNotLifted(tx: FarmQuery, jobId: JobId, { nodeId, taskId }: Unblock): Promise<FarmError> {
  const verdict = await tx
    .selectFrom('job_exclusions')
    .select('reason')
    .where('job_id', '=', jobId)
    .where('node_id', '=', nodeId)
    .where('set_by', 'is', null)
    .executeTakeFirst();
  if (taskId === undefined && verdict !== undefined)
    return new FarmError(
      'BLOCK_STANDS',
      `${nodeId} failed a check of ${jobId}: ${verdict.reason}`,
      UNCHANGED,
    );
  const what = taskId === undefined ? jobId : `${taskId} of ${jobId}`;
  return new FarmError('NOT_FOUND', `nobody keeps ${nodeId} away from ${what}`, UNCHANGED);
}
