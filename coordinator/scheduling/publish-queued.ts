/** From the database to the to-do list: every queued task of an active job gets a pointer in the stream, once per stay. */
import { sql } from 'kysely';
import type { TaskQueue } from '../../platform/nats/task-queue.ts';
import type { JobId, TaskId } from '../../protocol/ids.ts';
import type { FarmDb } from '../database/schema.ts';

/** Pointers published at a time: nodes have the first of a large job while its last are on their way. */
const CHUNK = 500;

/**
 * Publishes what is queued and not yet published. A crash in between publishes a pointer twice, which is harmless:
 * a claim needs the row to be queued. Returns how many were published.
 */
export async function publishQueued(db: FarmDb, queue: TaskQueue): Promise<number> {
  let published = 0;
  for (;;) {
    // Job by job along the index: sorting all that is left, for every part of it, would take the square of a long job.
    const { rows } = await sql<{ id: TaskId; job_id: JobId; token: number }>`
      select next.id, j.id as job_id, next.token
      from (select id, seq from jobs where state = 'active' order by seq) j
      cross join lateral (
        select id, token, position from tasks t
        where t.job_id = j.id and t.state = 'queued' and not t.published
        order by position limit ${CHUNK}) next
      order by j.seq, next.position limit ${CHUNK}`.execute(db);
    if (rows.length === 0) return published;
    await queue.publish(rows.map((row) => ({ taskId: row.id, jobId: row.job_id })));
    // By token: a task that was leased and given back meanwhile is in the queue anew and needs a new pointer.
    await sql`
      update tasks t set published = true
      from jsonb_to_recordset(${JSON.stringify(rows)}::jsonb) as r(id text, token int)
      where t.id = r.id and t.token = r.token and t.state = 'queued'`.execute(db);
    published += rows.length;
  }
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
