/** Which of a pixel's samples a render takes. */
import { FarmError } from '../../protocol/errors.ts';

/** Where Blender stops; it would cut a larger number off without a word. */
const MAX_SAMPLE_OFFSET = 2 ** 24;

/** @throws FarmError MESSAGE_INVALID unless so many samples can be skipped. */
export function requireSampleOffset(offset: number): void {
  if (Number.isInteger(offset) && offset >= 0 && offset <= MAX_SAMPLE_OFFSET) return;
  throw new FarmError(
    'MESSAGE_INVALID',
    `${offset} samples cannot be skipped: it takes a whole number from 0 to ${MAX_SAMPLE_OFFSET}`,
  );
}
