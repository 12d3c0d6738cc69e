/** What of an image is compared: its Combined passes, each with a luma plane. */
import { combinedPasses, type PixelImage, passOf, plane } from './pixels.ts';
import { FLOOR_ABSOLUTE, FLOOR_OF_MEDIAN } from './thresholds.ts';

/** Relative luminance: width * height values, rows top-down, never below 0, always finite. */
export type Luma = { values: Float32Array; width: number; height: number };

/** One pass of an image. `planes` are in the order of the image's channels; each has one value per pixel. */
export type ComparedPass = {
  name: string;
  planes: readonly Float32Array[];
  /** Of every pixel, or of every n-th column and row of a side that has more than enough of them. */
  luma: Luma;
};

/**
 * A side of twice as many pixels is thinned: what luma is for (the median, the perceptual hash, whether anything is lit)
 * is known as well from these, and a frame has two million. What is drawn from a batch is smaller and is taken as it is.
 */
const ENOUGH = 256;

/** Weights of ITU-R BT.709 for linear light: Blender's scene linear space has these primaries unless told otherwise. */
const RED = 0.2126;
const GREEN = 0.7152;
const BLUE = 0.0722;

function usable(value: number): number {
  return value > 0 && value < Number.POSITIVE_INFINITY ? value : 0;
}

function lumaOf(image: PixelImage, pass: string, planes: readonly Float32Array[]): Luma {
  const stepX = Math.max(1, Math.floor(image.width / ENOUGH));
  const stepY = Math.max(1, Math.floor(image.height / ENOUGH));
  const width = Math.floor(image.width / stepX);
  const height = Math.floor(image.height / stepY);
  const [red, green, blue] = ['R', 'G', 'B'].map((letter) => plane(image, `${pass}.${letter}`));
  const values = new Float32Array(width * height);
  for (let row = 0; row < height; row++) {
    // From the middle of each group, so that the picture is not moved.
    const start = (row * stepY + (stepY >> 1)) * image.width + (stepX >> 1);
    for (let column = 0; column < width; column++) {
      const i = start + column * stepX;
      values[row * width + column] =
        red && green && blue
          ? // The weights add up to 1, so what is finite stays so.
            RED * usable(red[i] as number) +
            GREEN * usable(green[i] as number) +
            BLUE * usable(blue[i] as number)
          : mean(planes, i);
    }
  }
  return { values, width, height };
}

function mean(planes: readonly Float32Array[], i: number): number {
  let sum = 0;
  for (const values of planes) sum += usable(values[i] as number);
  return usable(sum / planes.length);
}

/**
 * The passes of an image that a comparison looks at: every Combined pass, one per view layer. A scene may switch
 * Combined off; then all of its channels together are one pass with an empty name, and luma is their mean.
 */
export function comparedPasses(image: PixelImage): ComparedPass[] {
  const names = combinedPasses(image);
  if (names.length === 0) {
    const planes = image.channels.map((channel) => plane(image, channel) as Float32Array);
    return [{ name: '', planes, luma: lumaOf(image, '', planes) }];
  }
  return names.map((name) => {
    const channels = image.channels.filter((channel) => passOf(channel) === name);
    const planes = channels.map((channel) => plane(image, channel) as Float32Array);
    return { name, planes, luma: lumaOf(image, name, planes) };
  });
}

function count(counts: Uint32Array, bucket: number): void {
  counts[bucket] = (counts[bucket] as number) + 1;
}

/** The bucket that the `rank`-th value falls in, and its rank inside it. */
function bucketOf(counts: Uint32Array, rank: number): { bucket: number; rest: number } {
  let rest = rank;
  let bucket = 0;
  while (rest >= (counts[bucket] as number)) {
    rest -= counts[bucket] as number;
    bucket++;
  }
  return { bucket, rest };
}

/**
 * The lower median: element floor((n - 1) / 2) of the values in ascending order. The values must be finite and not
 * negative, as luma is; then their bit patterns sort like the numbers, and two counts over 16 bits each find it exactly
 * in linear time (radix selection). 0 for no values.
 */
export function medianLuma(luma: Float32Array): number {
  if (luma.length === 0) return 0;
  const bits = new Uint32Array(luma.buffer, luma.byteOffset, luma.length);
  const high = new Uint32Array(2 ** 16);
  for (let i = 0; i < bits.length; i++) count(high, (bits[i] as number) >>> 16);
  const outer = bucketOf(high, Math.floor((bits.length - 1) / 2));
  const low = new Uint32Array(2 ** 16);
  for (let i = 0; i < bits.length; i++) {
    const value = bits[i] as number;
    if (value >>> 16 === outer.bucket) count(low, value & 0xffff);
  }
  const inner = bucketOf(low, outer.rest);
  return new Float32Array(new Uint32Array([outer.bucket * 2 ** 16 + inner.bucket]).buffer)[0] as number;
}

/** The smallest magnitude that a relative difference is taken of (design.md 7.5 d), from the reference's pass. */
export function matchFloor(reference: ComparedPass): number {
  return FLOOR_OF_MEDIAN * medianLuma(reference.luma.values) + FLOOR_ABSOLUTE;
}
