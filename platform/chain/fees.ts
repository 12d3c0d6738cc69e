/** What a transaction offers for its gas. Pure. */

export type Fees = { maxFeePerGas: bigint; maxPriorityFeePerGas: bigint };

/** What the chain asks now: the base fee of its newest block, and what it takes to be preferred. */
export type FeeMarket = { baseFee: bigint; tip: bigint };

/** Twice the base fee stays valid for six full blocks in a row. */
export function firstFees({ baseFee, tip }: FeeMarket): Fees {
  return { maxFeePerGas: baseFee * 2n + tip, maxPriorityFeePerGas: tip };
}

/**
 * The fees of a transaction in place of one that is in no block: an eighth more in both, since nodes refuse less than a
 * tenth, and never below what the chain asks now.
 */
export function raisedFees(before: Fees, market: FeeMarket): Fees {
  const now = firstFees(market);
  const maxPriorityFeePerGas = larger(eighthMore(before.maxPriorityFeePerGas), now.maxPriorityFeePerGas);
  const maxFeePerGas = larger(eighthMore(before.maxFeePerGas), now.maxFeePerGas);
  return { maxPriorityFeePerGas, maxFeePerGas: larger(maxFeePerGas, maxPriorityFeePerGas) };
}

/** Rounded up, so that small amounts rise, too. */
function eighthMore(amount: bigint): bigint {
  return amount + amount / 8n + 1n;
}

function larger(one: bigint, other: bigint): bigint {
  return one > other ? one : other;
}
