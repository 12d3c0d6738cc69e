/** From what was found of each receipt to what is said of the batch. Pure. */
import type { Comparison, Outcome } from '../protocol/verdict.ts';

/** One failed receipt fails the batch; one that is not clear leaves it unclear. */
export function overall(comparisons: readonly Pick<Comparison, 'outcome'>[]): Outcome {
  if (comparisons.some((comparison) => comparison.outcome === 'fail')) return 'fail';
  return comparisons.every((comparison) => comparison.outcome === 'pass') ? 'pass' : 'inconclusive';
}
