/** A claimed task as the node needs it: everything to render, and the batch its receipt will join. */
import type { LeaseGrant } from '../../protocol/messages.ts';
import type { Rect } from '../../protocol/rect.ts';
import type { FinishInput } from '../../protocol/verdict.ts';
import type { FarmDb, FarmQuery } from '../database/schema.ts';
import { batchState, openBatch } from '../settlement/open-batch.ts';
import { receiptOf } from '../settlement/receipts.ts';
import type { TaskRow } from './claim-task.ts';

/** A task that takes longer is given up; heartbeats alone must not hold a task for ever. */
export const TASK_TIMEOUT_MS = 3_600_000;

export async function grantOf(db: FarmDb, task: TaskRow, address: string, now: Date): Promise<LeaseGrant> {
  const job = await db
    .selectFrom('jobs')
    .innerJoin('scenes', 'scenes.digest', 'jobs.scene')
    .select(['jobs.spec', 'scenes.manifest', 'scenes.digest'])
    .where('jobs.id', '=', task.job_id)
    .executeTakeFirstOrThrow();
  if (task.node_id === null) throw new Error(`task ${task.id} was claimed by nobody`);
  const batch = await openBatch(
    db,
    { jobId: task.job_id, nodeId: task.node_id, address, kind: task.kind },
    now,
  );
  return {
    taskId: task.id,
    token: task.token,
    jobId: task.job_id,
    kind: task.kind,
    scene: job.digest,
    manifest: job.manifest,
    engine: job.spec.engine,
    frame: task.frame,
    rect: rectOf(task),
    samples: task.samples,
    price: BigInt(task.price),
    picture: job.spec.picture,
    output: job.spec.output,
    precision: job.spec.precision,
    inputs: task.kind === 'finish' ? await finishInputs(db, task.job_id, task.frame) : [],
    exr: job.spec.exr === true,
    timeoutMs: TASK_TIMEOUT_MS,
    batch: await batchState(db, batch),
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
