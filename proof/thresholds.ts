/** Every number that turns a measurement into an outcome, as data, with where it comes from. */

import type { ThresholdsName } from '../protocol/verdict.ts';

export type CompareThresholds = {
  /** A claim whose perceptual hash is further away than this (bits of 64) is another picture. */
  perceptualHashGate: number;
  /** Pixel match fraction at or above which a crop passes. */
  passFraction: number;
  /** Pixel match fraction at or below which a crop fails; between the two a second verifier is asked. */
  failFraction: number;
  /**
   * So many pixels may differ in any crop, however small, without making it fail, and without keeping it from
   * passing where they are fewer than the failing share.
   */
  pixelsForgiven: number;
  /** Passing also needs a noise ratio R at or below this; null where R is only recorded. */
  noiseRatioLimit: number | null;
};

/**
 * A pixel matches when, in every channel, |a - b| <= 1e-3 * max(|a|, |b|, floor). Honest renders of one class differ by
 * more than that in at most 3 of 100,000 pixels; 98 % of the samples already change half of them (facts.md 1, 2).
 */
export const PIXEL_TOLERANCE = 1e-3;

/**
 * floor = 5 % of the reference's median luma + 1e-4: in the dark, float noise is large relative to the value itself. (The
 * median of every n-th row and column of a side of 512 and more, see compared-passes.ts; no drawn crop is that large.)
 */
export const FLOOR_OF_MEDIAN = 0.05;
/** The part of the floor that a black reference keeps: about a hundredth of what an 8-bit picture can show. */
export const FLOOR_ABSOLUTE = 1e-4;

/** A channel value up to this counts as black; the same size as the floor, for the same reason. */
export const BLACK_LEVEL = 1e-4;

/**
 * Pixels in a crop: 32 x 32 = 1,024, so one pixel is 0.1 %. With 0.998 the two strictest counts are 2 of 1,024 and
 * 8 of 4,096; below 1,000 pixels the fraction alone would already ask for a second verifier over a single pixel or
 * two. At the measured 3e-5 per pixel an honest 32 x 32 crop has three or more differing pixels about 5 times in a
 * million (Poisson, mean 0.03), so two are forgiven everywhere; a fake changes hundreds.
 */
const PIXELS_FORGIVEN = 2;

export const THRESHOLDS = {
  sameClass: {
    // Largest distance measured for any claim of the right frame: 4 (64 samples against 4); two pictures: about 32.
    perceptualHashGate: 10,
    // Honest 0.9999 and up. The fakes measured stay below 0.56, but for fewer bounces, which in one scene reached 0.99
    // (facts.md 2): that is left to a second verifier, and never paid.
    passFraction: 0.998,
    // Ten times the pass limit's share: nothing honest was ever seen there, so it may cost somebody his stake.
    failFraction: 0.98,
    pixelsForgiven: PIXELS_FORGIVEN,
    noiseRatioLimit: null,
  },
  /** Two CPU classes, measured with AVX2 switched off (facts.md 2). No pair with a GPU has been measured yet. */
  otherCpuClass: {
    perceptualHashGate: 10,
    // Honest 0.985 to 0.9999 on three scenes; a little below the worst of them.
    passFraction: 0.98,
    // The noisiest fakes reach 0.56, few bounces up to 0.99: what lies between is for a verifier of the same class.
    failFraction: 0.9,
    pixelsForgiven: PIXELS_FORGIVEN,
    // Honest up to 0.005, 98 % of the samples from 0.04: between them, nearer to the honest side.
    noiseRatioLimit: 0.02,
  },
} as const satisfies Record<ThresholdsName, CompareThresholds>;

type EngineClass = { engine: string; deviceClass: string };

/**
 * The row for a claim and the class that it is checked on; null where there is none yet, as for GPUs. Two CPUs only of the
 * very same engine: another build of it was never compared.
 */
export function thresholdsFor(claim: EngineClass, reference: EngineClass): ThresholdsName | null {
  if (claim.engine !== reference.engine) return null;
  if (claim.deviceClass === reference.deviceClass) return 'sameClass';
  const cpus = [claim, reference].every(({ deviceClass }) => deviceClass.startsWith('cpu-'));
  return cpus ? 'otherCpuClass' : null;
}

/** Limits for two 8-bit pictures that come out of finish. */
export const PICTURE_THRESHOLDS = {
  // Finish is deterministic (0 of 388,800 values, facts.md 1). Where its input was merged again from tiles whose
  // pixels moved by 1e-3, a value next to a rounding border flips by one step, and by no more.
  passWithinOne: 0.998,
  failWithinOne: 0.98,
  // 5 % of the pixels move by 1e-3 or less, a quarter of an 8-bit step at most: 1.3 % can flip. More flips than that
  // are an edit that hides below one step, such as a picture 0.3 % brighter.
  passDiffering: 0.02,
} as const;
