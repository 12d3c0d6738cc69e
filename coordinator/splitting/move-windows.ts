/**
 * Only a window of a job exists as rows: as its tasks are taken, the next frames begin. A job of a million tasks costs
 * what is in flight of it and what is done (docs/decisions/lazy-jobs.md).
 */
import { type Selectable, sql } from 'kysely';
import { toJson } from '../../platform/json.ts';
import { newIdBody } from '../../platform/new-id.ts';
import type { JobId, TaskId } from '../../protocol/ids.ts';
import type { FarmDb, FarmQuery, FarmTables } from '../database/schema.ts';
import { MAX_WINDOW } from '../scheduling/held-tasks.ts';
import { frameOf, type Grid, gridOf } from './grid.ts';

/**
 * Tasks of a job that wait as rows, at least half of them at any time: as many as are on the to-do list of one job, so that it is
 * never short of them.
 */
const WINDOW_TASKS = 2 * MAX_WINDOW;

/** Of a job that is not funded yet: enough to begin with, and it is taken at once. */
export const FIRST_TASKS = 256;

/** Rows per statement: between two, questions of nodes are answered. */
const INSERT_CHUNK = 256;

/** The frames of a job that are not rows yet, as its row knows them. */
type Lazy = Pick<
  Selectable<FarmTables['jobs']>,
  'id' | 'spec' | 'frame_runs' | 'frames_total' | 'frames_begun' | 'preview_first'
>;

/**
 * Begins frames of active jobs whose window is half empty. Returns whether any began, and whether there are more to begin.
 * Two at a time begin every frame once: the count of frames that have begun is moved on by one of them.
 */
export async function moveWindows(
  db: FarmDb,
  now: Date,
  windowTasks = WINDOW_TASKS,
): Promise<{ begun: boolean; more: boolean }> {
  const half = Math.floor(windowTasks / 2);
  // A spec may name every frame; it is read of jobs that need it only. More than half is not counted.
  const { rows } = await sql<Lazy & { queued: number }>`
    select j.id, case when w.queued <= ${half} then j.spec end as spec, case when w.queued <= ${half} then j.frame_runs end as frame_runs,
           j.frames_total, j.frames_begun, j.preview_first, w.queued
    from jobs j
    cross join lateral (
      select count(*)::int as queued from (
        select 1 from tasks t where t.job_id = j.id and t.state = 'queued' limit ${half + 1}) t) w
    where j.state = 'active' and j.frames_begun < j.frames_total`.execute(db);
  let begun = false;
  for (const job of rows) {
    if (job.queued > half) continue;
    const moved = await db.transaction().execute((tx) => beginFrames(tx, job, job.queued, now, windowTasks));
    begun = moved || begun;
  }
  return { begun, more: rows.length > 0 };
}

/** As many frames as fill the window, at least one. False where another did it meanwhile, or the job has ended. */
export async function beginFrames(
  tx: FarmQuery,
  job: Lazy,
  queued: number,
  now: Date,
  windowTasks = WINDOW_TASKS,
): Promise<boolean> {
  const grid = gridOfJob(job);
  const { frames_begun: from, frames_total: total } = job;
  const wanted = Math.max(1, Math.ceil((windowTasks - queued) / grid.tilesPerFrame));
  const until = Math.min(total, from + wanted);
  if (until <= from) return false;
  const moved = await tx
    .updateTable('jobs')
    .set({ frames_begun: until })
    .where('id', '=', job.id)
    .where('frames_begun', '=', from)
    .where('state', 'in', ['opening', 'active'])
    .returning('id')
    .executeTakeFirst();
  if (moved === undefined) return false;
  const turns = Array.from({ length: until - from }, (_, index) => frameOf(grid, from + index));
  const frames = turns.map(({ frame, place }) => {
    return { job_id: job.id, frame, position: place, tiles_total: grid.tilesPerFrame };
  });
  for (const rows of chunks(frames)) await insertFrames(tx, rows);
  const tasks = turns.flatMap((turn) => turn.tasks.map((task) => taskRow(job.id, task, now)));
  for (const rows of chunks(tasks)) await insertTasks(tx, rows);
  return true;
}

export function gridOfJob({ spec, frame_runs: runs, frames_total: framesTotal, preview_first }: Lazy): Grid {
  return gridOf(spec, { runs: runs ?? [], framesTotal, previewFirst: preview_first });
}

function taskRow(job: JobId, task: ReturnType<typeof frameOf>['tasks'][number], now: Date) {
  return {
    id: `task_${newIdBody(now.getTime())}` as TaskId,
    job_id: job,
    kind: task.kind,
    frame: task.frame,
    position: task.position,
    tile: task.tile,
    ...{ x: task.rect.x, y: task.rect.y, width: task.rect.width, height: task.rect.height },
    samples: task.samples,
    price: task.price.toString(),
    // Its finish task waits for the tiles of the frame.
    state: task.kind === 'finish' ? ('waiting' as const) : ('queued' as const),
  };
}

/** As one value: a parameter for each field of each row takes several times as long to put together and to read. */
async function insertFrames(tx: FarmQuery, rows: object[]): Promise<void> {
  await sql`
    insert into frames (job_id, frame, position, tiles_total)
    select * from jsonb_to_recordset(${toJson(rows)}::jsonb)
      as f(job_id text, frame int, position int, tiles_total int)`.execute(tx);
}

async function insertTasks(tx: FarmQuery, rows: ReturnType<typeof taskRow>[]): Promise<void> {
  await sql`
    insert into tasks (id, job_id, kind, frame, position, tile, x, y, width, height, samples, price, state)
    select * from jsonb_to_recordset(${toJson(rows)}::jsonb)
      as t(id text, job_id text, kind text, frame int, position int, tile int, x int, y int, width int, height int,
           samples int, price numeric, state text)`.execute(tx);
}

function chunks<T>(rows: T[]): T[][] {
  const parts: T[][] = [];
  for (let start = 0; start < rows.length; start += INSERT_CHUNK)
    parts.push(rows.slice(start, start + INSERT_CHUNK));
  return parts;
}
