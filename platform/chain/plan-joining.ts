/** What a verifier lacks to be in the list of the registry. Pure: the same facts, the same next step. */
import type { ChainOperator, ChainTerms } from './chain.ts';

/** As the registry holds them now. */
export type JoiningFacts = {
  terms: Pick<ChainTerms, 'minVerifierStake' | 'verifierPenalty'>;
  operator: Pick<ChainOperator, 'stake'> & {
    /** In the list, those included whose verifier has left. */
    places: number;
  };
  /** Token units in the operator's account. */
  balance: bigint;
  /** It can be drawn. */
  active: boolean;
  /** It is active, or was: a place is kept for a while after its verifier has left, and then is the first to be had again. */
  hasPlace: boolean;
  /** Unix seconds; 0 where it has not joined since it last left. */
  activeFrom: number;
  /** Unix seconds, of the newest block. */
  nowS: number;
};

export type JoiningPlan = {
  next: 'nothing' | 'join' | 'wait' | 'activate';
  /** To be put down before that. */
  toStake: bigint;
  /** Of it, what the operator's account has not. */
  missing: bigint;
};

/**
 * One penalty more than the registry wants is put down, or the first missed window would cost a verifier its place. What was
 * lost since is not put down again as long as the registry is content.
 */
export function planJoining(facts: JoiningFacts): JoiningPlan {
  const { terms, operator, balance, active, hasPlace, activeFrom, nowS } = facts;
  if (active) return { next: 'nothing', toStake: 0n, missing: 0n };
  const least = terms.minVerifierStake * BigInt(operator.places + (hasPlace ? 0 : 1));
  const toStake = operator.stake >= least ? 0n : least + terms.verifierPenalty - operator.stake;
  const missing = toStake > balance ? toStake - balance : 0n;
  if (activeFrom === 0) return { next: 'join', toStake, missing };
  return { next: activeFrom > nowS ? 'wait' : 'activate', toStake, missing };
}
