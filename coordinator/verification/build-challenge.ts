/** From a drawn seed to what the verifier renders. What the node delivered is left out: the verifier works blind. */

import { drawChallenge } from '../../proof/draw.ts';
import { sortByLeaf } from '../../proof/receipts.ts';
import type { Receipt } from '../../protocol/receipt.ts';
import type { Challenge, ChallengeItem } from '../../protocol/verdict.ts';
import type { CoordinatorContext } from '../context.ts';
import { finishInputs } from '../scheduling/grant.ts';
import type { BatchRow } from '../settlement/apply-outcome.ts';
import { receiptOf } from '../settlement/receipts.ts';

/**
 * Receipts drawn from each batch. No node has stake yet, so every batch is challenged (design 7.9: q = 1) and its
 * whole pay is at stake. One crop of a tile rendered with a quarter of the samples shows it three times in four (the
 * sample still: a sixth of it is an even background that looks the same at any quality), so four miss a batch that is
 * all fake once in 256, and cost 0.7 % of a batch of 64. Staking (a later issue) lets q fall.
 */
const RECEIPTS_PER_CHALLENGE = 4;

/** The receipts of a batch in the order of their leaves: the order that drawing counts in. */
export async function batchReceipts(
  context: CoordinatorContext,
  batchId: BatchRow['id'],
): Promise<Receipt[]> {
  const rows = await context.db.selectFrom('tasks').selectAll().where('batch_id', '=', batchId).execute();
  return sortByLeaf(rows.map(receiptOf)).map((entry) => entry.receipt);
}

export async function buildChallenge(context: CoordinatorContext, batch: BatchRow): Promise<Challenge> {
  if (batch.seed === null) throw new Error(`batch ${batch.id} has no seed yet`);
  const receipts = await batchReceipts(context, batch.id);
  const job = await context.db
    .selectFrom('jobs')
    .innerJoin('scenes', 'scenes.digest', 'jobs.scene')
    .select(['jobs.spec', 'scenes.manifest', 'scenes.digest'])
    .where('jobs.id', '=', batch.job_id)
    .executeTakeFirstOrThrow();
  const drawn = drawChallenge({
    seed: batch.seed,
    count: receipts.length,
    receipts,
    challengeCount: RECEIPTS_PER_CHALLENGE,
  });
  const items: ChallengeItem[] = [];
  for (const { index, crop } of drawn) {
    const receipt = receipts[index];
    if (receipt === undefined) throw new Error(`the draw named receipt ${index} of ${receipts.length}`);
    const { kind, frame, rect, samples } = receipt;
    const inputs = kind === 'finish' ? await finishInputs(context.db, batch.job_id, frame) : [];
    items.push({ index, kind, frame, rect, crop, samples, picture: job.spec.picture, inputs });
  }
  return {
    batchId: batch.id,
    jobId: batch.job_id,
    nodeId: batch.node_id,
    scene: job.digest,
    manifest: job.manifest,
    engine: job.spec.engine,
    deviceClass: receipts[0]?.deviceClass ?? '',
    seed: batch.seed,
    items,
  };
}
