/** Who may work on a job, and jobs that nobody may work on any more. */
import { sql } from 'kysely';
import { classKey } from '../../platform/render/device-choice.ts';
import type { JobId, NodeId } from '../../protocol/ids.ts';
import type { CoordinatorContext } from '../context.ts';
import type { FarmQuery } from '../database/schema.ts';
import { endJob } from './end-job.ts';

/** Whether node `n` has the engine of job `j`, on the kind of device that the job is for. */
export const hasEngine = sql`(case when j.device_class is null
  then (n.engine = j.engine and n.device_class like 'cpu%') or n.engines ->> j.engine is not null
  else n.gpus @> jsonb_build_array(jsonb_build_object(
    'engine', j.engine, 'deviceClass', j.device_class)) end)`;

/** A node that is away for less than this may be starting again: a job waits for it before it is given up. */
const HOPE_MS = 10 * 60_000;

/**
 * Excluded from job `j` by a verdict, `e`. Who is kept away by a person can be let back, so nothing is given up for want
 * of others.
 */
const byVerdict = sql`e.job_id = j.id and e.set_by is null`;

/** Nodes seen since then that have the job's engine and that no verdict excludes from it. */
export async function ableNodes(tx: FarmQuery, jobId: JobId, seenSince: Date): Promise<NodeId[]> {
  const { rows } = await sql<{ id: NodeId }>`
    select n.id from nodes n join jobs j on j.id = ${jobId}
    where n.last_seen_at > ${seenSince} and ${hasEngine}
      and not exists (select 1 from job_exclusions e where ${byVerdict} and e.node_id = n.id)`.execute(tx);
  return rows.map((row) => row.id);
}

/**
 * Ends jobs with work left that every node is excluded from: each that could render it has failed a check. A farm
 * where no node was seen at all only waits. Returns how many jobs were ended.
 */
export async function endHopelessJobs(context: CoordinatorContext): Promise<number> {
  const since = new Date(context.clock.now() - HOPE_MS);
  const { rows } = await sql<{ id: JobId }>`
    select j.id from jobs j
    where j.state = 'active'
      and (j.frames_begun < j.frames_total
           or exists (select 1 from tasks t where t.job_id = j.id and t.state = 'queued'))
      and not exists (select 1 from tasks t where t.job_id = j.id and t.state = 'leased')
      and exists (select 1 from job_exclusions e where ${byVerdict})
      and not exists (
        select 1 from nodes n
        where n.last_seen_at > ${since} and ${hasEngine}
          and not exists (select 1 from job_exclusions e where ${byVerdict} and e.node_id = n.id))`.execute(
    context.db,
  );
  for (const { id } of rows) {
    const reason =
      'no node that may render it was seen for ten minutes; every other failed a check of this job';
    await context.db.transaction().execute((tx) => endJob(context, tx, id, 'failed', reason));
  }
  return rows.length + (await endOutdatedJobs(context));
}

/** Past its deadline the escrow takes no more batches; and what was planned for another Blender is not rendered by this one. */
async function endOutdatedJobs(context: CoordinatorContext): Promise<number> {
  const engines = [...new Set(context.engines.map((runtime) => runtime.engine.id))];
  const classes = context.engines.map(({ engine }) => classKey(engine.id, engine.deviceClass));
  const { rows } = await sql<{ id: JobId; gpus: string | null; late: boolean }>`
    select id, device_class as gpus, deadline_at < ${new Date(context.clock.now())} as late from jobs
    where state in ('opening', 'active')
      and (deadline_at < ${new Date(context.clock.now())} or not (engine = any(${engines}::text[]))
        or not coalesce(engine || ' ' || device_class = any(${classes}::text[]), true))`.execute(context.db);
  for (const { id, gpus, late } of rows) {
    const other = gpus === null ? 'another Blender' : `another Blender or other GPUs (${gpus})`;
    const reason = late
      ? 'its deadline has passed'
      : `it was planned for ${other} than this farm has now (${engines.join(', ')})`;
    await context.db.transaction().execute((tx) => endJob(context, tx, id, 'failed', reason));
  }
  return rows.length;
}
