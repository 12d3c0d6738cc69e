/** A picture of where a claim differs from the reference. */
import { FarmError } from '../protocol/errors.ts';
import { comparedPasses, matchFloor } from './compared-passes.ts';
import { relativeErrors } from './pixel-match.ts';
import type { PixelImage } from './pixels.ts';

/** `rgba`: width * height * 4 values of sRGB and alpha, rows top-down. */
export type HeatMap = { width: number; height: number; rgba: Uint8ClampedArray };

/**
 * Five points of matplotlib's "inferno" (S. van der Walt and N. Smith, 2015, public domain). Its lightness grows
 * steadily from black to pale yellow, so it reads the same without colour vision and in black and white.
 */
const SCALE: readonly (readonly [number, number, number])[] = [
  [0, 0, 4],
  [87, 16, 110],
  [188, 55, 84],
  [249, 142, 9],
  [252, 255, 164],
];

/** Relative errors from 1e-4 up to 1 and above, by decades; the tolerance of 1e-3 is where the first quarter ends. */
const DARK_DECADE = -4;
const DECADES = 4;

const SHADES = 256;

/** The scale in as many shades as a picture's channel has, made once: a frame has millions of pixels. */
const PALETTE = Array.from({ length: SHADES }, (_, shade): readonly [number, number, number] => {
  const position = (shade / (SHADES - 1)) * (SCALE.length - 1);
  const lower = Math.min(SCALE.length - 2, Math.floor(position));
  const from = SCALE[lower] as readonly [number, number, number];
  const to = SCALE[lower + 1] as readonly [number, number, number];
  const share = position - lower;
  const mix = (channel: 0 | 1 | 2): number =>
    Math.round(from[channel] + share * (to[channel] - from[channel]));
  return [mix(0), mix(1), mix(2)];
});

/** The colour of a relative error: black up to 1e-4, purple at 1e-3, red at 1e-2, orange at 0.1, yellow from 1 on. */
export function heatColor(relativeError: number): readonly [number, number, number] {
  const share = (Math.log10(relativeError) - DARK_DECADE) / DECADES;
  const shade = share > 0 ? Math.round(Math.min(1, share) * (SHADES - 1)) : 0;
  return PALETTE[shade] as readonly [number, number, number];
}

/**
 * The relative error of every pixel ({@link relativeErrors}) as a colour. A value that is not finite on one side only is
 * drawn as the largest error.
 * @throws FarmError MESSAGE_INVALID when size or channels differ: there is nothing to lay side by side.
 */
export function heatMap(reference: PixelImage, claim: PixelImage): HeatMap {
  const { width, height } = reference;
  if (
    claim.width !== width ||
    claim.height !== height ||
    claim.channels.join() !== reference.channels.join()
  ) {
    throw new FarmError('MESSAGE_INVALID', 'a heat map needs two images of the same size and channels');
  }
  const passes = comparedPasses(reference);
  const errors = relativeErrors(passes, comparedPasses(claim), passes.map(matchFloor));
  const rgba = new Uint8ClampedArray(width * height * 4);
  for (let i = 0; i < errors.length; i++) {
    const [red, green, blue] = heatColor(errors[i] as number);
    rgba[i * 4] = red;
    rgba[i * 4 + 1] = green;
    rgba[i * 4 + 2] = blue;
    rgba[i * 4 + 3] = 255;
  }
  return { width, height, rgba };
}
