/**
 * A tiled frame is finished as soon as all its tiles are delivered, while they are still checked; what was finished goes
 * on chain only once they have passed (docs/decisions/early-finish.md). Here: when a finish task may begin, when its
 * batch may be committed, and what is taken back when a tile turns out to be no good.
 */
import { sql } from 'kysely';
import type { BatchId, JobId } from '../../protocol/ids.ts';
import type { CoordinatorContext } from '../context.ts';
import type { FarmQuery } from '../database/schema.ts';
import type { TaskRow } from '../scheduling/claim-run.ts';
import { withdrawFrames } from './show-frames.ts';

/** Whether a closed batch has to wait: of a frame that it finishes there are tiles without a verdict. */
export const waitsForTiles = sql<boolean>`(batches.kind = 'finish' and batches.state = 'closed' and exists (
  select 1 from tasks t join frames f on f.job_id = t.job_id and f.frame = t.frame
  where t.batch_id = batches.id and f.tiles_verified < f.tiles_total))`;

/** Counts delivered tiles. Returns the jobs in which one was its frame's last, so that a finish task is in the queue now. */
export async function countDelivered(
  tx: FarmQuery,
  tiles: readonly Pick<TaskRow, 'job_id' | 'frame'>[],
): Promise<ReadonlySet<JobId>> {
  if (tiles.length === 0) return new Set();
  // Locked in one order, whoever counts: messages of two coordinators may have tiles of the same frames.
  const { rows } = await sql<{ job_id: JobId; frame: number }>`
    with n as (
      select job_id, frame, count(*)::int as tiles
      from unnest(${tiles.map((tile) => tile.job_id)}::text[], ${tiles.map((tile) => tile.frame)}::int[])
        as u(job_id, frame) group by job_id, frame),
    mine as materialized (
      select f.job_id, f.frame, n.tiles from frames f join n on n.job_id = f.job_id and n.frame = f.frame
      order by f.job_id, f.frame for update of f),
    counted as (
      update frames f set tiles_delivered = tiles_delivered + mine.tiles
      from mine where f.job_id = mine.job_id and f.frame = mine.frame
      returning f.job_id, f.frame, f.tiles_delivered = f.tiles_total as complete)
    select job_id, frame from counted where complete`.execute(tx);
  const jobs = new Set(rows.map((row) => row.job_id));
  for (const job of jobs) {
    const frames = rows.filter((row) => row.job_id === job).map((row) => row.frame);
    await queueFinishes(tx, job, frames);
  }
  return jobs;
}

/** Puts the waiting finish tasks of those of the frames into the queue that have all their tiles. */
async function queueFinishes(tx: FarmQuery, jobId: JobId, frames: readonly number[]): Promise<void> {
  await sql`
    update tasks t set state = 'queued', published = false
    from frames f
    where t.job_id = ${jobId} and t.kind = 'finish' and t.state = 'waiting'
      and t.frame = any(${frames as number[]}::int[])
      and f.job_id = t.job_id and f.frame = t.frame and f.tiles_delivered = f.tiles_total`.execute(tx);
}

/**
 * Puts a finish task that failed aside while its tiles are not all checked: it may be one of them that is broken, which
 * is neither the fault of who finishes nor of the scene. False where they are checked: then it counts as any failure.
 */
export async function parked(tx: FarmQuery, task: Pick<TaskRow, 'id' | 'kind'>): Promise<boolean> {
  if (task.kind !== 'finish') return false;
  const result = await sql`
    update tasks t set state = 'waiting', published = false, lease_until = null, progress = 0
    from frames f
    where t.id = ${task.id} and f.job_id = t.job_id and f.frame = t.frame
      and f.tiles_verified < f.tiles_total`.execute(tx);
  return Number(result.numAffectedRows ?? 0n) > 0;
}

/** All tiles of a frame have passed: a finish task that was put aside gets another try. */
export async function queueParked(tx: FarmQuery, jobId: JobId): Promise<void> {
  await sql`
    update tasks t set state = 'queued', published = false
    from frames f
    where t.job_id = ${jobId} and t.kind = 'finish' and t.state = 'waiting'
      and f.job_id = t.job_id and f.frame = t.frame and f.tiles_verified = f.tiles_total`.execute(tx);
}

/**
 * Tiles of these frames (one entry per tile) were thrown away: whatever was finished from them goes too, and with it
 * everything in the same batch, whose signature covers it. None of it was on chain, so nobody has lost a payment that was
 * promised; finishing again takes a moment.
 */
export async function withdrawFinishes(
  context: CoordinatorContext,
  tx: FarmQuery,
  jobId: JobId,
  tiles: readonly number[],
  now: Date,
): Promise<void> {
  await sql`
    update frames f set tiles_delivered = tiles_delivered - n.tiles
    from (select frame, count(*)::int as tiles from unnest(${tiles as number[]}::int[]) as frame group by frame) n
    where f.job_id = ${jobId} and f.frame = n.frame`.execute(tx);
  const frames = [...new Set(tiles)];
  const { rows: batches } = await sql<{ id: BatchId }>`
    select distinct batch_id as id from tasks
    where job_id = ${jobId} and kind = 'finish' and state = 'delivered'
      and frame = any(${frames}::int[])`.execute(tx);
  const again = [...frames];
  for (const { id } of batches) again.push(...(await withdrawBatch(context, tx, jobId, id, now)));
  // Not begun, or under way: whoever is at it finds that the lease is over.
  await sql`
    update tasks set state = 'waiting', published = false, lease_until = null, progress = 0
    where job_id = ${jobId} and kind = 'finish' and state in ('queued', 'leased')
      and frame = any(${frames}::int[])`.execute(tx);
  await queueFinishes(tx, jobId, [...new Set(again)]);
}

/** Returns the frames that it had finished. */
async function withdrawBatch(
  context: CoordinatorContext,
  tx: FarmQuery,
  jobId: JobId,
  batchId: BatchId,
  now: Date,
): Promise<number[]> {
  await withdrawFrames(tx, batchId);
  const { rows } = await sql<Pick<TaskRow, 'id' | 'kind' | 'frame' | 'tile' | 'node_id'>>`
    update tasks t set state = case when j.state = 'active' then 'waiting' else 'dropped' end, published = false,
                       receipt = null, leaf = null, batch_id = null, batch_index = null, progress = 0
    from jobs j where j.id = t.job_id and t.batch_id = ${batchId}
    returning t.id, t.kind, t.frame, t.tile, t.node_id`.execute(tx);
  // Without receipts it is nothing any more; settled, so that a new one can be opened in its place.
  await tx
    .updateTable('batches')
    .set({ state: 'settled', receipts: 0, amount: '0', root: null, signature: null })
    .where('id', '=', batchId)
    .execute();
  for (const { id: taskId, kind, frame, tile, node_id: nodeId } of rows) {
    if (nodeId === null) continue;
    const reason = 'it was finished from a tile that is rendered again';
    await context.events.add(
      tx,
      jobId,
      { type: 'task.requeued', taskId, kind, frame, tile, nodeId, reason },
      now,
    );
  }
  return rows.map((row) => row.frame);
}
