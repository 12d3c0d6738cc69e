/** Jobs: taken in one transaction, so that there is a whole job or none. */

import { newIdBody } from '../../platform/new-id.ts';
import { FarmError } from '../../protocol/errors.ts';
import type { Digest, JobId, TaskId } from '../../protocol/ids.ts';
import type { JobRequest } from '../../protocol/job.ts';
import { admissionAtStart } from '../admission/admissions.ts';
import type { CoordinatorContext } from '../context.ts';
import { warningsFor } from './judge-inspection.ts';
import { type JobPlan, planJob } from './plan-job.ts';
import type { Scenes } from './scenes.ts';

/** After this long the escrow lets anybody close the job and send the rest of the money home. */
const JOB_LIFETIME_MS = 14 * 24 * 3_600_000;

/** Rows per insert: Postgres takes 65,535 parameters a statement and a task has 14. */
const INSERT_CHUNK = 2_000;

/** Plans the job and writes it down; the escrow is opened afterwards (settlement/job-escrow.ts). */
export async function submitJob(
  context: CoordinatorContext,
  scenes: Scenes,
  request: JobRequest,
  signal: AbortSignal,
): Promise<JobId> {
  const { plan, warnings } = await planRequest(scenes, request, signal);
  const admission = await admissionAtStart(context, plan.spec);
  const now = new Date(context.clock.now());
  const id = `job_${newIdBody(now.getTime())}` as JobId;
  await context.db.transaction().execute(async (tx) => {
    await tx
      .insertInto('jobs')
      .values({
        id,
        scene: plan.spec.scene,
        spec: JSON.stringify(plan.spec),
        warnings: JSON.stringify(warnings),
        state: 'opening',
        admission,
        quote: plan.quote.toString(),
        max_task_price: plan.maxTaskPrice.toString(),
        deadline_at: new Date(now.getTime() + JOB_LIFETIME_MS),
        created_at: now,
      })
      .execute();
    for (const rows of chunks(frameRows(id, plan))) await tx.insertInto('frames').values(rows).execute();
    for (const rows of chunks(taskRows(id, plan, now))) await tx.insertInto('tasks').values(rows).execute();
    await context.events.add(
      tx,
      id,
      { type: 'job.submitted', tasks: plan.tasks.length, quote: plan.quote.toString() },
      now,
    );
  });
  return id;
}

/** Every choice of a job, with nothing written. Throws what stands in the way of it. */
export async function planRequest(
  scenes: Scenes,
  request: JobRequest,
  signal: AbortSignal,
): Promise<{ plan: JobPlan; warnings: string[] }> {
  const scene = await scenes.find(request.scene as Digest);
  if (scene === null) {
    throw new FarmError('NOT_FOUND', `no scene ${request.scene}; submit the scene first`, {
      kept: 'nothing was submitted',
    });
  }
  const wanted = { engine: request.engine ?? 'auto', device: request.device ?? 'any' };
  const chosen = await scenes.forJob(request.scene as Digest, scene, wanted, signal);
  const { engine, inspection } = chosen;
  const plan = planJob(request, inspection, engine);
  return { plan, warnings: [...chosen.warnings, ...warningsFor(inspection)] };
}

function frameRows(job: JobId, plan: JobPlan) {
  return plan.spec.frames.map((frame, position) => ({
    job_id: job,
    frame,
    position,
    tiles_total: plan.tilesPerFrame,
  }));
}

function taskRows(job: JobId, plan: JobPlan, now: Date) {
  return plan.tasks.map((task) => ({
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
  }));
}

function chunks<T>(rows: T[]): T[][] {
  const parts: T[][] = [];
  for (let start = 0; start < rows.length; start += INSERT_CHUNK)
    parts.push(rows.slice(start, start + INSERT_CHUNK));
  return parts;
}
