/** How many tasks of a job are in which state. Those that are finished are counted as they finish, never again here. */

import type { Selectable } from 'kysely';
import { sql } from 'kysely';
import type { FarmQuery, FarmTables } from '../database/schema.ts';

type Open = {
  queued: number;
  waiting: number;
  leased: number;
  delivered: number;
  /** Price of what is delivered, and of what is leased as far as that has come. */
  done: bigint;
};

/** What is between its beginning and its verdict: as many rows as are in flight, whatever the size of the job. */
export async function openTasks(
  db: FarmQuery,
  job: Pick<Selectable<FarmTables['jobs']>, 'id' | 'state' | 'frames_begun' | 'frames_total' | 'tasks_total'>,
): Promise<Open> {
  const { rows } = await sql<Omit<Open, 'done'> & { done: string }>`
    select count(*) filter (where state = 'queued')::int as queued,
           count(*) filter (where state = 'waiting')::int as waiting,
           count(*) filter (where state = 'leased')::int as leased,
           count(*) filter (where state = 'delivered')::int as delivered,
           coalesce(floor(sum(price * case state when 'delivered' then 1 when 'leased' then progress::numeric
                                      else 0 end)), 0)::text as done
    from tasks
    where job_id = ${job.id} and state in ('queued', 'waiting', 'leased', 'delivered')`.execute(db);
  const [row] = rows;
  if (row === undefined) throw new Error('an aggregate without a row');
  const { queued, waiting } = notBegun(job);
  return {
    ...row,
    queued: row.queued + queued,
    waiting: row.waiting + waiting,
    done: BigInt(row.done),
  };
}

/** Tasks that are not rows yet; none of a job that has ended, since they never will be. */
function notBegun(
  job: Pick<Selectable<FarmTables['jobs']>, 'state' | 'frames_begun' | 'frames_total' | 'tasks_total'>,
): { queued: number; waiting: number } {
  const frames = job.frames_total - job.frames_begun;
  if (frames <= 0 || (job.state !== 'opening' && job.state !== 'active')) return { queued: 0, waiting: 0 };
  const perFrame = job.tasks_total / job.frames_total;
  // Of several tasks of a frame one is its finish.
  const finishes = perFrame > 1 ? 1 : 0;
  return { queued: frames * (perFrame - finishes), waiting: frames * finishes };
}
