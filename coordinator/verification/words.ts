/** What verifiers have committed to and said about batches, one row per verifier and draw. */
import type { Selectable } from 'kysely';
import type { Address, BatchId } from '../../protocol/ids.ts';
import type { Outcome, VerifierRole } from '../../protocol/verdict.ts';
import type { FarmQuery, FarmTables } from '../database/schema.ts';

type VerdictRow = Selectable<FarmTables['verdicts']>;

/** A row with the word in it. */
export type Word = VerdictRow & {
  outcome: Outcome;
  evidence: NonNullable<VerdictRow['evidence']>;
  signature: NonNullable<VerdictRow['signature']>;
};

/** The words on these batches, on whatever seed, in the order in which they came. */
export async function wordsOn(db: FarmQuery, batches: readonly BatchId[]): Promise<Map<BatchId, Word[]>> {
  const byBatch = new Map<BatchId, Word[]>();
  if (batches.length === 0) return byBatch;
  const rows = await db
    .selectFrom('verdicts')
    .selectAll()
    .where('batch_id', 'in', [...batches])
    .where('outcome', 'is not', null)
    .where('evidence', 'is not', null)
    .where('signature', 'is not', null)
    .orderBy('seq')
    .execute();
  for (const row of rows as Word[]) byBatch.set(row.batch_id, [...(byBatch.get(row.batch_id) ?? []), row]);
  return byBatch;
}

/** What this verifier has committed to, or said, on the batch's present draw. */
export async function ownRow(
  db: FarmQuery,
  batch: { id: BatchId; seed: VerdictRow['seed'] },
  verifier: Address,
): Promise<VerdictRow | undefined> {
  return await db
    .selectFrom('verdicts')
    .selectAll()
    .where('batch_id', '=', batch.id)
    .where('seed', '=', batch.seed)
    .where('verifier', '=', verifier)
    .executeTakeFirst();
}

/** As what a verifier is asked in this state of its batch; null: nobody is. */
export function roleIn(state: FarmTables['batches']['state']): VerifierRole | null {
  switch (state) {
    case 'drawn':
      return 'first';
    case 'second':
    case 'committee':
      return state;
    default:
      return null;
  }
}
