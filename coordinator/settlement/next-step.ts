/**
 * What to do next with a batch, from what the database and the chain say about it. Pure.
 *
 * The chain is the truth about money: the database may be ahead of it (the embedded chain was killed and lost its last
 * second) or behind (this process died between a transaction and its note), and both come out right, since each step
 * is chosen from the chain's state and a step that was taken already is refused by the contract.
 */

import type { ChainBatch, ChainTerms } from '../../platform/chain/chain.ts';
import { assertNever } from '../../protocol/errors.ts';
import type { Address, Bytes32 } from '../../protocol/ids.ts';
import type { BatchState, Outcome } from '../../protocol/verdict.ts';

export type BatchStep =
  /** Put root and price on chain. */
  | 'commit'
  /** Find out whose secret the draw needs. */
  | 'await-secret'
  /** That secret did not come in its time: another block, and most often somebody else's secret. */
  | 'reanchor'
  /** Somebody's word is awaited: one verifier's, a committee's, a disputer's, or the node's own. */
  | 'wait'
  /** The word of the one who is asked is here: put it on chain. */
  | 'attest'
  /** It did not come in its time, or whoever was asked has left: ask another. */
  | 'replace'
  /** More than half of a committee agree: put their words on chain. */
  | 'attest-committee'
  /** They did not in their time. */
  | 'close-committee'
  /** Somebody has signed that the judgement is wrong: put that on chain. */
  | 'dispute'
  /** Its node has appealed: put what its operator signed on chain. */
  | 'appeal'
  /** Judged for good: move the money. */
  | 'settle'
  /** Nobody said anything in the contract's time: give the money back. */
  | 'expire'
  /** The money has moved: note what follows for the tasks. */
  | 'apply'
  /** The money went back: the tasks are rendered again. */
  | 'apply-expired';

/** A verifier's word as the coordinator holds it, signed for one seed. */
export type HeldWord = { verifier: Address; seed: Bytes32; outcome: Outcome };

export type Known = {
  /** Of this batch, on whatever seed. */
  words: readonly HeldWord[];
  /** The seed whose judgement somebody has signed to be wrong; null: nobody. */
  disputed: Bytes32 | null;
  /** Of its node, against a fail of this seed: it is waited for, or it is here. */
  appeal: 'none' | 'awaited' | 'signed';
  /** The list that draws are made from. */
  active: readonly Address[];
  nowS: number;
  terms: Pick<ChainTerms, 'verdictWindowS' | 'disputeWindowS' | 'committeeWindowS' | 'expireWindowS'>;
};

type OnChain = Pick<
  ChainBatch,
  'state' | 'seed' | 'asked' | 'members' | 'since' | 'committedAt' | 'outcome' | 'last'
>;

/** Clocks differ: asked too early the contract refuses, and a minute is nothing against its windows. Of a short one no more than itself. */
export const CLOCK_SLACK_S = 60;

export function nextStep(row: { state: BatchState }, chain: OnChain, known: Known): BatchStep | null {
  if (row.state === 'open' || row.state === 'settled') return null;
  const over = (sinceS: number, windowS: number): boolean =>
    known.nowS > sinceS + windowS + Math.min(CLOCK_SLACK_S, windowS);
  const { verdictWindowS, committeeWindowS, expireWindowS, disputeWindowS } = known.terms;
  const expired = over(chain.committedAt, expireWindowS);
  const words = known.words.filter(({ seed }) => seed === chain.seed);
  switch (chain.state) {
    case 'none':
      return 'commit';
    case 'committed':
      if (expired) return 'expire';
      return over(chain.since, verdictWindowS) ? 'reanchor' : 'await-secret';
    case 'drawn':
    case 'second':
      if (words.some(({ verifier }) => chain.asked.includes(verifier))) return 'attest';
      if (expired) return 'expire';
      if (chain.asked.some((asked) => !known.active.includes(asked))) return 'replace';
      return over(chain.since, verdictWindowS) ? 'replace' : 'wait';
    case 'committee':
      if (majority(chain.members, words) !== null) return 'attest-committee';
      return over(chain.since, committeeWindowS) ? 'close-committee' : 'wait';
    case 'judged':
      if (chain.last) return 'settle';
      if (known.disputed === chain.seed && chain.outcome !== 'inconclusive') return 'dispute';
      if (known.appeal === 'signed' && chain.outcome === 'fail') return 'appeal';
      if (known.appeal === 'awaited') return 'wait';
      return disputeWindowS === 0 || over(chain.since, disputeWindowS) ? 'settle' : 'wait';
    case 'settled':
      return 'apply';
    case 'expired':
      return 'apply-expired';
    default:
      return assertNever(chain.state);
  }
}

/** The outcome that more than half of the members have given their word for; null while there is none. */
export function majority(
  members: readonly Address[],
  words: readonly Pick<HeldWord, 'verifier' | 'outcome'>[],
): Outcome | null {
  for (const outcome of ['pass', 'fail', 'inconclusive'] as const) {
    const agree = members.filter((member) =>
      words.some((word) => word.verifier === member && word.outcome === outcome),
    );
    if (2 * agree.length > members.length) return outcome;
  }
  return null;
}
