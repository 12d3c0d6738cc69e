/** From the database to the to-do list: every queued task of an active job gets a pointer in the stream, once per stay. */
import { sql } from 'kysely';
import type { TaskQueue } from '../../platform/nats/task-queue.ts';
import type { JobId, TaskId } from '../../protocol/ids.ts';
import type { FarmDb } from '../database/schema.ts';
import { publishWindow } from './held-tasks.ts';

/** Pointers of a job that are published at a time: nodes have the first of it while its last are on their way. */
const CHUNK = 500;

/**
 * Publishes what is queued and not yet published, of each job no more than a window, so that what a coordinator holds
 * has something of every job. A crash in between publishes a pointer twice, which is harmless: a claim needs the row to be
 * queued. `jobs`: only of these, where it is known that nothing has changed in the others. Returns how many were published, and whether
 * some are left for when others are taken.
 */
export async function publishQueued(
  db: FarmDb,
  queue: TaskQueue,
  jobs: ReadonlySet<JobId> | null = null,
): Promise<{ published: number; left: boolean }> {
  let published = 0;
  const { rows: active } = await sql<{ jobs: number }>`
    select count(*)::int as jobs from jobs where state = 'active'`.execute(db);
  const window = publishWindow(active[0]?.jobs ?? 0);
  const only = jobs === null ? sql`` : sql`and id = any(${[...jobs]}::text[])`;
  for (;;) {
    // Job by job along the index: sorting all that is left, for every part of it, would take the square of a long job.
    // One more than fits shows that some are left.
    const { rows } = await sql<{ id: TaskId; job_id: JobId; token: number; fits: boolean }>`
      select next.id, j.id as job_id, next.token,
             row_number() over (partition by j.id order by next.position) + list.tasks <= ${window} as fits
      from (select id, seq from jobs where state = 'active' ${only} order by seq) j
      cross join lateral (
        select count(*) as tasks from tasks p
        where p.job_id = j.id and p.state = 'queued' and p.published) list
      cross join lateral (
        select id, token, position from tasks t
        where t.job_id = j.id and t.state = 'queued' and not t.published
        order by position limit least(${CHUNK}, greatest(0, ${window} - list.tasks) + 1)) next
      order by j.seq, next.position`.execute(db);
    const fitting = rows.filter((row) => row.fits);
    if (fitting.length === 0) return { published, left: rows.length > 0 };
    await queue.publish(fitting.map((row) => ({ taskId: row.id, jobId: row.job_id })));
    // By token: a task that was leased and given back meanwhile is in the queue anew and needs a new pointer.
    await sql`
      update tasks t set published = true
      from jsonb_to_recordset(${JSON.stringify(fitting)}::jsonb) as r(id text, token int)
      where t.id = r.id and t.token = r.token and t.state = 'queued'`.execute(db);
    published += fitting.length;
    // Of no job was there more that fits: whoever looks again finds the same.
    if (!hasFullChunk(fitting)) return { published, left: rows.length > fitting.length };
  }
}

function hasFullChunk(rows: readonly { job_id: JobId }[]): boolean {
  const counts = new Map<JobId, number>();
  for (const { job_id: job } of rows) counts.set(job, (counts.get(job) ?? 0) + 1);
  return [...counts.values()].some((count) => count >= CHUNK);
}

/** After a start nobody knows what the message server kept: everything queued is published again. */
export async function forgetPublished(db: FarmDb): Promise<void> {
  await db.updateTable('tasks').set({ published: false }).where('state', '=', 'queued').execute();
}

/**
 * A safety net: when the list is shorter than what was published, something was lost (a message server that lost its
 * disk) and everything is published anew. Returns whether it was.
 */
export async function republishLost(db: FarmDb, queue: TaskQueue): Promise<boolean> {
  const { rows } = await sql<{ published: number }>`
    select count(*)::int as published from tasks t join jobs j on j.id = t.job_id
    where t.state = 'queued' and t.published and j.state = 'active'`.execute(db);
  const published = rows[0]?.published ?? 0;
  if (published === 0 || (await queue.depth()) >= published) return false;
  await forgetPublished(db);
  return true;
}
