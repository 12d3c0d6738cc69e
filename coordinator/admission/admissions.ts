/** What is known of scenes that were rendered twice, and what it means for a job. */
import { sql } from 'kysely';
import { runtimeOf } from '../../platform/render/engines.ts';
import type { RenderRuntime } from '../../platform/render/runtime.ts';
import { FarmError } from '../../protocol/errors.ts';
import type { Admission, JobSpec } from '../../protocol/job.ts';
import type { CoordinatorContext } from '../context.ts';
import type { FarmQuery } from '../database/schema.ts';
import { endJob } from '../scheduling/end-job.ts';
import type { JobRow } from '../settlement/job-escrow.ts';
import { describeFinding, type Finding } from './judge-strips.ts';
import { framesToTry } from './plan-strips.ts';
import type { Trial } from './try-scene.ts';

/** A trial and where it is done. */
export type PlannedTrial = Trial & { runtime: RenderRuntime };

/** Whether a closed batch has to wait: nobody knows yet that it can be checked. */
export const waitsForAdmission = sql<boolean>`(batches.state = 'closed' and exists (
  select 1 from jobs j where j.id = batches.job_id and j.admission <> 'admitted'))`;

/** The engine of the job, on its device class where this machine has it: what differs at random does on every class. */
export function trialOf({ engines }: CoordinatorContext, spec: JobSpec): PlannedTrial {
  const { scene, frames, region, samples, engine, deviceClass } = spec;
  return {
    scene,
    frames: framesToTry(frames),
    region,
    samples,
    runtime: runtimeOf(engines, engine, deviceClass),
  };
}

/** What an earlier trial found; null where there was none. */
export async function findingOf(
  db: FarmQuery,
  trial: PlannedTrial,
): Promise<{ same: boolean; finding: Finding } | null> {
  const row = await db
    .selectFrom('scene_trials')
    .select(['same', 'finding'])
    .where('scene', '=', trial.scene)
    .where('engine', '=', trial.runtime.engine.id)
    .where('device_class', '=', trial.runtime.engine.deviceClass)
    .where('frames', '=', trial.frames.join())
    .executeTakeFirst();
  return row ?? null;
}

/** Written down once: the same bytes give the same answer. */
export async function keepFinding(
  { db, clock }: CoordinatorContext,
  trial: PlannedTrial,
  finding: Finding,
): Promise<void> {
  await db
    .insertInto('scene_trials')
    .values({
      scene: trial.scene,
      engine: trial.runtime.engine.id,
      device_class: trial.runtime.engine.deviceClass,
      frames: trial.frames.join(),
      same: finding.outcome === 'pass',
      finding: JSON.stringify(finding),
      tried_at: new Date(clock.now()),
    })
    .onConflict((conflict) => conflict.doNothing())
    .execute();
}

/** What a new job begins with. Throws SCENE_UNVERIFIABLE for a scene that was found out before. */
export async function admissionAtStart(context: CoordinatorContext, spec: JobSpec): Promise<Admission> {
  const trial = trialOf(context, spec);
  // Numbers in place of pictures, the same ones every time, and never for people.
  if (trial.runtime.engine.runtime === 'synthetic') return 'admitted';
  const known = await findingOf(context.db, trial);
  if (known === null) return 'pending';
  if (known.same) return 'admitted';
  throw unverifiable(known.finding, 'nothing was submitted, no money moved');
}

export function unverifiable(finding: Finding, kept: string): FarmError {
  return new FarmError('SCENE_UNVERIFIABLE', describeFinding(finding), { kept, details: { ...finding } });
}

/** The job's batches may go on chain. Does nothing a second time. */
export async function admitJob(context: CoordinatorContext, job: Pick<JobRow, 'id'>): Promise<void> {
  await context.db.transaction().execute(async (tx) => {
    const admitted = await tx
      .updateTable('jobs')
      .set({ admission: 'admitted' })
      .where('id', '=', job.id)
      .where('admission', '=', 'pending')
      .returning('id')
      .executeTakeFirst();
    if (admitted === undefined) return;
    await context.events.add(tx, job.id, { type: 'job.admitted' }, new Date(context.clock.now()));
  });
}

/**
 * The job ends, and everything that was made of it is thrown away: none of it is on chain, so what follows is that all of
 * the money goes back. Nothing is said against the nodes. In one transaction, so that it is done or not.
 */
export async function refuseJob(
  context: CoordinatorContext,
  job: Pick<JobRow, 'id'>,
  admission: Extract<Admission, 'refused' | 'untried'>,
  reason: string,
): Promise<void> {
  await context.db.transaction().execute(async (tx) => {
    const refused = await tx
      .updateTable('jobs')
      .set({ admission, reason })
      .where('id', '=', job.id)
      .where('admission', '=', 'pending')
      .returning('id')
      .executeTakeFirst();
    if (refused === undefined) return;
    // Leases first: a delivery that is under way has its task locked, and is thrown away below with the others.
    await endJob(context, tx, job.id, 'failed', reason);
    await sql`
      update tasks set state = 'dropped', receipt = null, leaf = null, batch_id = null, batch_index = null
      where job_id = ${job.id} and state = 'delivered'`.execute(tx);
    await sql`
      update batches set state = 'settled', receipts = 0, amount = 0, root = null, signature = null
      where job_id = ${job.id} and state in ('open', 'closed')`.execute(tx);
    await sql`
      update frames set state = 'pending', picture = null, exr = null, extra_files = null
      where job_id = ${job.id} and state = 'unverified'`.execute(tx);
  });
}

/** The oldest job that waits for its scene to be tried, and has something to be paid or to be rendered. */
export async function nextPending(db: FarmQuery): Promise<JobRow | undefined> {
  return await db
    .selectFrom('jobs')
    .selectAll()
    .where('admission', '=', 'pending')
    .where(
      sql<boolean>`(state in ('opening', 'active') or exists (
        select 1 from batches b where b.job_id = jobs.id and b.state <> 'settled' and b.receipts > 0))`,
    )
    .orderBy('seq')
    .executeTakeFirst();
}
