/** Words of verifiers, from the database onto the chain. The signature is the verifier's; anybody could send it. */
import type { ChainBatch, SignedVerdict } from '../../platform/chain/chain.ts';
import type { Bytes32 } from '../../protocol/ids.ts';
import type { CoordinatorContext } from '../context.ts';
import type { Word } from '../verification/words.ts';
import type { BatchRow } from './apply-outcome.ts';
import { chainKey } from './lanes.ts';
import { majority } from './next-step.ts';

/** The word of the one who is asked about a batch, first or second. */
export function wordFor(
  batch: BatchRow,
  { seed, asked }: Pick<ChainBatch, 'seed' | 'asked'>,
  words: readonly Word[],
): SignedVerdict {
  const word = words.find((one) => one.seed === seed && asked.includes(one.verifier));
  if (word === undefined) throw new Error(`batch ${batch.id} has no word to be relayed`);
  const { outcome, signature } = word;
  const evidence = evidenceOf(word);
  return { verdict: { batchKey: chainKey(batch), seed: word.seed, outcome, evidence }, signature };
}

/** The words of all members that agree with more than half of the committee. */
export async function relayVotes(
  { chain }: CoordinatorContext,
  batch: BatchRow,
  { seed, members }: Pick<ChainBatch, 'seed' | 'members'>,
  words: readonly Word[],
  signal: AbortSignal,
): Promise<void> {
  const ofDraw = words.filter((one) => one.seed === seed);
  const outcome = majority(members, ofDraw);
  if (outcome === null) throw new Error(`the committee on batch ${batch.id} does not agree`);
  const votes = ofDraw
    .filter((one) => one.outcome === outcome && members.includes(one.verifier))
    .map((one) => ({ member: one.verifier, evidence: evidenceOf(one), signature: one.signature }));
  await chain.attestCommittee(chainKey(batch), outcome, votes, signal);
}

const evidenceOf = ({ evidence }: Word): Bytes32 => `0x${evidence}` as Bytes32;
