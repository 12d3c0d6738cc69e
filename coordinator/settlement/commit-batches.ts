/** Closed batches, onto the chain: root and price under the node's signature, many in one transaction. */
import { MAX_COMMITS_PER_TX, type SignedCommit } from '../../platform/chain/chain.ts';
import { jobKey } from '../../platform/chain/keys.ts';
import { isFarmError } from '../../protocol/errors.ts';
import type { JobId } from '../../protocol/ids.ts';
import type { CoordinatorContext } from '../context.ts';
import { endJob } from '../scheduling/end-job.ts';
import { relayEnrolment } from '../scheduling/enrolment.ts';
import { applyOutcome, type BatchRow, UNCLEAR, UNJUDGED } from './apply-outcome.ts';
import { openEscrow } from './job-escrow.ts';
import { chainKey } from './lanes.ts';

type SignedBatch = BatchRow & {
  root: NonNullable<BatchRow['root']>;
  signature: NonNullable<BatchRow['signature']>;
};

export async function commitBatches(
  context: CoordinatorContext,
  batches: readonly BatchRow[],
  signal: AbortSignal,
): Promise<void> {
  const signed: SignedBatch[] = [];
  for (const batch of batches) {
    const { root, signature } = batch;
    if (root !== null && signature !== null) signed.push({ ...batch, root, signature });
    // Signed for a contract of before: nobody's fault, and nobody can pay it.
    else await applyOutcome(context, batch, UNJUDGED);
  }
  const unpaid = new Set<JobId>();
  const waiting = new Set<JobId>();
  for (const jobId of new Set(signed.map((batch) => batch.job_id))) {
    if ((await context.chain.job(jobKey(jobId), signal)).state !== 'none') continue;
    // The embedded chain was killed before it wrote the job down: the same job is opened again under the same key.
    const job = await context.db
      .selectFrom('jobs')
      .selectAll()
      .where('id', '=', jobId)
      .executeTakeFirstOrThrow();
    try {
      await openEscrow(context, job, signal);
    } catch (error) {
      if (isFarmError(error, 'ACCOUNT_KEY_LOCKED')) {
        context.log.error({ err: error, jobId }, 'a job cannot be opened again; its batches wait');
        waiting.add(jobId);
        continue;
      }
      if (job.wallet_terms === null || !isFarmError(error, 'CHAIN_REVERTED')) throw error;
      // What a wallet signed is good once, and the farm cannot sign for it again: no others are to wait for this.
      const reason = `the chain lost the job's money, and the escrow does not take it again: ${error.message}`;
      await context.db.transaction().execute((tx) => endJob(context, tx, jobId, 'failed', reason));
      unpaid.add(jobId);
    }
  }
  const paid = signed.filter(({ job_id: id }) => !unpaid.has(id) && !waiting.has(id));
  for (const batch of signed) if (unpaid.has(batch.job_id)) await applyOutcome(context, batch, UNJUDGED);
  for (let start = 0; start < paid.length; start += MAX_COMMITS_PER_TX) {
    const together = paid.slice(start, start + MAX_COMMITS_PER_TX);
    try {
      await context.chain.commitMany(together.map(signedCommit), signal);
    } catch (error) {
      if (!isFarmError(error, 'CHAIN_REVERTED')) throw error;
      // One of them is refused and took the others with it: one by one shows which.
      for (const batch of together) await commitOne(context, batch, signal);
    }
  }
}

async function commitOne(
  context: CoordinatorContext,
  batch: SignedBatch,
  signal: AbortSignal,
): Promise<void> {
  try {
    await context.chain.commitMany([signedCommit(batch)], signal);
  } catch (error) {
    if (!isFarmError(error, 'CHAIN_REVERTED')) throw error;
    // A transaction whose answer was lost has landed meanwhile: it is that one which this was refused for.
    if ((await context.chain.batch(chainKey(batch), signal)).state !== 'none') return;
    // The chain was killed before it wrote the registration down: what was signed for it is still here.
    if (
      error.details?.['error'] === 'NodeNotRegistered' &&
      (await relayEnrolment(context, batch.node_id, signal))
    )
      return;
    context.log.error(
      { err: error, batchId: batch.id },
      'the escrow refused a batch; its tasks are rendered again',
    );
    await applyOutcome(context, batch, UNCLEAR);
  }
}

function signedCommit(batch: SignedBatch): SignedCommit {
  const { root, signature, receipts: count } = batch;
  const commit = {
    jobKey: jobKey(batch.job_id),
    batchKey: chainKey(batch),
    ...{ root, count, amount: BigInt(batch.amount) },
  };
  return { commit, signature };
}
