/** Verified tiles are counted; a verified finish, or a whole frame, makes a frame done; the last one ends the job. */

import type { Selectable } from 'kysely';
import { sql } from 'kysely';
import type { CoordinatorContext } from '../context.ts';
import type { FarmQuery, FarmTables } from '../database/schema.ts';
import { endJob } from '../scheduling/end-job.ts';
import { receiptOf } from '../settlement/receipts.ts';
import { queueParked } from './early-finish.ts';

type BatchRow = Selectable<FarmTables['batches']>;

/** Moves on the frames that the tasks of a passed batch belong to. */
export async function advanceFrames(
  context: CoordinatorContext,
  tx: FarmQuery,
  batch: BatchRow,
): Promise<void> {
  if (batch.kind === 'render') await countTiles(tx, batch);
  else await deliverFrames(context, tx, batch);
}

async function countTiles(tx: FarmQuery, batch: BatchRow): Promise<void> {
  await sql`
    update frames f set tiles_verified = tiles_verified + n.tiles
    from (select frame, count(*)::int as tiles from tasks where batch_id = ${batch.id} group by frame) n
    where f.job_id = ${batch.job_id} and f.frame = n.frame`.execute(tx);
  await queueParked(tx, batch.job_id);
}

async function deliverFrames(context: CoordinatorContext, tx: FarmQuery, batch: BatchRow): Promise<void> {
  const now = new Date(context.clock.now());
  const job = await tx
    .selectFrom('jobs')
    .select('spec')
    .where('id', '=', batch.job_id)
    .executeTakeFirstOrThrow();
  const exr = job.spec.exr === true;
  let done = 0n;
  const finished = await tx.selectFrom('tasks').selectAll().where('batch_id', '=', batch.id).execute();
  for (const task of finished) {
    const receipt = receiptOf(task);
    const { numUpdatedRows } = await tx
      .updateTable('frames')
      .set({
        state: 'done',
        exr: exr ? receipt.exrDigest : null,
        picture: receipt.pictureDigest,
        extra_files: receipt.extraFilesDigest ?? null,
        tiles_verified: sql`tiles_total`,
      })
      .where('job_id', '=', batch.job_id)
      .where('frame', '=', task.frame)
      .where('state', '<>', 'done')
      .executeTakeFirst();
    done += numUpdatedRows;
    await context.events.add(tx, batch.job_id, { type: 'frame.done', frame: task.frame }, now);
  }
  const { rows } = await sql<{ complete: boolean }>`
    update jobs set frames_done = frames_done + ${Number(done)} where id = ${batch.job_id}
    returning frames_done >= frames_total as complete`.execute(tx);
  if (rows[0]?.complete === true) await endJob(context, tx, batch.job_id, 'completed', null);
}
