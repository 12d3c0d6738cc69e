/** The check of a finish task: the delivered 8-bit picture against the verifier's own run over the same pixels. */
import type { Outcome } from '../protocol/verdict.ts';
import { PICTURE_THRESHOLDS } from './thresholds.ts';

/** A decoded picture: width * height * 4 values, RGBA, rows top-down. */
export type Rgba8 = { width: number; height: number; data: Uint8Array | Uint8ClampedArray };

/** Null: the sizes differ, so values cannot be laid side by side. */
export type PictureComparison = {
  outcome: Outcome;
  detail: string;
  /** Compared values: width * height * 4. */
  values: number | null;
  differingValues: number | null;
  /** Values that differ by more than one step of 255. */
  beyondOne: number | null;
  maxDifference: number | null;
};

/**
 * Counts differing values. Passes when at least 99.8 % are within one step and at most 2 % differ at all (0 is what
 * a deterministic finish gives); fails at 98 % or less within one step, or another size; else inconclusive.
 */
export function comparePictures(reference: Rgba8, claim: Rgba8): PictureComparison {
  const values = reference.width * reference.height * 4;
  const sameSize = reference.width === claim.width && reference.height === claim.height;
  if (!sameSize || reference.data.length !== values || claim.data.length !== values) {
    const detail = `${claim.width} x ${claim.height} pixels instead of ${reference.width} x ${reference.height}`;
    return {
      outcome: 'fail',
      detail,
      values: null,
      differingValues: null,
      beyondOne: null,
      maxDifference: null,
    };
  }
  let differingValues = 0;
  let beyondOne = 0;
  let maxDifference = 0;
  for (let i = 0; i < values; i++) {
    const difference = Math.abs((reference.data[i] as number) - (claim.data[i] as number));
    if (difference === 0) continue;
    differingValues++;
    if (difference > 1) beyondOne++;
    if (difference > maxDifference) maxDifference = difference;
  }
  const withinOne = 1 - beyondOne / values;
  const { failWithinOne, passDiffering, passWithinOne } = PICTURE_THRESHOLDS;
  const passes = withinOne >= passWithinOne && differingValues <= passDiffering * values;
  const outcome = passes ? 'pass' : withinOne <= failWithinOne ? 'fail' : 'inconclusive';
  const detail = `${differingValues} of ${values} values differ, ${beyondOne} by more than one step, at most by ${maxDifference}`;
  return { outcome, detail, values, differingValues, beyondOne, maxDifference };
}
