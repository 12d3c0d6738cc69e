/** Node time that jobs have used: what their fair share is counted from (matching/fair-share.ts). */
import { sql } from 'kysely';
import type { JobId } from '../../protocol/ids.ts';
import type { FarmDb, FarmQuery } from '../database/schema.ts';

/** One or more leases of a job that are over, however they ended. */
export type Use = { jobId: JobId; ms: number; tasks: number };

/** Only adds a row: results of one job that come at the same moment do not wait for each other. */
export async function noteNodeTime(tx: FarmQuery, uses: readonly Use[]): Promise<void> {
  if (uses.length === 0) return;
  await sql`
    insert into node_time (account, job_id, ms, tasks)
    select j.account, j.id, u.ms, u.tasks
    from jsonb_to_recordset(${JSON.stringify(uses)}::jsonb) as u("jobId" text, ms double precision, tasks int)
    join jobs j on j.id = u."jobId"`.execute(tx);
}

/** What a lease took by this clock: what a node says of its own is believed only up to that. */
export function leaseMs({ leased_at: leasedAt }: { leased_at: Date | null }, now: Date): number {
  return leasedAt === null ? 0 : Math.max(0, now.getTime() - leasedAt.getTime());
}

/** Rows that are added up at a time are worth the writing. */
const FOLD_ROWS = 200;

/** Adds up what has gathered, jobs that have ended under their account. Two at a time take different rows. */
export async function foldNodeTime(db: FarmDb): Promise<void> {
  const { rows } = await sql<{ rows: number }>`
    select count(*)::int as rows from node_time`.execute(db);
  if ((rows[0]?.rows ?? 0) < FOLD_ROWS) return;
  await sql`
    with gone as (delete from node_time returning account, job_id, ms, tasks)
    insert into node_time (account, job_id, ms, tasks)
    select g.account, j.id, sum(g.ms), sum(g.tasks)
    from gone g left join jobs j on j.id = g.job_id and j.state in ('opening', 'active')
    group by g.account, j.id`.execute(db);
}
