/** Rows as the API shows them. */
import type { Selectable } from 'kysely';
import type { BlockView } from '../../protocol/blocks.ts';
import { FarmError } from '../../protocol/errors.ts';
import type { FrameDetail } from '../../protocol/http.ts';
import { addressSchema, type BatchId, type JobId } from '../../protocol/ids.ts';
import type { FrameView, JobView, NodeView } from '../../protocol/job.ts';
import type { BatchView, Evidence, VerdictView } from '../../protocol/verdict.ts';
import { readExtraFiles } from '../assembly/extra-files.ts';
import type { CoordinatorContext } from '../context.ts';
import type { FarmTables } from '../database/schema.ts';
import { blocksOf } from '../scheduling/blocks.ts';
import { onlineSince } from '../scheduling/nodes.ts';
import { appealsOn } from '../settlement/appeals.ts';
import type { BatchRow } from '../settlement/apply-outcome.ts';
import type { JobRow } from '../settlement/job-escrow.ts';
import { framesOfRuns, placeOf, wholeSpec } from '../splitting/frame-runs.ts';
import { nodeState } from '../states/node.ts';
import { readEvidence } from '../verification/read-evidence.ts';
import { type Word, wordsOn } from '../verification/words.ts';
import { openTasks } from './task-counts.ts';

export async function jobView(context: CoordinatorContext, id: JobId): Promise<JobView> {
  const row = await context.db.selectFrom('jobs').selectAll().where('id', '=', id).executeTakeFirst();
  if (row === undefined) throw new FarmError('NOT_FOUND', `there is no job ${id}`);
  return await viewOf(context, row, await blocksOf(context.db, [id]));
}

/** The newest jobs; the farm's own ones, which try verifiers, only where they are asked for. */
export async function jobViews(
  context: CoordinatorContext,
  { canaries }: { canaries: boolean } = { canaries: false },
): Promise<JobView[]> {
  const rows = await context.db
    .selectFrom('jobs')
    .selectAll()
    .where('canary', 'in', canaries ? [true, false] : [false])
    .orderBy('seq', 'desc')
    .limit(100)
    .execute();
  const views: JobView[] = [];
  const blocks = await blocksOf(
    context.db,
    rows.map((row) => row.id),
  );
  for (const row of rows) views.push(await viewOf(context, row, blocks));
  return views;
}

async function viewOf(
  context: CoordinatorContext,
  row: JobRow,
  blocks: ReadonlyMap<JobId, BlockView[]>,
): Promise<JobView> {
  const open = await openTasks(context.db, row);
  // By price, which is proportional to the pixels and samples of a task, so it is the work's own measure.
  const done = BigInt(row.spent) + open.done;
  return {
    id: row.id,
    name: row.spec.name,
    state: row.state,
    reason: row.reason,
    spec: wholeSpec(row),
    warnings: row.warnings,
    tasks: {
      total: row.tasks_total,
      queued: open.queued + open.waiting,
      leased: open.leased,
      delivered: open.delivered,
      verified: row.tasks_verified,
    },
    framesDone: row.frames_done,
    progress: row.state === 'completed' ? 1 : Number(done) / Number(row.quote),
    escrow: row.escrow,
    admission: row.admission,
    quote: BigInt(row.quote),
    spent: BigInt(row.spent),
    refunded: BigInt(row.refunded),
    createdAtMs: row.created_at.getTime(),
    finishedAtMs: row.finished_at?.getTime() ?? null,
    account: row.account,
    priority: row.priority,
    blocks: blocks.get(row.id) ?? [],
  };
}

/** Of the whole list, begun or not. */
export async function frameViews(context: CoordinatorContext, id: JobId): Promise<FrameView[]> {
  const rows = await context.db
    .selectFrom('frames')
    .selectAll()
    .where('job_id', '=', id)
    .orderBy('position')
    .execute();
  const job = await lazyJob(context, id);
  if (job === undefined || job.frame_runs === null || job.frames_begun >= job.frames_total)
    return rows.map(frameViewOf);
  const begun = new Map(rows.map((row) => [row.frame, frameViewOf(row)]));
  return framesOfRuns(job.frame_runs).map((frame) => begun.get(frame) ?? notBegun(job, frame));
}

type LazyJob = Pick<JobRow, 'spec' | 'frame_runs' | 'frames_begun' | 'frames_total'>;

async function lazyJob({ db }: CoordinatorContext, id: JobId): Promise<LazyJob | undefined> {
  return await db
    .selectFrom('jobs')
    .select(['spec', 'frame_runs', 'frames_begun', 'frames_total'])
    .where('id', '=', id)
    .executeTakeFirst();
}

/** A frame whose tasks are not written down yet. */
function notBegun({ spec }: LazyJob, frame: number): FrameView {
  const tilesTotal = spec.tiles.columns * spec.tiles.rows;
  return {
    frame,
    state: 'pending',
    tilesTotal,
    tilesVerified: 0,
    picture: null,
    exr: null,
    extraFiles: null,
  };
}

/** One frame with its files of File Output nodes by name. */
export async function frameDetail(
  context: CoordinatorContext,
  id: JobId,
  frame: number,
): Promise<FrameDetail> {
  const row = await context.db
    .selectFrom('frames')
    .selectAll()
    .where('job_id', '=', id)
    .where('frame', '=', frame)
    .executeTakeFirst();
  if (row === undefined) {
    const job = await lazyJob(context, id);
    if (job !== undefined && placeOf(job.frame_runs ?? [], frame) !== null)
      return { ...notBegun(job, frame), files: [] };
    throw new FarmError('NOT_FOUND', `there is no frame ${frame} of a job ${id}`);
  }
  const files = row.extra_files === null ? [] : await readExtraFiles(context.blobs, row.extra_files);
  return { ...frameViewOf(row), files };
}

function frameViewOf(row: Selectable<FarmTables['frames']>): FrameView {
  return {
    frame: row.frame,
    state: row.state,
    tilesTotal: row.tiles_total,
    tilesVerified: row.tiles_verified,
    picture: row.picture,
    exr: row.exr,
    extraFiles: row.extra_files,
  };
}

export async function batchViews(context: CoordinatorContext, id: JobId): Promise<BatchView[]> {
  const rows = await context.db
    .selectFrom('batches')
    .selectAll()
    .where('job_id', '=', id)
    .where('receipts', '>', 0)
    .orderBy('seq')
    .execute();
  return await viewsOf(context, rows);
}

export async function batchView(context: CoordinatorContext, id: BatchId): Promise<BatchView> {
  const rows = await context.db.selectFrom('batches').selectAll().where('id', '=', id).execute();
  const [view] = await viewsOf(context, rows);
  if (view === undefined) throw new FarmError('NOT_FOUND', `there is no batch ${id}`);
  return view;
}

async function viewsOf(context: CoordinatorContext, rows: readonly BatchRow[]): Promise<BatchView[]> {
  const words = await wordsOn(
    context.db,
    rows.map((row) => row.id),
  );
  const appeals = await appealsOn(
    context.db,
    rows.map((row) => row.id),
  );
  const views: BatchView[] = [];
  for (const row of rows) {
    const ofDraw = (words.get(row.id) ?? []).filter((word) => word.seed === row.seed);
    views.push({
      id: row.id,
      jobId: row.job_id,
      nodeId: row.node_id,
      kind: row.kind,
      state: row.state,
      receipts: row.receipts,
      amount: row.amount,
      root: row.root,
      seed: row.seed,
      outcome: row.outcome,
      evidence: await evidenceOf(context, row),
      ...{ batchKey: row.chain_key, agreed: row.agreed, slashed: BigInt(row.slashed).toString() },
      verdicts: ofDraw.map(verdictView),
      appeal: appeals.find((one) => one.batch_id === row.id && one.seed === row.seed)?.view ?? null,
    });
  }
  return views;
}

function verdictView({ verifier, verifier_id, role, outcome, evidence, reason }: Word): VerdictView {
  // Of before there were several verifiers, whose addresses were not written down.
  const address = addressSchema.safeParse(verifier);
  return { verifier: verifier_id, address: address.data ?? null, role, outcome, evidence, reason };
}

async function evidenceOf(context: CoordinatorContext, row: BatchRow): Promise<Evidence | null> {
  if (row.evidence === null) return null;
  return await readEvidence(context.blobs, row.evidence).catch(() => null);
}

export async function nodeViews(context: CoordinatorContext): Promise<NodeView[]> {
  const now = context.clock.now();
  const since = onlineSince(now, context.config.leaseMs);
  const rows = await context.db
    .selectFrom('nodes')
    .selectAll()
    .where('canary', '=', false)
    .orderBy('id')
    .execute();
  const views: NodeView[] = [];
  for (const row of rows) {
    views.push({
      id: row.id,
      address: row.address,
      engine: row.engine,
      deviceClass: [...new Set([row.device_class, ...row.gpus.map((one) => one.deviceClass)])].join(', '),
      state: nodeState(row, now, since),
      reason: row.reason,
      lastSeenAtMs: row.last_seen_at.getTime(),
      tasksVerified: row.tasks_verified,
      tasksForfeited: row.tasks_forfeited,
      earned: await context.chain.credit(row.operator ?? row.address),
      operator: row.operator,
      stake: row.operator === null ? 0n : (await context.chain.operator(row.operator)).stake,
      slashed: BigInt(row.slashed),
      pools: row.pools,
    });
  }
  return views;
}
