/**
 * How likely a cheat is caught, and how often one has to look so that cheating does not pay. Plain arithmetic:
 * money comes in as bigint, probabilities and expectations go out as numbers (15 digits, which no estimate has).
 * Sources: design.md 7.9 and, for the derivation, anchors/proof-and-escrow.md "Formulas".
 */
import { FarmError } from '../protocol/errors.ts';

/** Defaults of a farm, each with its reason. */
export const CHECK_POLICY = {
  /** k: at two draws a node that fakes half its tiles is caught three times in four; a third adds half as much again in cost. */
  challengeCount: 2,
  /** b: share of faked crops that the comparison catches. facts.md section 2: all of them within one class; 1 % kept in hand. */
  sensitivity: 0.99,
  /** Stake may lose value and savings are estimates: look a quarter more often than the break-even asks for. */
  margin: 0.25,
  /** q_min: even the best-known node meets one check in fifty batches, so that a bought reputation is not a licence. */
  minimum: 0.02,
} as const;

function probability(value: number, name: string): number {
  if (!(value >= 0 && value <= 1)) throw new FarmError('INTERNAL', `${name} is ${value}, not a probability`);
  return value;
}

function wholeNumber(value: number, name: string): number {
  if (!Number.isInteger(value) || value < 0) throw new FarmError('INTERNAL', `${name} is ${value}`);
  return value;
}

/**
 * P = 1 - (1 - b)^k: the chance that at least one of k challenges catches a node that faked every tile.
 * @param sensitivity b, 0 to 1: the chance that one challenge of a faked tile catches it.
 * @param challengeCount k, a whole number.
 * @throws FarmError INTERNAL for numbers outside these ranges (so do all functions here).
 */
export function detectionProbability(sensitivity: number, challengeCount: number): number {
  return 1 - (1 - probability(sensitivity, 'sensitivity')) ** wholeNumber(challengeCount, 'challengeCount');
}

/**
 * The chance that k draws without replacement out of n tiles, m of them faked, catch at least one, when each drawn
 * fake is caught with chance b: 1 - sum over j of C(m,j) C(n-m,k-j) / C(n,k) (1-b)^j. With b = 1 this is
 * 1 - C(n-m,k)/C(n,k), the hypergeometric tail.
 */
export function hypergeometricDetection(input: {
  tiles: number;
  faked: number;
  challengeCount: number;
  /** b, 1 when left out. */
  sensitivity?: number;
}): number {
  const n = wholeNumber(input.tiles, 'tiles');
  const m = wholeNumber(input.faked, 'faked');
  const k = Math.min(wholeNumber(input.challengeCount, 'challengeCount'), n);
  const miss = 1 - probability(input.sensitivity ?? 1, 'sensitivity');
  if (m > n) throw new FarmError('INTERNAL', `${m} of ${n} tiles faked`);
  // missed[j] = chance that j fakes were drawn so far and none was caught; draw by draw, so that nothing overflows.
  let missed = [1];
  for (let draw = 0; draw < k; draw++) {
    const next = new Array<number>(draw + 2).fill(0);
    for (const [fakes, chance] of missed.entries()) {
      const hit = Math.max(0, m - fakes) / (n - draw);
      next[fakes] = (next[fakes] as number) + chance * Math.max(0, 1 - hit);
      next[fakes + 1] = (next[fakes + 1] as number) + chance * hit * miss;
    }
    missed = next;
  }
  return 1 - missed.reduce((sum, chance) => sum + chance, 0);
}

/** What a node may win or lose on one batch. Money in the token's smallest unit. */
export type BatchStakes = {
  /** n: tiles in the batch. */
  tiles: number;
  /** p: price of one tile. */
  price: bigint;
  /** s: what faking one tile saves, at most what rendering it costs. */
  saving: bigint;
  /** S: stake that a proven fake loses. */
  stake: bigint;
  /** V: what the node's reputation is worth to it, discounted; 0 for a young identity, which could simply come back as another. */
  reputationValue: bigint;
};

/** n * p + S + V: everything that a caught node loses. */
function atRisk(stakes: BatchStakes): number {
  return Number(BigInt(stakes.tiles) * stakes.price + stakes.stake + stakes.reputationValue);
}

/**
 * q = clamp((1 + margin) * n * s / (P1 * (n * p + S + V)), minimum, 1): how often a batch is challenged so that
 * faking all of it loses money on average. Partial fakes do worse still: the expected gain is convex in the faked
 * share, so its maximum is at none or all. A node with no stake is always checked, whatever the formula says.
 * @param detection P1, see {@link detectionProbability}.
 */
export function checkProbability(
  stakes: BatchStakes,
  detection: number,
  policy: { margin: number; minimum: number } = CHECK_POLICY,
): number {
  probability(policy.minimum, 'minimum');
  if (stakes.stake === 0n) return 1;
  const caught = probability(detection, 'detection') * atRisk(stakes);
  if (caught === 0) return 1;
  const wanted = ((1 + policy.margin) * Number(BigInt(stakes.tiles) * stakes.saving)) / caught;
  return Math.min(1, Math.max(policy.minimum, wanted));
}

/**
 * gain(f) = f * n * s - q * P(f) * (n * p + S + V): what a node that fakes the share f of a batch gains over an
 * honest one, on average, in the token's smallest unit. Below zero: cheating does not pay.
 * @param detection P(f), the chance that a challenge of such a batch catches it ({@link hypergeometricDetection}).
 */
export function expectedGain(
  stakes: BatchStakes,
  cheat: { fakedShare: number; checkProbability: number; detection: number },
): number {
  const gained = probability(cheat.fakedShare, 'fakedShare') * Number(BigInt(stakes.tiles) * stakes.saving);
  const checked = probability(cheat.checkProbability, 'checkProbability');
  return gained - checked * probability(cheat.detection, 'detection') * atRisk(stakes);
}

/**
 * Receipts drawn from each batch. No node has stake yet, so every batch is challenged (design 7.9: q = 1) and its
 * whole pay is at stake. One crop of a tile rendered with a quarter of the samples shows it three times in four (the
 * sample still: a sixth of it is an even background that looks the same at any quality), so four miss a batch that is
 * all fake once in 256, and cost 0.7 % of a batch of 64. Staking (a later issue) lets q fall.
 */
export const RECEIPTS_PER_CHALLENGE = 4;
