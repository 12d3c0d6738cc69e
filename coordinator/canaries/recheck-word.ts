/**
 * A verifier's word against what is known of a canary. Before anybody is called a liar the farm renders the drawn crops
 * itself, as a verifier does: of a cheat's tile a crop of plain background may be right, and of an honest one a place may
 * come out otherwise that nobody had looked at.
 */
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { sql } from 'kysely';
import { digestBytes } from '../../platform/blobs/digest-file.ts';
import { compareClaim } from '../../platform/checking/compare-claim.ts';
import { makeReference } from '../../platform/checking/reference.ts';
import { checkerFor } from '../../platform/checking/runtime-for.ts';
import type { VerifyTools } from '../../platform/checking/tools.ts';
import { overall } from '../../proof/overall.ts';
import type { Address, BatchId, Bytes32, Digest } from '../../protocol/ids.ts';
import type { Comparison, Outcome } from '../../protocol/verdict.ts';
import type { CoordinatorContext } from '../context.ts';
import type { FarmQuery } from '../database/schema.ts';
import type { BatchRow } from '../settlement/apply-outcome.ts';
import { batchReceipts, buildChallenge } from '../verification/build-challenge.ts';

/** A word that is not what is known of the canary. */
export type Doubtful = {
  batch: BatchRow;
  beside: BatchId;
  verifier: Address;
  verifierId: string;
  outcome: Extract<Outcome, 'pass' | 'fail'>;
};

/** A canary is not moved on while a word on it waits to be looked at: the dispute would come too late. */
export const waitsForRecheck = sql<boolean>`exists (
  select 1 from canaries c join verdicts v on v.batch_id = c.batch_id
  where c.batch_id = batches.id and v.seed = batches.seed and not v.rechecked
    and v.outcome = case when c.bad then 'pass' else 'fail' end)`;

/** The oldest word that nobody has looked at. */
export async function nextDoubtful(db: FarmQuery): Promise<Doubtful | undefined> {
  const found = await db
    .selectFrom('canaries')
    .innerJoin('verdicts', 'verdicts.batch_id', 'canaries.batch_id')
    .innerJoin('batches', 'batches.id', 'canaries.batch_id')
    .selectAll('batches')
    .select(['canaries.beside', 'verdicts.verifier', 'verdicts.verifier_id', 'verdicts.outcome as said'])
    .whereRef('verdicts.seed', '=', 'batches.seed')
    .where('verdicts.rechecked', '=', false)
    .where(sql<boolean>`verdicts.outcome = case when canaries.bad then 'pass' else 'fail' end`)
    .orderBy('verdicts.seq')
    .executeTakeFirst();
  if (found === undefined) return undefined;
  const { beside, verifier, verifier_id: verifierId, said, ...batch } = found;
  return { batch, beside, verifier, verifierId, outcome: said as Doubtful['outcome'] };
}

/** What the farm finds of the drawn crops itself, and the first comparison that says so. */
export async function lookAgain(
  context: CoordinatorContext,
  batch: BatchRow,
  { niceness, signal }: { niceness: number | undefined; signal: AbortSignal },
): Promise<{ outcome: Outcome; reason: string }> {
  const { engines, scenes, blobs, config } = context;
  const challenge = await buildChallenge(context, batch);
  const receipts = await batchReceipts(context, batch.id);
  const { runtime, thresholds } = checkerFor(engines, challenge);
  const scene = await scenes.folderOf(challenge.scene, challenge.manifest, signal);
  const folder = join(config.dataFolder, 'work', `recheck-${batch.id}`);
  await mkdir(folder, { recursive: true, mode: 0o700 });
  try {
    await using session = await runtime.open(scene, { signal, threads: config.threads, niceness });
    const store: VerifyTools['blobs'] = {
      fetchTo: (digest: Digest, path: string) => blobs.copyTo(digest, path),
      // Nothing of it is signed, so nothing of it is kept.
      putBytes: async (bytes: Uint8Array) => digestBytes(bytes),
    };
    const tools: VerifyTools = { session, blobs: store, folder, signal, thresholds };
    const comparisons: Comparison[] = [];
    for (const item of challenge.items) {
      const receipt = receipts[item.index];
      if (receipt === undefined) throw new Error(`batch ${batch.id} has no receipt ${item.index}`);
      const reference = await makeReference(item, tools);
      comparisons.push(await compareClaim(item, receipt, reference, challenge.exr, tools));
    }
    const outcome = overall(comparisons);
    const reason = comparisons.find((comparison) => comparison.outcome === outcome)?.reason ?? '';
    return { outcome, reason };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/**
 * Notes what came of it. Caught: the judgement is disputed, where there are enough for a committee, and the verifier is
 * given no checks for a while. In one transaction; does nothing a second time.
 */
export async function noteRecheck(
  { db, clock, events }: CoordinatorContext,
  { batch, beside, verifier, verifierId, outcome }: Doubtful,
  caught: string | null,
): Promise<void> {
  const now = new Date(clock.now());
  await db.transaction().execute(async (tx) => {
    const noted = await tx
      .updateTable('verdicts')
      .set({ rechecked: true, caught, caught_at: caught === null ? null : now })
      .where('batch_id', '=', batch.id)
      .where('seed', '=', batch.seed as Bytes32)
      .where('verifier', '=', verifier)
      .where('rechecked', '=', false)
      .returning('seq')
      .executeTakeFirst();
    if (noted === undefined || caught === null) return;
    await tx.updateTable('batches').set({ doubted: outcome }).where('id', '=', batch.id).execute();
    const { job_id: jobId } = await tx
      .selectFrom('batches')
      .select('job_id')
      .where('id', '=', beside)
      .executeTakeFirstOrThrow();
    const event = { type: 'verifier.caught' as const, batchId: batch.id, verifier: verifierId };
    await events.add(tx, jobId, { ...event, outcome, reason: caught }, now);
  });
}

/** Verifiers that were caught less than `forMs` ago: their word is worth nothing until then. */
export async function caughtSince(db: FarmQuery, sinceMs: number): Promise<Set<string>> {
  const { rows } = await sql<{ verifier: string }>`
    select distinct verifier from verdicts where caught is not null and caught_at > ${new Date(sinceMs)}`.execute(
    db,
  );
  return new Set(rows.map(({ verifier }) => verifier));
}
