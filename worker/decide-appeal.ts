/** Whether a node appeals against a fail: only where it is sure of its work, and its operator lets it. Pure. */
import type { Outcome } from '../protocol/verdict.ts';

/**
 * The most that a node puts on one appeal when its operator says nothing, in units of the token: the one TESS that a
 * dispute costs on a farm of one's own. An appeal is made only after the node has rendered the drawn crops again and found
 * them right, so the bond comes back unless a committee of strangers disagrees with that; not appealing costs the pay of the
 * batch, ten times its price of the stake, and an hour without work. On a chain whose token has more decimals this is next
 * to nothing: there a node appeals only when its operator names a sum.
 */
export const DEFAULT_APPEAL_BOND = 1_000_000;

/** Less is not enough to hand in what was decided. */
const LEAST_LEFT_MS = 1_000;

/** What is known before anything is rendered. */
export type AppealFacts = {
  /** What it would cost where it is lost, and the most that the operator allows. */
  bond: bigint;
  mostBond: bigint;
  leftMs: number;
  /** Every receipt of the batch is one that this node has signed. */
  own: boolean;
  /** Drawn files that this node did not hand over in its time. */
  withheld: number;
};

/** What the node found when it looked at its own batch as a verifier does. */
export type LookedAgain = { outcome: Outcome; reason: string };

type AppealDecision = { appeals: boolean; reason: string };

/** Why there is nothing to look at again; null: there is. */
export function whyNotLook({ bond, mostBond, leftMs, own, withheld }: AppealFacts): string | null {
  if (mostBond === 0n) return 'its operator lets it appeal against nothing';
  if (bond > mostBond) return `an appeal takes a bond of ${bond} units, its operator allows ${mostBond}`;
  if (leftMs < LEAST_LEFT_MS) return 'the time to appeal is over';
  if (!own) return 'the batch holds receipts that this node did not sign';
  if (withheld > 0) return `${withheld} of the drawn files were not handed over in time`;
  return null;
}

/** `looked` is null where the node could not look: who does not know does not bet on it. */
export function decideAppeal(facts: AppealFacts, looked: LookedAgain | null): AppealDecision {
  const not = whyNotLook(facts);
  if (not !== null) return { appeals: false, reason: not };
  if (looked === null) return { appeals: false, reason: 'what was drawn could not be rendered again here' };
  if (looked.outcome === 'pass')
    return { appeals: true, reason: 'rendered again here, all that was drawn is what was committed' };
  const found = looked.outcome === 'fail' ? 'is not what was committed' : 'is not clear';
  return { appeals: false, reason: `rendered again here, it ${found}: ${looked.reason}` };
}
