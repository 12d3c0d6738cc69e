/** One comparison of a bundle of evidence, taken again from its pixels. Pure. */
import { compareCrops } from '../../proof/compare.ts';
import { type PixelImage, pixelDigest } from '../../proof/pixels.ts';
import { THRESHOLDS } from '../../proof/thresholds.ts';
import type { Comparison, Evidence } from '../../protocol/verdict.ts';

export type Replayed = { index: number; holds: boolean; detail: string };

/** Fractions travel through JSON unharmed; the arithmetic is the same code over the same floats. */
export function replayComparison(
  recorded: Comparison,
  thresholds: Evidence['thresholds'],
  pixels: { reference: PixelImage; claim: PixelImage },
): Replayed {
  const { index } = recorded;
  for (const side of ['reference', 'claim'] as const) {
    if (pixelDigest(pixels[side]) !== recorded[side]?.pixelDigest) {
      return { index, holds: false, detail: `the pixels of the ${side} are not those that were compared` };
    }
  }
  const { noiseVariance } = recorded;
  const again = compareCrops(pixels.reference, pixels.claim, {
    thresholds: THRESHOLDS[thresholds],
    noiseVariance,
  });
  const numbers = ['pixelMatchFraction', 'perceptualHashDistance', 'perceptualHashAloneWouldPay'] as const;
  const other = numbers.find((name) => again[name] !== recorded[name]);
  if (other !== undefined) {
    return {
      index,
      holds: false,
      detail: `${other} is ${again[other]}, the evidence says ${recorded[other]}`,
    };
  }
  // A picture or a file of it may have failed although its pixels passed: that is said, and not repeated here.
  const beyond = recorded.decidedBy === 'picture' || recorded.decidedBy === 'extraFiles';
  if (again.outcome !== recorded.outcome && !(beyond && again.outcome === 'pass')) {
    return { index, holds: false, detail: `it is ${again.outcome}, the evidence says ${recorded.outcome}` };
  }
  return { index, holds: true, detail: 'the same numbers from the stored pixels' };
}

/**
 * Whether this machine renders what the verifier rendered. One class renders the same but for the pixels that the
 * thresholds forgive; where only a digest was kept, other pixels are no proof of anything.
 */
export function sameAsReference(
  recorded: Comparison,
  again: PixelImage,
  reference: PixelImage | null,
): Replayed {
  const { index } = recorded;
  if (pixelDigest(again) === recorded.reference?.pixelDigest) {
    return { index, holds: true, detail: 'this machine renders the same pixels as the verifier' };
  }
  if (reference === null) return { index, holds: true, detail: 'rendered here it is not equal in every bit' };
  const { outcome, pixelMatchFraction } = compareCrops(reference, again);
  const percent = (100 * (pixelMatchFraction ?? 0)).toFixed(2);
  return {
    index,
    holds: outcome === 'pass',
    detail: `this machine renders ${percent} % of the verifier's pixels`,
  };
}
