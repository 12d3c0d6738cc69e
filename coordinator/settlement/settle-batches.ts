/** Takes every batch further, step by step, until its money has moved. Steps of one kind share a transaction. */

import {
  type ChainBatch,
  type ChainTerms,
  type ChainWrite,
  type FarmChain,
  MAX_MOVES_PER_TX,
} from '../../platform/chain/chain.ts';
import { assertNever, isChainTrouble, isFarmError } from '../../protocol/errors.ts';
import { waitsForAdmission } from '../admission/admissions.ts';
import { waitsForTiles } from '../assembly/early-finish.ts';
import { waitsForRecheck } from '../canaries/recheck-word.ts';
import type { CoordinatorContext } from '../context.ts';
import { type Word, wordsOn } from '../verification/words.ts';
import { answersTo, relayAppeal } from './appeals.ts';
import { applyOutcome, type BatchRow, UNJUDGED } from './apply-outcome.ts';
import { commitBatches } from './commit-batches.ts';
import { raiseDispute } from './disputes.ts';
import { chainKey } from './lanes.ts';
import { type BatchStep, type Known, nextStep } from './next-step.ts';
import { evidenceOf, findDrawers, forgetDrawer, noteChain } from './note-chain.ts';
import { relayVotes, wordFor } from './relay-words.ts';

/** Batches looked at in one round; far more than a farm of one chain has unsettled at a time. */
const MAX_BATCHES = 2_000;

/** A batch as it is here, on chain, and in the words of its verifiers. */
type Looked = { batch: BatchRow; onChain: ChainBatch; words: Word[] };

/**
 * One round over all unsettled batches, oldest first. Returns whether anything moved, in which case another round may
 * find more to do.
 */
export async function settleBatches(context: CoordinatorContext, signal: AbortSignal): Promise<boolean> {
  const { db, chain } = context;
  const batches = await db
    .selectFrom('batches')
    .selectAll()
    .where('state', 'in', ['closed', 'committed', 'drawn', 'second', 'committee', 'judged'])
    .where((is) => is.not(waitsForTiles))
    .where((is) => is.not(waitsForAdmission))
    .where((is) => is.not(waitsForRecheck))
    .orderBy('seq')
    .limit(MAX_BATCHES)
    .execute();
  if (batches.length === 0) return false;
  const [onChain, terms, nowS] = await Promise.all([
    chain.batches(batches.map(chainKey), signal),
    termsOf(chain, signal),
    timeOn(context, signal),
  ]);
  const words = await wordsOn(
    db,
    batches.map(({ id }) => id),
  );
  const failed = batches.filter((_, index) => onChain[index]?.outcome === 'fail');
  const answers = await answersTo(context, failed);
  const toAsk = answers.listening.size > 0 || onChain.some(({ asked }) => asked.length > 0);
  const active = toAsk ? await chain.verifiers(signal) : [];
  const steps = new Map<BatchStep, Looked[]>();
  let moved = false;
  for (const [index, batch] of batches.entries()) {
    const found = onChain[index];
    if (found === undefined) throw new Error(`the chain was asked for ${chainKey(batch)} and left it out`);
    const looked = { batch, onChain: found, words: words.get(batch.id) ?? [] };
    const noted = await noteChain(context, batch, found);
    moved = noted || moved;
    const judgedAtMs = noted ? context.clock.now() : batch.judged_at?.getTime();
    const appeal = answers.on(batch, found, { active, judgedAtMs });
    const step = nextStep(batch, found, known(looked, { terms, active, nowS, appeal }));
    if (step !== null) steps.set(step, [...(steps.get(step) ?? []), looked]);
  }
  for (const [step, taken] of steps) moved = (await take(context, step, taken, signal)) || moved;
  return moved;
}

/** Nobody can change them, so each chain is asked once. */
const knownTerms = new WeakMap<FarmChain, ChainTerms>();

async function termsOf(chain: FarmChain, signal: AbortSignal): Promise<ChainTerms> {
  const terms = knownTerms.get(chain) ?? (await chain.terms(signal));
  knownTerms.set(chain, terms);
  return terms;
}

/**
 * Windows are the chain's, which counts from block to block: its newest may be ahead of the clock here (an embedded chain
 * that has made many at once), or far behind (one that makes none unless it is asked).
 */
async function timeOn({ chain, clock }: CoordinatorContext, signal: AbortSignal): Promise<number> {
  return Math.max(clock.now() / 1_000, await chain.timeS(signal));
}

function known({ batch, onChain, words }: Looked, now: Omit<Known, 'words' | 'disputed'>): Known {
  const disputed = batch.doubted !== null && batch.doubted === onChain.outcome ? onChain.seed : null;
  return { ...now, words, disputed };
}

async function take(
  context: CoordinatorContext,
  step: BatchStep,
  taken: readonly Looked[],
  signal: AbortSignal,
): Promise<boolean> {
  const { chain } = context;
  const batches = taken.map(({ batch }) => batch);
  const each = (work: (looked: Looked) => Promise<unknown>): Promise<boolean> =>
    eachApart(context, taken, work, signal);
  switch (step) {
    case 'wait':
      return false;
    case 'commit':
      await commitBatches(context, batches, signal);
      return true;
    case 'await-secret': {
      const unknown = batches.filter(({ state, asked }) => state !== 'committed' || asked.length === 0);
      return await findDrawers(context, unknown, signal);
    }
    case 'reanchor':
      return await each(async ({ batch }) => {
        await chain.reanchor(chainKey(batch), signal);
        await forgetDrawer(context, batch);
      });
    case 'attest': {
      const said = taken.map(({ batch, onChain, words }) => ({
        batch,
        word: wordFor(batch, onChain, words),
      }));
      const relay = (some: typeof said) =>
        chain.attestMany(
          some.map(({ word }) => word),
          signal,
        );
      return (await together(context, said, relay, signal)) !== null;
    }
    case 'replace':
      return await each(({ batch }) => chain.replace(chainKey(batch), signal));
    case 'attest-committee':
      return await each(({ batch, onChain, words }) => relayVotes(context, batch, onChain, words, signal));
    case 'close-committee':
      return await each(({ batch }) => chain.closeCommittee(chainKey(batch), signal));
    case 'dispute':
      return await each(({ batch, onChain }) => raiseDispute(context, batch, onChain, signal));
    case 'appeal':
      return await each(({ batch, onChain }) => relayAppeal(context, batch, onChain, signal));
    case 'expire':
      return await each(({ batch }) => chain.expire(chainKey(batch), signal));
    case 'settle': {
      const pay = (some: readonly Looked[]) =>
        chain.settleMany(
          some.map(({ batch }) => chainKey(batch)),
          signal,
        );
      const write = await together(context, taken, pay, signal);
      if (write === null) return false;
      // Before the tasks move on: a chain that forgets the payment must find the batch unsettled here, too.
      await chain.waitUntilDurable(write.blockNumber, signal);
      return true;
    }
    case 'apply':
    case 'apply-expired':
      return await apply(context, taken, signal);
    default:
      return assertNever(step);
  }
}

/** Settled or expired on chain, but perhaps in a round that ended before it was saved: looked at again once it is. */
async function apply(
  context: CoordinatorContext,
  taken: readonly Looked[],
  signal: AbortSignal,
): Promise<boolean> {
  const { chain } = context;
  await chain.waitUntilDurable(await chain.blockNumber(signal), signal);
  const saved = await chain.batches(
    taken.map(({ batch }) => chainKey(batch)),
    signal,
  );
  return await eachApart(
    context,
    taken.map(({ batch }, index) => ({ batch, onChain: saved[index] })),
    async ({ batch, onChain }) => {
      if (onChain?.state === 'expired') return await applyOutcome(context, batch, UNJUDGED);
      if (onChain?.state !== 'settled') return;
      const { outcome, agreed, slashed } = onChain;
      const ending = {
        outcome: outcome ?? ('inconclusive' as const),
        agreed,
        slashed,
        whose: 'node' as const,
      };
      await applyOutcome(context, { ...batch, evidence: evidenceOf(onChain) }, ending);
    },
    signal,
  );
}

/** What the contract says when nobody is left to be asked: that changes when somebody joins, or the batch expires. */
const NOT_NOW = ['NoVerifierLeft', 'CommitteeTooSmall'];

/** One batch's trouble must not stop the others, the chain's ends the round. Returns whether the work was done. */
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
    if (signal.aborted || isChainTrouble(error)) throw error;
    const refusal = isFarmError(error, 'CHAIN_REVERTED') ? error.details?.['error'] : undefined;
    if (typeof refusal === 'string' && NOT_NOW.includes(refusal)) return false;
    context.log.error({ err: error, batchId: batch.id }, 'a batch could not be moved on; trying again');
    return false;
  }
}

async function eachApart<T extends { batch: BatchRow }>(
  context: CoordinatorContext,
  taken: readonly T[],
  work: (one: T) => Promise<unknown>,
  signal: AbortSignal,
): Promise<boolean> {
  let moved = false;
  for (const one of taken) moved = (await apart(context, one.batch, () => work(one), signal)) || moved;
  return moved;
}

/**
 * As many as fit in one transaction, or, where one of them is refused and takes the others with it, each by itself. The
 * last write; null when there was none.
 */
async function together<T extends { batch: BatchRow }>(
  context: CoordinatorContext,
  taken: readonly T[],
  work: (some: T[]) => Promise<ChainWrite>,
  signal: AbortSignal,
): Promise<ChainWrite | null> {
  let last: ChainWrite | null = null;
  for (let start = 0; start < taken.length; start += MAX_MOVES_PER_TX) {
    const some = taken.slice(start, start + MAX_MOVES_PER_TX);
    try {
      last = await work(some);
    } catch (error) {
      if (!isFarmError(error, 'CHAIN_REVERTED')) throw error;
      const alone = async (one: T): Promise<void> => {
        if (some.length === 1) throw error;
        last = await work([one]);
      };
      await eachApart(context, some, alone, signal);
    }
  }
  return last;
}
