/** Pixel by pixel differences of two images of the same size and channels. */
import { type ComparedPass, comparedPasses, matchFloor } from './compared-passes.ts';
import type { PixelImage } from './pixels.ts';
import { PIXEL_TOLERANCE } from './thresholds.ts';

/** What two sets of passes differ by. */
export type PixelMatch = {
  pixels: number;
  /** Pixels that differ by more than the tolerance in some channel of some pass. */
  mismatchedPixels: number;
  /** Share of pixels that match, 0 to 1 (PMF). */
  pixelMatchFraction: number;
  /** Largest |a - b| over all values that are finite in both. */
  maxAbsDifference: number;
  /** Mean of (a - b)^2 over the same values. */
  meanSquare: number;
  /** Values that are not finite in the claim and finite in the reference. */
  nonFiniteValues: number;
};

function sameNonFinite(a: number, b: number): boolean {
  return a === b || (Number.isNaN(a) && Number.isNaN(b));
}

/** What the planes looked at add up to, so far. */
type Sums = {
  sum: number;
  finite: number;
  maxAbsDifference: number;
  nonFiniteValues: number;
  mismatchedPixels: number;
};

/**
 * So many values are summed before they go into the sum of the plane: a long sum of small squares would round each of
 * them to what is already there. Every recorded rmse was added up in these steps.
 */
const BLOCK = 4_096;

/** Adds one plane; in `mismatched` a pixel that differs is marked once for all planes. */
function matchPlane(
  left: Float32Array,
  right: Float32Array,
  floor: number,
  mismatched: Uint8Array,
  total: Sums,
): void {
  const sums: Sums = { ...total, sum: 0 };
  for (let from = 0; from < left.length; from += BLOCK)
    matchBlock(left, right, from, Math.min(from + BLOCK, left.length), floor, mismatched, sums);
  Object.assign(total, sums, { sum: total.sum + sums.sum });
}

/**
 * One comparison tells what needs no second look: nearly every value is finite and within the tolerance of the
 * reference's value alone. A function of its own without a division, which takes longer than all the rest, so that it
 * compiles tight.
 */
function matchBlock(
  left: Float32Array,
  right: Float32Array,
  from: number,
  to: number,
  floor: number,
  mismatched: Uint8Array,
  sums: Sums,
): void {
  // A number of its own: read from another module it is unpacked for every value.
  const tolerance = PIXEL_TOLERANCE * 1;
  const smallest = tolerance * floor;
  let sum = 0;
  let maxAbsDifference = sums.maxAbsDifference;
  let nonFinitePairs = 0;
  let nonFiniteValues = 0;
  let mismatchedPixels = 0;
  for (let i = from; i < to; i++) {
    const a = left[i] as number;
    const b = right[i] as number;
    const difference = Math.abs(a - b);
    // Negated and without "or equal", so that NaN and infinity on either side come in here as well.
    if (!(difference < tolerance * Math.abs(a))) {
      if (difference === 0) continue;
      // Not below infinity: some side is not finite. (Two finite float32 cannot overflow a double.)
      const finite = difference < Number.POSITIVE_INFINITY;
      // Above the tolerance of each is above that of the largest.
      const differs = finite
        ? difference > tolerance * Math.abs(a) &&
          difference > tolerance * Math.abs(b) &&
          difference > smallest
        : !sameNonFinite(a, b);
      if (differs && mismatched[i] === 0) {
        mismatched[i] = 1;
        mismatchedPixels++;
      }
      if (!finite) {
        nonFinitePairs++;
        if (Number.isFinite(a)) nonFiniteValues++;
        continue;
      }
    }
    sum += difference * difference;
    if (difference > maxAbsDifference) maxAbsDifference = difference;
  }
  sums.sum += sum;
  sums.finite += to - from - nonFinitePairs;
  sums.maxAbsDifference = maxAbsDifference;
  sums.nonFiniteValues += nonFiniteValues;
  sums.mismatchedPixels += mismatchedPixels;
}

function pixelsOf(passes: readonly ComparedPass[]): number {
  return passes[0]?.planes[0]?.length ?? 0;
}

/** max(|a|, |b|, floor): what a difference is relative to. */
function scaleOf(a: number, b: number, floor: number): number {
  const x = Math.abs(a);
  const y = Math.abs(b);
  const larger = x > y ? x : y;
  return larger > floor ? larger : floor;
}

/**
 * Per pixel the largest |a - b| / max(|a|, |b|, floor) over all channels; Infinity where only one side is finite. Row by
 * row; for looking at, see {@link matchPixels} for the decision.
 */
export function relativeErrors(
  reference: readonly ComparedPass[],
  claim: readonly ComparedPass[],
  floors: readonly number[],
): Float64Array {
  const errors = new Float64Array(pixelsOf(reference));
  for (const [passIndex, pass] of reference.entries()) {
    const floor = floors[passIndex] as number;
    for (const [planeIndex, left] of pass.planes.entries()) {
      const right = (claim[passIndex] as ComparedPass).planes[planeIndex] as Float32Array;
      for (let i = 0; i < errors.length; i++) {
        const a = left[i] as number;
        const b = right[i] as number;
        const difference = Math.abs(a - b);
        const finite = difference < Number.POSITIVE_INFINITY;
        if (difference === 0 || (!finite && sameNonFinite(a, b))) continue;
        const error = finite ? difference / scaleOf(a, b, floor) : Number.POSITIVE_INFINITY;
        if (error > (errors[i] as number)) errors[i] = error;
      }
    }
  }
  return errors;
}

/**
 * Compares passes channel by channel: a pixel matches when for every channel |a - b| / max(|a|, |b|, floor) <= 1e-3
 * (design.md 7.5 d). Given the floors, the result is the same with the two sides exchanged, but for `nonFiniteValues`.
 * NaN matches NaN and an infinity matches itself; any other value that is not finite is a mismatch.
 *
 * @param floors one per pass, see {@link matchFloor}.
 */
export function matchPixels(
  reference: readonly ComparedPass[],
  claim: readonly ComparedPass[],
  floors: readonly number[],
): PixelMatch {
  const pixels = pixelsOf(reference);
  const mismatched = new Uint8Array(pixels);
  const total: Sums = { sum: 0, finite: 0, maxAbsDifference: 0, nonFiniteValues: 0, mismatchedPixels: 0 };
  for (const [passIndex, pass] of reference.entries()) {
    const theirs = claim[passIndex] as ComparedPass;
    const floor = floors[passIndex] as number;
    for (const [planeIndex, left] of pass.planes.entries())
      matchPlane(left, theirs.planes[planeIndex] as Float32Array, floor, mismatched, total);
  }
  const { sum, finite, ...found } = total;
  return {
    ...found,
    ...sharesOf(pixels, found.mismatchedPixels),
    meanSquare: finite === 0 ? 0 : sum / finite,
  };
}

function sharesOf(pixels: number, mismatchedPixels: number): { pixels: number; pixelMatchFraction: number } {
  return { pixels, pixelMatchFraction: pixels === 0 ? 0 : 1 - mismatchedPixels / pixels };
}

/** What {@link matchPixels} finds between passes with equal pixels, without looking at them again. */
export function matchOfEqual(passes: readonly ComparedPass[]): PixelMatch {
  const nothing = { mismatchedPixels: 0, maxAbsDifference: 0, meanSquare: 0, nonFiniteValues: 0 };
  return { ...nothing, ...sharesOf(pixelsOf(passes), 0) };
}

/**
 * The noise variance of a reference that was rendered as two halves of its samples: mean((first - second)^2) / 4 over
 * all channels of the compared passes. The reference is (first + second) / 2, so Var = Var(half) / 2, and
 * E[(first - second)^2] = 2 Var(half). Feed it to `compareCrops` as `noiseVariance`.
 *
 * Both halves must have the same size and channels.
 */
export function noiseVarianceOfHalves(first: PixelImage, second: PixelImage): number {
  const passes = comparedPasses(first);
  return matchPixels(passes, comparedPasses(second), passes.map(matchFloor)).meanSquare / 4;
}
