/**
 * Limits from what honest crops differ by. Pure.
 *
 * The passing share of differing pixels is twice that of the 99 % quantile: of crops like these not one in a hundred is
 * worse than the quantile, and the rest is what other scenes and other machines of the class may add. The failing share
 * is ten times the passing one, as far as that stays above what fakes reach. R likewise, as far as it tells a claim that
 * lacks a fiftieth of its samples.
 */
import { THRESHOLDS } from '../../proof/thresholds.ts';

/** Of fewer than a hundred crops it is the worst of them. */
export const QUANTILE = 0.99;
/** Between the measured quantile and the limit. */
const MARGIN = 2;
/** Nothing stricter than within a class: its share is two pixels of the smallest crop, which no number of crops refines. */
const STRICTEST = THRESHOLDS.sameClass.passFraction;
const LEAST_SHARE = 1 - STRICTEST;
/** As within a class, where a share of 0.002 passes and one of 0.02 fails: nothing honest was ever seen so far out. */
const FAIL_TIMES = 10;
/** Of the fakes measured nearly all match in less than 56 % of their pixels: so far a crop has to be allowed to fail. */
const MOST_FAIL_SHARE = 0.4;
/** A quarter of {@link LEAST_FAKE_RATIO}: whatever is measured, an honest crop need not be nearer to nothing than this. */
const LEAST_RATIO = 0.01;
/** R of a claim with 98 % of the samples, the smallest theft that is worth one; a limit has to stay below it. */
const LEAST_FAKE_RATIO = 0.04;
/** Limits are read by people, and so many decimals are more than a hundred crops know. */
const DECIMALS = 4;

export type Proposal = {
  /** Null where no limit tells these classes' honest crops from fakes. */
  passFraction: number | null;
  failFraction: number | null;
  noiseRatioLimit: number | null;
};

/** The smallest of the values that at least the share `q` of them does not exceed; 0 of none. */
export function quantile(values: readonly number[], q: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  const rank = Math.ceil(q * sorted.length);
  return sorted[Math.min(sorted.length - 1, Math.max(0, rank - 1))] ?? 0;
}

/** What to put in proof/thresholds.ts for a pair of classes of which these are honest crops. */
export function proposeLimits(
  crops: readonly { pixelMatchFraction: number; noiseRatio: number | null }[],
): Proposal {
  const nothing = { passFraction: null, failFraction: null, noiseRatioLimit: null };
  if (crops.length === 0) return nothing;
  const share = quantile(
    crops.map((crop) => 1 - crop.pixelMatchFraction),
    QUANTILE,
  );
  const passShare = Math.max(LEAST_SHARE, MARGIN * share);
  const failShare = Math.min(MOST_FAIL_SHARE, FAIL_TIMES * passShare);
  const ratios = crops.flatMap(({ noiseRatio }) => (noiseRatio === null ? [] : [noiseRatio]));
  const ratio = Math.max(LEAST_RATIO, MARGIN * quantile(ratios, QUANTILE));
  const noiseRatioLimit = ratio < LEAST_FAKE_RATIO ? ceiling(ratio) : null;
  if (passShare >= failShare) return { ...nothing, noiseRatioLimit };
  return { passFraction: rest(ceiling(passShare)), failFraction: rest(ceiling(failShare)), noiseRatioLimit };
}

/** Away from the honest side, but for the last bit of a float. */
function ceiling(value: number): number {
  const scale = 10 ** DECIMALS;
  return Math.ceil(value * scale - 1e-6) / scale;
}

function rest(share: number): number {
  return Number((1 - share).toFixed(DECIMALS));
}

/** As {@link proposeLimits} goes about it, for whoever reads the numbers. */
export const DERIVATION = [
  `passing: 1 - ${MARGIN} times the share of pixels that ${100 * QUANTILE} % of the honest crops differ in at most, and never stricter than ${STRICTEST}`,
  `failing: ${FAIL_TIMES} times the passing share, at most ${MOST_FAIL_SHARE}, since fakes match in up to 0.56 of their pixels`,
  `R: ${MARGIN} times what ${100 * QUANTILE} % of them stay below, at least ${LEAST_RATIO}; none where that reaches ${LEAST_FAKE_RATIO}, a claim with 98 % of the samples`,
  'they hold for these scenes on this machine: others may be further apart, and the widest limits of several runs are the ones to take',
] as const;
