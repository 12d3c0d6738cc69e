/** Claimed tasks as the node needs them: everything to render, and the batch their receipts will join. */
import type { LeaseRun } from '../../protocol/messages.ts';
import type { Rect } from '../../protocol/rect.ts';
import type { FinishInput } from '../../protocol/verdict.ts';
import type { FarmDb, FarmQuery } from '../database/schema.ts';
import { batchState, openBatch } from '../settlement/open-batch.ts';
import { receiptOf } from '../settlement/receipts.ts';
import type { TaskRow } from './claim-run.ts';

/** A task that takes longer is given up; heartbeats alone must not hold a task for ever. */
export const TASK_TIMEOUT_MS = 3_600_000;

/** `tasks`: at least one, all of one job and kind. */
export async function runOf(
  db: FarmDb,
  tasks: readonly TaskRow[],
  address: string,
  now: Date,
): Promise<LeaseRun> {
  const [first] = tasks;
  if (first?.node_id == null) throw new Error('a run was claimed by nobody');
  const job = await db
    .selectFrom('jobs')
    .innerJoin('scenes', 'scenes.digest', 'jobs.scene')
    .select(['jobs.spec', 'scenes.manifest', 'scenes.digest'])
    .where('jobs.id', '=', first.job_id)
    .executeTakeFirstOrThrow();
  const { job_id: jobId, node_id: nodeId, kind } = first;
  const leased = [];
  for (const task of tasks) {
    leased.push({
      taskId: task.id,
      token: task.token,
      frame: task.frame,
      rect: rectOf(task),
      samples: task.samples,
      price: BigInt(task.price),
      inputs: kind === 'finish' ? await finishInputs(db, jobId, task.frame) : [],
    });
  }
  return {
    jobId,
    kind,
    scene: job.digest,
    manifest: job.manifest,
    engine: job.spec.engine,
    picture: job.spec.picture,
    output: job.spec.output,
    precision: job.spec.precision,
    exr: job.spec.exr === true,
    timeoutMs: TASK_TIMEOUT_MS,
    batch: await batchState(db, await openBatch(db, { jobId, nodeId, address, kind }, now)),
    tasks: leased,
  };
}

/** The tiles of a frame, as a finish task merges them. */
export async function finishInputs(
  db: FarmQuery,
  jobId: TaskRow['job_id'],
  frame: number,
): Promise<FinishInput[]> {
  const rows = await db
    .selectFrom('tasks')
    .selectAll()
    .where('job_id', '=', jobId)
    .where('frame', '=', frame)
    .where('kind', '=', 'render')
    .orderBy('tile')
    .execute();
  return rows.map((row) => ({ rect: rectOf(row), exr: receiptOf(row).exrDigest }));
}

export function rectOf(row: { x: number; y: number; width: number; height: number }): Rect {
  return { x: row.x, y: row.y, width: row.width, height: row.height };
}
