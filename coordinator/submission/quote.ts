/** What a task costs: fixed before anything is paid, from pixels and samples alone, so that a quote is exact. */

import { assertNever } from '../../protocol/errors.ts';
import type { TaskKind } from '../../protocol/receipt.ts';
import type { Rect } from '../../protocol/rect.ts';

/**
 * Price of a thousand pixel samples in the token's smallest unit (6 decimals): 20 units make a full-HD frame of 128
 * samples cost about 5.3 TESS. A later version prices by the measured seconds of a probe render.
 */
const UNITS_PER_1000_SAMPLES = 20n;

/** Merging and compositing a pixel costs about as much time as four samples of it (0.12 s against 1.65 s at 64 samples). */
const FINISH_SAMPLES_PER_PIXEL = 4;

/** What each kind does to a pixel, in samples. */
function samplesPerPixel(kind: TaskKind, samples: number): number {
  switch (kind) {
    case 'render':
      return samples;
    case 'finish':
      return FINISH_SAMPLES_PER_PIXEL;
    case 'frame':
      return samples + FINISH_SAMPLES_PER_PIXEL;
    default:
      return assertNever(kind);
  }
}

/** Price of one task in the token's smallest unit, at least one unit, rounded up. */
export function taskPrice(kind: TaskKind, rect: Rect, samples: number): bigint {
  const pixelSamples = BigInt(rect.width) * BigInt(rect.height) * BigInt(samplesPerPixel(kind, samples));
  return (pixelSamples * UNITS_PER_1000_SAMPLES + 999n) / 1000n;
}
