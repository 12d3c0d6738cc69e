/** The last step of a comparison: how much of the reference's own noise the differences are. */
import type { ComparisonStep } from '../protocol/verdict.ts';
import { PIXEL_TOLERANCE } from './thresholds.ts';

/**
 * R, the mean squared error over the variance of the reference's noise, with its step: a passing match becomes "not sure"
 * where R must be known and small, and is not. Null where the variance is unknown or next to nothing.
 * @param floors one per pass, as for the pixel match.
 * @param limit null where R is only recorded.
 */
export function noiseRatioStep(
  meanSquare: number,
  variance: number | undefined,
  floors: readonly number[],
  limit: number | null,
): { ratio: number | null; step: ComparisonStep } {
  if (variance !== undefined && isQuiet(variance, floors)) {
    const detail = 'the reference has next to no noise';
    return { ratio: null, step: { step: 'noiseRatio', result: 'undecided', detail } };
  }
  const ratio = variance === undefined ? null : meanSquare / variance;
  const detail = ratio === null ? 'the noise of the reference is not known' : `R = ${ratio.toPrecision(3)}`;
  const bad = limit !== null && (ratio === null || ratio > limit);
  return { ratio, step: { step: 'noiseRatio', result: bad ? 'inconclusive' : 'undecided', detail } };
}

/**
 * Noise that stays within the tolerance of the darkest pixels: fewer samples would have given the same picture, and R would
 * divide the rounding of floats by itself.
 */
function isQuiet(variance: number, floors: readonly number[]): boolean {
  return variance <= (PIXEL_TOLERANCE * Math.min(...floors)) ** 2;
}
