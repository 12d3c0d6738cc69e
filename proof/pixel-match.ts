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

/** What a plane adds up to, so far. */
type Sums = { sum: number; finite: number; maxAbsDifference: number; nonFiniteValues: number };

/** Values in a block: so many that a block costs next to nothing, so few that one odd value makes few others slow. */
const BLOCK = 4_096;

/** One plane, block by block: nearly all of them hold nothing but finite values within the tolerance. */
function matchPlane(left: Float32Array, right: Float32Array, floor: number, mismatched: Uint8Array): Sums {
  const sums: Sums = { sum: 0, finite: 0, maxAbsDifference: 0, nonFiniteValues: 0 };
  for (let from = 0; from < mismatched.length; from += BLOCK) {
    const to = Math.min(from + BLOCK, mismatched.length);
    if (!matchQuietBlock(left, right, from, to, sums))
      matchBlock(left, right, from, to, floor, mismatched, sums);
  }
  return sums;
}

/**
 * A block in which all is finite and no difference is above the tolerance of the value itself; false, and nothing added,
 * for any other. A function of its own with three comparisons to a value, so that it compiles tight.
 */
function matchQuietBlock(
  left: Float32Array,
  right: Float32Array,
  from: number,
  to: number,
  sums: Sums,
): boolean {
  // A number of its own: read from another module it is unpacked for every value.
  const tolerance = PIXEL_TOLERANCE * 1;
  let sum = 0;
  let largest = sums.maxAbsDifference;
  let loud = 0;
  for (let i = from; i < to; i++) {
    const a = left[i] as number;
    const difference = Math.abs(a - (right[i] as number));
    sum += difference * difference;
    if (difference > largest) largest = difference;
    if (difference > tolerance * Math.abs(a)) loud++;
  }
  // A value that is not finite makes the sum so. (Finite ones cannot: float32 squared is far below a double's end.)
  if (loud > 0 || !(sum < Number.POSITIVE_INFINITY)) return false;
  sums.sum += sum;
  sums.finite += to - from;
  sums.maxAbsDifference = largest;
  return true;
}

/** Any block: adds it up and marks the pixels that differ, without a division, which takes longer than all the rest. */
function matchBlock(
  left: Float32Array,
  right: Float32Array,
  from: number,
  to: number,
  floor: number,
  mismatched: Uint8Array,
  sums: Sums,
): void {
  const smallest = PIXEL_TOLERANCE * floor;
  let sum = 0;
  let maxAbsDifference = 0;
  let nonFinitePairs = 0;
  let nonFiniteValues = 0;
  for (let i = from; i < to; i++) {
    const a = left[i] as number;
    const b = right[i] as number;
    const difference = Math.abs(a - b);
    if (difference === 0) continue;
    // Not below infinity: some side is not finite. (Two finite float32 cannot overflow a double.)
    if (!(difference < Number.POSITIVE_INFINITY)) {
      nonFinitePairs++;
      if (Number.isFinite(a)) nonFiniteValues++;
      if (!sameNonFinite(a, b)) mismatched[i] = 1;
      continue;
    }
    sum += difference * difference;
    if (difference > maxAbsDifference) maxAbsDifference = difference;
    // Above the tolerance of each is above that of the largest; and nearly always the first says no.
    if (
      difference > PIXEL_TOLERANCE * Math.abs(a) &&
      difference > PIXEL_TOLERANCE * Math.abs(b) &&
      difference > smallest
    )
      mismatched[i] = 1;
  }
  sums.sum += sum;
  sums.finite += to - from - nonFinitePairs;
  sums.nonFiniteValues += nonFiniteValues;
  if (maxAbsDifference > sums.maxAbsDifference) sums.maxAbsDifference = maxAbsDifference;
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
  let maxAbsDifference = 0;
  let sum = 0;
  let finite = 0;
  let nonFiniteValues = 0;
  for (const [passIndex, pass] of reference.entries()) {
    const theirs = claim[passIndex] as ComparedPass;
    for (const [planeIndex, left] of pass.planes.entries()) {
      const right = theirs.planes[planeIndex] as Float32Array;
      const found = matchPlane(left, right, floors[passIndex] as number, mismatched);
      sum += found.sum;
      finite += found.finite;
      nonFiniteValues += found.nonFiniteValues;
      maxAbsDifference = Math.max(maxAbsDifference, found.maxAbsDifference);
    }
  }
  let mismatchedPixels = 0;
  for (let i = 0; i < pixels; i++) mismatchedPixels += mismatched[i] as number;
  return {
    pixels,
    mismatchedPixels,
    pixelMatchFraction: pixels === 0 ? 0 : 1 - mismatchedPixels / pixels,
    maxAbsDifference,
    meanSquare: finite === 0 ? 0 : sum / finite,
    nonFiniteValues,
  };
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
