/** From a drawn seed to what the verifier renders. What the node delivered is left out: the verifier works blind. */

import { drawChallenge } from '../../proof/draw.ts';
import { RECEIPTS_PER_CHALLENGE } from '../../proof/policy.ts';
import { inLeafOrder, receiptLeaf } from '../../proof/receipts.ts';
import type { Receipt } from '../../protocol/receipt.ts';
import type { Rect } from '../../protocol/rect.ts';
import type { Challenge, ChallengeItem } from '../../protocol/verdict.ts';
import type { CoordinatorContext } from '../context.ts';
import { finishInputs } from '../scheduling/lease-run.ts';
import type { BatchRow } from '../settlement/apply-outcome.ts';
import { chainKey } from '../settlement/lanes.ts';
import { receiptOf } from '../settlement/receipts.ts';

/** The receipts of a batch in the order of their leaves: the order that drawing counts in. */
export async function batchReceipts(
  context: CoordinatorContext,
  batchId: BatchRow['id'],
): Promise<Receipt[]> {
  const rows = await context.db
    .selectFrom('tasks')
    .select(['id', 'receipt', 'leaf'])
    .where('batch_id', '=', batchId)
    .execute();
  const entries = rows.map((row) => {
    const receipt = receiptOf(row);
    return { receipt, leaf: row.leaf ?? receiptLeaf(receipt) };
  });
  return inLeafOrder(entries).map((entry) => entry.receipt);
}

/** What the batch's seed draws from it. */
export async function drawnReceipts(
  context: CoordinatorContext,
  batch: BatchRow,
): Promise<{ index: number; crop: Rect; receipt: Receipt }[]> {
  if (batch.seed === null) throw new Error(`batch ${batch.id} has no seed yet`);
  const receipts = await batchReceipts(context, batch.id);
  const drawn = drawChallenge({
    seed: batch.seed,
    count: receipts.length,
    receipts,
    challengeCount: RECEIPTS_PER_CHALLENGE,
  });
  return drawn.map(({ index, crop }) => {
    const receipt = receipts[index];
    if (receipt === undefined) throw new Error(`the draw named receipt ${index} of ${receipts.length}`);
    return { index, crop, receipt };
  });
}

export async function buildChallenge(context: CoordinatorContext, batch: BatchRow): Promise<Challenge> {
  if (batch.seed === null) throw new Error(`batch ${batch.id} has no seed yet`);
  const job = await context.db
    .selectFrom('jobs')
    .innerJoin('scenes', 'scenes.digest', 'jobs.scene')
    .select(['jobs.spec', 'scenes.manifest', 'scenes.digest'])
    .where('jobs.id', '=', batch.job_id)
    .executeTakeFirstOrThrow();
  const drawn = await drawnReceipts(context, batch);
  const items: ChallengeItem[] = [];
  for (const { index, crop, receipt } of drawn) {
    const { kind, frame, rect, samples } = receipt;
    const inputs = kind === 'finish' ? await finishInputs(context.db, batch.job_id, frame) : [];
    const { picture, output, precision } = job.spec;
    items.push({ index, kind, frame, rect, crop, samples, picture, inputs, output, precision });
  }
  return {
    batchId: batch.id,
    batchKey: chainKey(batch),
    jobId: batch.job_id,
    scene: job.digest,
    manifest: job.manifest,
    engine: job.spec.engine,
    deviceClass: drawn[0]?.receipt.deviceClass ?? '',
    seed: batch.seed,
    exr: job.spec.exr === true,
    items,
  };
}
