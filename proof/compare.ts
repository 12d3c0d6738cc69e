/**
 * The comparison of a claimed crop with the verifier's own render of it (design.md 7.5): digest, sanity, perceptual
 * hash, pixel match, and across device classes the noise ratio. The first step that decides, decides; the numbers of
 * the others are computed all the same, so that a report shows what each alone would have said.
 */
import type { ComparisonStep, Outcome, StepName } from '../protocol/verdict.ts';
import { type ComparedPass, comparedPasses, matchFloor } from './compared-passes.ts';
import { noiseRatioStep } from './noise-ratio.ts';
import { hammingDistance, perceptualHash, perceptualHashHex } from './perceptual-hash.ts';
import { checkImage } from './pixel-format.ts';
import { matchOfEqual, matchPixels, type PixelMatch } from './pixel-match.ts';
import type { PixelImage } from './pixels.ts';
import { samePixels } from './same-pixels.ts';
import { BLACK_LEVEL, type CompareThresholds, THRESHOLDS } from './thresholds.ts';

/** Everything that a comparison found; plain data for JSON. Null: could not be computed, since size or channels differ. */
export type CropComparison = {
  outcome: Outcome;
  decidedBy: StepName;
  /** In the order of the cascade. */
  steps: ComparisonStep[];
  pixels: number | null;
  mismatchedPixels: number | null;
  pixelMatchFraction: number | null;
  /** Bits of 64; the largest of the passes where there are several view layers. */
  perceptualHashDistance: number | null;
  /** 16 hex digits per pass. */
  perceptualHashes: { pass: string; reference: string; claim: string }[];
  /** What a farm that trusts the perceptual hash would have done. */
  perceptualHashAloneWouldPay: boolean;
  maxAbsDifference: number | null;
  rmse: number | null;
  /** R: mean squared error over the variance of the reference's own noise; null where that is unknown or next to nothing. */
  noiseRatio: number | null;
  thresholds: CompareThresholds;
};

export type CompareOptions = {
  /** One row of THRESHOLDS; same class when left out. */
  thresholds?: CompareThresholds;
  /** Variance of the reference's noise, from `noiseVarianceOfHalves`; left out, it is not known. */
  noiseVariance?: number | undefined;
};

function shapeProblem(reference: PixelImage, claim: PixelImage): string | null {
  if (reference.width !== claim.width || reference.height !== claim.height) {
    return `${claim.width} x ${claim.height} pixels instead of ${reference.width} x ${reference.height}`;
  }
  if (reference.channels.join('\n') !== claim.channels.join('\n')) return 'other channels than the reference';
  return null;
}

/** Of all pixels, counted over those that luma is known of. */
function brightPixels(passes: readonly ComparedPass[], pixels: number): number {
  const lit = new Uint8Array(passes[0]?.luma.values.length ?? 0);
  let count = 0;
  for (const { luma } of passes) {
    for (let i = 0; i < lit.length; i++) {
      if (lit[i] === 1 || !((luma.values[i] as number) > BLACK_LEVEL)) continue;
      lit[i] = 1;
      count++;
    }
  }
  return Math.round((count * pixels) / Math.max(1, lit.length));
}

function sanityStep(
  reference: readonly ComparedPass[],
  claim: readonly ComparedPass[],
  match: PixelMatch,
  thresholds: CompareThresholds,
): ComparisonStep {
  if (match.nonFiniteValues > 0) {
    const detail = `${match.nonFiniteValues} values are not finite where the reference is`;
    return { step: 'sanity', result: 'fail', detail };
  }
  // Only where so much of the reference is lit that pixel match would fail as well: a lone star may be missed.
  const lit = brightPixels(reference, match.pixels);
  const enough = Math.max(thresholds.pixelsForgiven, (1 - thresholds.failFraction) * match.pixels);
  if (lit > enough && brightPixels(claim, match.pixels) === 0) {
    return { step: 'sanity', result: 'fail', detail: `black, where the reference has ${lit} lit pixels` };
  }
  return { step: 'sanity', result: 'undecided', detail: 'size, channels and values are sound' };
}

/**
 * Few pixels: in a crop of 1,024, 2 may differ; in a smaller one the fraction passes at none, so up to
 * `pixelsForgiven` pass as long as they are less than the failing share, and never fail.
 */
function pixelMatchStep(match: PixelMatch, thresholds: CompareThresholds): ComparisonStep {
  const { mismatchedPixels, pixelMatchFraction, pixels } = match;
  const few = mismatchedPixels <= thresholds.pixelsForgiven;
  const detail = `${mismatchedPixels} of ${pixels} pixels differ, ${(100 * pixelMatchFraction).toFixed(2)} % match`;
  const low = pixelMatchFraction <= thresholds.failFraction;
  if (low) return { step: 'pixelMatch', result: few ? 'inconclusive' : 'fail', detail };
  const pass = pixelMatchFraction >= thresholds.passFraction || few;
  return { step: 'pixelMatch', result: pass ? 'pass' : 'inconclusive', detail };
}

function perceptualHashStep(distance: number, gate: number, pixelMatch: ComparisonStep): ComparisonStep {
  const detail = `distance ${distance} of 64, gate ${gate}`;
  if (distance <= gate) return { step: 'perceptualHash', result: 'undecided', detail };
  // A hash is weaker evidence than the pixels it was made of: against a passing match it may only ask for another look.
  return { step: 'perceptualHash', result: pixelMatch.result === 'pass' ? 'inconclusive' : 'fail', detail };
}

function decide(steps: readonly ComparisonStep[]): { outcome: Outcome; decidedBy: StepName } {
  const noise = steps.find(({ step }) => step === 'noiseRatio');
  for (const { step, result } of steps) {
    if (result === 'undecided') continue;
    if (step === 'pixelMatch' && result === 'pass' && noise?.result === 'inconclusive') {
      return { outcome: 'inconclusive', decidedBy: 'noiseRatio' };
    }
    return { outcome: result, decidedBy: step };
  }
  return { outcome: 'inconclusive', decidedBy: 'pixelMatch' };
}

/**
 * Compares a claimed crop with the reference. Both hold linear floats; the Combined passes are compared, one per view
 * layer (all channels where there is none), and two images that would have one digest pass at once.
 * @throws FarmError MESSAGE_INVALID when an image is malformed in itself (a wrong size or channel is a `fail`).
 */
export function compareCrops(
  reference: PixelImage,
  claim: PixelImage,
  options: CompareOptions = {},
): CropComparison {
  const thresholds = options.thresholds ?? THRESHOLDS.sameClass;
  checkImage(reference);
  checkImage(claim);
  const equal = samePixels(reference, claim);
  const digestStep: ComparisonStep = {
    step: 'digest',
    result: equal ? 'pass' : 'undecided',
    detail: equal ? 'every pixel is equal' : 'the pixels are not all equal',
  };
  const problem = shapeProblem(reference, claim);
  if (problem !== null) {
    return {
      outcome: 'fail',
      decidedBy: 'sanity',
      steps: [digestStep, { step: 'sanity', result: 'fail', detail: problem }],
      ...{ thresholds, pixels: null, mismatchedPixels: null },
      ...{ pixelMatchFraction: null, perceptualHashDistance: null, perceptualHashes: [] },
      ...{ perceptualHashAloneWouldPay: false, maxAbsDifference: null, rmse: null, noiseRatio: null },
    };
  }

  const ours = comparedPasses(reference);
  // Nothing of what is equal needs to be laid side by side again.
  const theirs = equal ? ours : comparedPasses(claim);
  const floors = ours.map(matchFloor);
  const match = equal ? matchOfEqual(ours) : matchPixels(ours, theirs, floors);
  const hashes = ours.map((pass, index) => ({
    pass: pass.name,
    reference: perceptualHash(pass.luma),
    claim: perceptualHash((theirs[index] as ComparedPass).luma),
  }));
  const distance = Math.max(...hashes.map((pair) => hammingDistance(pair.reference, pair.claim)));
  const noise = noiseRatioStep(match.meanSquare, options.noiseVariance, floors, thresholds.noiseRatioLimit);
  const pixelMatch = pixelMatchStep(match, thresholds);
  const steps = [
    digestStep,
    sanityStep(ours, theirs, match, thresholds),
    perceptualHashStep(distance, thresholds.perceptualHashGate, pixelMatch),
    pixelMatch,
    noise.step,
  ];
  return {
    ...decide(steps),
    steps,
    pixels: match.pixels,
    mismatchedPixels: match.mismatchedPixels,
    pixelMatchFraction: match.pixelMatchFraction,
    perceptualHashDistance: distance,
    perceptualHashes: hashes.map((pair) => ({
      pass: pair.pass,
      reference: perceptualHashHex(pair.reference),
      claim: perceptualHashHex(pair.claim),
    })),
    perceptualHashAloneWouldPay: distance <= thresholds.perceptualHashGate,
    maxAbsDifference: match.maxAbsDifference,
    rmse: Math.sqrt(match.meanSquare),
    noiseRatio: noise.ratio,
    thresholds,
  };
}
