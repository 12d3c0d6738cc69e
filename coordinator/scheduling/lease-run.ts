/** Claimed tasks as the nodes need them: everything to render, and the batch their receipts will join. */
import { sql } from 'kysely';
import type { Digest, JobId, NodeId } from '../../protocol/ids.ts';
import type { JobSpec, SceneManifest } from '../../protocol/job.ts';
import type { LeaseRun } from '../../protocol/messages.ts';
import type { Rect } from '../../protocol/rect.ts';
import type { FinishInput } from '../../protocol/verdict.ts';
import type { FarmDb, FarmQuery } from '../database/schema.ts';
import { batchStates, openBatches } from '../settlement/open-batch.ts';
import { receiptOf } from '../settlement/receipts.ts';
import type { TaskRow } from './claim-run.ts';

/** A task that takes longer is given up; heartbeats alone must not hold a task for ever. */
export const TASK_TIMEOUT_MS = 3_600_000;

/** What all tasks of a job have in common. */
type Terms = { spec: Omit<JobSpec, 'frames'>; manifest: SceneManifest; digest: Digest };

/** Jobs that are remembered; a farm has hundreds at work. */
const MAX_REMEMBERED = 1_000;

/** The terms of jobs, which never change, read once. */
export class JobTerms {
  readonly #db: FarmDb;
  readonly #known = new Map<JobId, Terms>();

  constructor(db: FarmDb) {
    this.#db = db;
  }

  /** Throws for a job that is not there. */
  async of(jobs: Iterable<JobId>): Promise<ReadonlyMap<JobId, Terms>> {
    const wanted = new Set(jobs);
    const missing = [...wanted].filter((id) => !this.#known.has(id));
    if (missing.length > 0) await this.#read(missing);
    const found = new Map<JobId, Terms>();
    for (const id of wanted) {
      const terms = this.#known.get(id);
      if (terms === undefined) throw new Error(`there is no job ${id}`);
      found.set(id, terms);
    }
    while (this.#known.size > MAX_REMEMBERED) {
      const [oldest] = this.#known.keys();
      if (oldest !== undefined) this.#known.delete(oldest);
    }
    return found;
  }

  async #read(ids: readonly JobId[]): Promise<void> {
    const { rows } = await sql<{ id: JobId } & Terms>`
      select j.id, j.spec - 'frames' as spec, s.manifest, s.digest
      from jobs j join scenes s on s.digest = j.scene
      where j.id = any(${ids as JobId[]}::text[])`.execute(this.#db);
    for (const { id, ...terms } of rows) this.#known.set(id, terms);
  }
}

/** Tasks of one job and kind that one node was given, and its address. */
export type ClaimedRun = { tasks: readonly TaskRow[]; address: string };

/** What the nodes are told, one run for each that was claimed, in their order. */
export async function runsOf(
  db: FarmDb,
  terms: JobTerms,
  claimed: readonly ClaimedRun[],
  now: Date,
): Promise<LeaseRun[]> {
  const keys = claimed.map(keyOf);
  const jobs = await terms.of(keys.map((key) => key.jobId));
  const batches = await batchStates(db, await openBatches(db, keys, now));
  const runs: LeaseRun[] = [];
  for (const [index, { tasks }] of claimed.entries()) {
    const key = keys[index];
    const job = key && jobs.get(key.jobId);
    const batch = batches[index];
    if (key === undefined || job === undefined || batch === undefined)
      throw new Error('a run was claimed without a job or a batch');
    const { spec, manifest, digest } = job;
    runs.push({
      jobId: key.jobId,
      kind: key.kind,
      scene: digest,
      manifest,
      engine: spec.engine,
      picture: spec.picture,
      output: spec.output,
      precision: spec.precision,
      exr: spec.exr === true,
      timeoutMs: TASK_TIMEOUT_MS,
      batch,
      tasks: await leasedTasks(db, key.jobId, tasks),
    });
  }
  return runs;
}

function keyOf({ tasks: [first], address }: ClaimedRun) {
  if (first?.node_id == null) throw new Error('a run was claimed by nobody');
  const nodeId: NodeId = first.node_id;
  return { jobId: first.job_id, nodeId, address, kind: first.kind };
}

async function leasedTasks(db: FarmDb, jobId: JobId, tasks: readonly TaskRow[]): Promise<LeaseRun['tasks']> {
  const leased: LeaseRun['tasks'] = [];
  for (const task of tasks) {
    leased.push({
      taskId: task.id,
      token: task.token,
      frame: task.frame,
      rect: rectOf(task),
      samples: task.samples,
      price: BigInt(task.price),
      inputs: task.kind === 'finish' ? await finishInputs(db, jobId, task.frame) : [],
    });
  }
  return leased;
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
