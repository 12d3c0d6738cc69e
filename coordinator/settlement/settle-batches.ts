/** Takes every batch further, step by step, until its money has moved. Steps of one kind share a transaction. */

import type { ChainWrite, SignedCommit } from '../../platform/chain/chain.ts';
import { MAX_COMMITS_PER_TX } from '../../platform/chain/chain.ts';
import { batchKey, jobKey } from '../../platform/chain/keys.ts';
import { assertNever, isFarmError } from '../../protocol/errors.ts';
import type { Bytes32 } from '../../protocol/ids.ts';
import { waitsForAdmission } from '../admission/admissions.ts';
import { waitsForTiles } from '../assembly/early-finish.ts';
import type { CoordinatorContext } from '../context.ts';
import { applyOutcome, type BatchRow } from './apply-outcome.ts';
import { openEscrow } from './job-escrow.ts';
import { type BatchStep, nextStep } from './next-step.ts';

/** Batches looked at in one round; far more than a farm of one chain has unsettled at a time. */
const MAX_BATCHES = 2_000;

/** The contract's own (RenderEscrow.VERDICT_WINDOW), and a minute more for clocks that differ. */
const VERDICT_WINDOW_S = 7 * 24 * 3_600 + 60;

/**
 * One round over all unsettled batches, oldest first. Returns whether anything moved, in which case another round may
 * find more to do.
 */
export async function settleBatches(context: CoordinatorContext, signal: AbortSignal): Promise<boolean> {
  const batches = await context.db
    .selectFrom('batches')
    .selectAll()
    .where('state', 'in', ['closed', 'committed', 'drawn', 'judged'])
    .where((is) => is.not(waitsForTiles))
    .where((is) => is.not(waitsForAdmission))
    .orderBy('seq')
    .limit(MAX_BATCHES)
    .execute();
  const steps = new Map<BatchStep, BatchRow[]>();
  const seeds = new Map<BatchRow['id'], Bytes32 | null>();
  let moved = false;
  for (const batch of batches) {
    const onChain = await context.chain.batch(batchKey(batch.id), signal);
    const overdue = context.clock.now() / 1_000 > onChain.committedAt + VERDICT_WINDOW_S;
    if (overdue && (onChain.state === 'committed' || onChain.state === 'drawn')) {
      await apart(context, batch, () => context.chain.expire(batchKey(batch.id), signal), signal);
      moved = true;
      continue;
    }
    const step = nextStep(batch, onChain);
    if (step !== null) steps.set(step, [...(steps.get(step) ?? []), batch]);
    seeds.set(batch.id, onChain.seed);
  }
  for (const [step, rows] of steps) {
    moved = (await take(context, step, rows, seeds, signal)) || moved;
  }
  return moved;
}

async function take(
  context: CoordinatorContext,
  step: BatchStep,
  batches: BatchRow[],
  seeds: ReadonlyMap<BatchRow['id'], Bytes32 | null>,
  signal: AbortSignal,
): Promise<boolean> {
  switch (step) {
    case 'commit':
      await commit(context, batches, signal);
      return true;
    case 'await-secret':
      return await eachMoved(batches, (batch) => noteCommitted(context, batch));
    case 'await-verdict':
      return await eachMoved(batches, (batch) => noteDrawn(context, batch, seeds.get(batch.id) ?? null));
    case 'attest':
      return await eachMoved(batches, (batch) =>
        apart(context, batch, () => attest(context, batch, signal), signal),
      );
    case 'settle': {
      const write = await settle(context, batches, signal);
      if (write === null) return false;
      // Before the tasks move on: a chain that forgets the payment must find the batch unsettled here, too.
      await context.chain.waitUntilDurable(write.blockNumber, signal);
      return true;
    }
    case 'apply':
      // Settled on chain, but perhaps in a round that ended before it was saved.
      await context.chain.waitUntilDurable(await context.chain.blockNumber(signal), signal);
      for (const batch of batches) {
        const onChain = await context.chain.batch(batchKey(batch.id), signal);
        await apart(
          context,
          batch,
          () => applyOutcome(context, batch, onChain.outcome ?? 'inconclusive'),
          signal,
        );
      }
      return true;
    case 'apply-expired':
      for (const batch of batches) await applyOutcome(context, batch, 'inconclusive', 'verifier');
      return true;
    default:
      return assertNever(step);
  }
}

/** One batch's trouble must not stop the others. Returns whether the work was done. */
async function apart(
  context: CoordinatorContext,
  batch: BatchRow,
  work: () => Promise<unknown>,
  signal: AbortSignal,
): Promise<boolean> {
  try {
    await work();
    return true;
  } catch (error) {
    if (signal.aborted || isFarmError(error, 'CHAIN_UNAVAILABLE')) throw error;
    context.log.error({ err: error, batchId: batch.id }, 'a batch could not be moved on; trying again');
    return false;
  }
}

/** All in one transaction, or, where one of them is refused, each by itself. Null when none was settled. */
async function settle(
  context: CoordinatorContext,
  batches: BatchRow[],
  signal: AbortSignal,
): Promise<ChainWrite | null> {
  const keys = batches.map((batch) => batchKey(batch.id));
  try {
    return await context.chain.settleMany(keys, signal);
  } catch (error) {
    if (!isFarmError(error, 'CHAIN_REVERTED') || keys.length === 1) throw error;
    let last: ChainWrite | null = null;
    for (const batch of batches) {
      await apart(
        context,
        batch,
        async () => {
          last = await context.chain.settleMany([batchKey(batch.id)], signal);
        },
        signal,
      );
    }
    return last;
  }
}

async function eachMoved(batches: BatchRow[], note: (batch: BatchRow) => Promise<boolean>): Promise<boolean> {
  let moved = false;
  for (const batch of batches) moved = (await note(batch)) || moved;
  return moved;
}

async function commit(context: CoordinatorContext, batches: BatchRow[], signal: AbortSignal): Promise<void> {
  for (const jobId of new Set(batches.map((batch) => batch.job_id))) {
    if ((await context.chain.job(jobKey(jobId), signal)).state !== 'none') continue;
    // The embedded chain was killed before it wrote the job down: the same job is opened again under the same key.
    const job = await context.db
      .selectFrom('jobs')
      .selectAll()
      .where('id', '=', jobId)
      .executeTakeFirstOrThrow();
    await openEscrow(context, job, signal);
  }
  try {
    for (let start = 0; start < batches.length; start += MAX_COMMITS_PER_TX) {
      await context.chain.commitMany(
        batches.slice(start, start + MAX_COMMITS_PER_TX).map(signedCommit),
        signal,
      );
    }
  } catch (error) {
    if (!isFarmError(error, 'CHAIN_REVERTED')) throw error;
    // One of them is refused and took the others with it: one by one shows which.
    for (const batch of batches) await commitOne(context, batch, signal);
  }
}

async function commitOne(context: CoordinatorContext, batch: BatchRow, signal: AbortSignal): Promise<void> {
  try {
    await context.chain.commitMany([signedCommit(batch)], signal);
  } catch (error) {
    if (!isFarmError(error, 'CHAIN_REVERTED')) throw error;
    context.log.error(
      { err: error, batchId: batch.id },
      'the escrow refused a batch; its tasks are rendered again',
    );
    await applyOutcome(context, batch, 'inconclusive');
  }
}

function signedCommit(batch: BatchRow): SignedCommit {
  const { root, signature } = batch;
  if (root === null || signature === null)
    throw new Error(`batch ${batch.id} was closed without a signature`);
  const commit = {
    jobKey: jobKey(batch.job_id),
    batchKey: batchKey(batch.id),
    node: batch.node_address,
    root,
    count: batch.receipts,
    amount: BigInt(batch.amount),
  };
  return { commit, signature };
}

async function noteCommitted(context: CoordinatorContext, batch: BatchRow): Promise<boolean> {
  if (batch.state === 'committed') return false;
  const { id: batchId, node_id: nodeId, receipts } = batch;
  await context.db
    .updateTable('batches')
    .set({ state: 'committed', seed: null })
    .where('id', '=', batchId)
    .execute();
  const now = new Date(context.clock.now());
  await context.events.add(
    context.db,
    batch.job_id,
    { type: 'batch.committed', batchId, nodeId, receipts },
    now,
  );
  return true;
}

async function noteDrawn(
  context: CoordinatorContext,
  batch: BatchRow,
  seed: Bytes32 | null,
): Promise<boolean> {
  if (batch.state === 'drawn' && batch.seed === seed) return false;
  await context.db
    .updateTable('batches')
    .set({
      state: 'drawn',
      seed,
      drawn_at: new Date(context.clock.now()),
      outcome: null,
      evidence: null,
      verdict_signature: null,
      crop_digests: null,
    })
    .where('id', '=', batch.id)
    .execute();
  return true;
}

async function attest(context: CoordinatorContext, batch: BatchRow, signal: AbortSignal): Promise<void> {
  const { outcome, evidence, verdict_signature: signature } = batch;
  if (outcome === null || evidence === null || signature === null) {
    throw new Error(`batch ${batch.id} is judged without a verdict`);
  }
  const verdict = { batchKey: batchKey(batch.id), outcome, evidence: `0x${evidence}` as Bytes32 };
  await context.chain.attest(verdict, signature, signal);
}
