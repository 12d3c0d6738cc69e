/** Jobs: taken in one transaction, so that there is a whole job or none. */

import { newIdBody } from '../../platform/new-id.ts';
import { FarmError } from '../../protocol/errors.ts';
import type { Digest, JobId } from '../../protocol/ids.ts';
import type { JobRequest } from '../../protocol/job.ts';
import { admissionAtStart } from '../admission/admissions.ts';
import type { CoordinatorContext } from '../context.ts';
import { beginFrames, FIRST_TASKS } from '../splitting/move-windows.ts';
import { warningsFor } from './judge-inspection.ts';
import { type JobPlan, planJob } from './plan-job.ts';
import type { Scenes } from './scenes.ts';

/** After this long the escrow lets anybody close the job and send the rest of the money home. */
const JOB_LIFETIME_MS = 14 * 24 * 3_600_000;

/** Plans the job and writes it down with its first tasks; the escrow is opened afterwards (settlement/job-escrow.ts). */
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
    const row = await tx
      .insertInto('jobs')
      .values({
        id,
        scene: plan.spec.scene,
        // Its frames are kept as runs: the list may be longer than all the rest.
        spec: JSON.stringify({ ...plan.spec, frames: [] }),
        frame_runs: JSON.stringify(plan.runs),
        frames_total: plan.grid.framesTotal,
        tasks_total: plan.tasksTotal,
        warnings: JSON.stringify(warnings),
        state: 'opening',
        admission,
        quote: plan.quote.toString(),
        max_task_price: plan.maxTaskPrice.toString(),
        deadline_at: new Date(now.getTime() + JOB_LIFETIME_MS),
        created_at: now,
        account: request.account,
        priority: request.priority,
        max_nodes: request.maxNodes,
        pool: request.pool,
        preview_first: request.previewFirst,
      })
      .returningAll()
      .executeTakeFirstOrThrow();
    await beginFrames(tx, row, 0, now, FIRST_TASKS);
    await context.events.add(
      tx,
      id,
      { type: 'job.submitted', tasks: plan.tasksTotal, quote: plan.quote.toString() },
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
