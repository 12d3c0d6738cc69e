/**
 * Pixels from numbers alone: each value is a hash of scene, frame, samples, place and channel. Which rectangle a pixel
 * was rendered in is no part of it, so tiles are crops of the whole frame.
 */
import { imageFromPlanes, type PixelImage } from '../../../proof/pixels.ts';
import type { Precision } from '../../../protocol/output.ts';
import type { Rect } from '../../../protocol/rect.ts';
import type { LoadedScene } from './scene.ts';

/** As Blender names the picture of its first view layer. */
export const LAYER = 'ViewLayer';
const PASS = `${LAYER}.Combined`;
/** In the order of a picture, not of an image. */
export const CHANNELS = ['R', 'G', 'B', 'A'].map((name) => `${PASS}.${name}`);
const OPAQUE = 1;

/** Values with so many bits are exact in a float, or in a half. */
const BITS: Readonly<Record<Precision, number>> = { float: 24, half: 11 };

/** So many pixels take some milliseconds: between two bands a session can stop and others have their turn. */
const BAND_PIXELS = 2 ** 15;

export type PixelSource = {
  scene: Pick<LoadedScene, 'key' | 'seed'>;
  frame: number;
  samples: number;
  /** Other samples are other numbers; no mean of two parts is the whole here. */
  sampleOffset: number;
  precision: Precision;
};

/** The finaliser of MurmurHash3: every bit of the input moves half of the output's. */
function mix(value: number): number {
  let hash = value ^ (value >>> 16);
  hash = Math.imul(hash, 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return hash ^ (hash >>> 16);
}

/** Order counts, and 0 is a number like any other. */
function hashOf(numbers: readonly number[]): number {
  return numbers.reduce((hash, number) => mix(Math.imul(hash, 31) + number + 1), 0);
}

/** Seeds may have more than 32 bits. */
function halves(number: number): [number, number] {
  return [number >>> 0, Math.floor(number / 2 ** 32)];
}

/** The pixels of a rectangle of the full frame. `onBand` hears how far it is, and stops it by throwing. */
export async function makePixels(
  { scene, frame, samples, sampleOffset, precision }: PixelSource,
  rect: Rect,
  onBand: (fraction: number) => Promise<void>,
): Promise<PixelImage> {
  const { width, height } = rect;
  // Left out where nothing is skipped: these pixels are the same since version 1.
  const skipped = sampleOffset === 0 ? [] : [sampleOffset];
  const key = hashOf([scene.key, ...halves(scene.seed), frame, samples, ...skipped]);
  const shift = 32 - BITS[precision];
  const scale = 2 ** BITS[precision];
  const colours = [0, 1, 2].map(() => new Float32Array(width * height));
  const rowsPerBand = Math.max(1, Math.floor(BAND_PIXELS / width));
  for (let row = 0; row < height; row++) {
    if (row % rowsPerBand === 0) await onBand(row / height);
    const rowKey = mix(key ^ mix(rect.y + row));
    for (let column = 0; column < width; column++) {
      const pixelKey = mix(rowKey + rect.x + column);
      for (const [channel, values] of colours.entries())
        values[row * width + column] = (mix(pixelKey + channel) >>> shift) / scale;
    }
  }
  await onBand(1);
  const planes = [...colours, new Float32Array(width * height).fill(OPAQUE)];
  return imageFromPlanes(
    width,
    height,
    Object.fromEntries(CHANNELS.map((name, index) => [name, planes[index] as Float32Array])),
  );
}
