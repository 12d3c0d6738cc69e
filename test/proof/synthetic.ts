/** Made-up crops for the tests: a scene as a formula, rendered by averaging noisy samples that a seed fixes. */
import { imageFromPlanes, type PixelImage } from '../../proof/pixels.ts';

const CHANNELS = ['R', 'G', 'B'] as const;

/** A number in [0, 1) from four whole numbers (a 32-bit mix in the manner of Murmur3's finaliser). */
export function hashed(a: number, b: number, c: number, d: number): number {
  let h = Math.imul(a + 1, 0x85ebca6b) ^ Math.imul(b + 7, 0xc2b2ae35) ^ Math.imul(c + 13, 0x27d4eb2f);
  h ^= Math.imul(d + 17, 0x165667b1);
  for (const factor of [0x85ebca6b, 0xc2b2ae35, 0x27d4eb2f]) {
    h ^= h >>> 15;
    h = Math.imul(h, factor);
  }
  return ((h ^ (h >>> 16)) >>> 0) / 2 ** 32;
}

export type SceneOptions = {
  side?: number;
  samples?: number;
  seed?: number;
  /** Which picture: another number, another content. */
  scene?: number;
};

/** Light of a scene at a place, without noise: a gradient, bars and discs, up to about 2 in linear light. */
function light(scene: number, channel: number, u: number, v: number): number {
  let value = 0.15 + 0.3 * u + 0.2 * hashed(scene, channel, 0, 1) * v;
  for (let disc = 0; disc < 9; disc++) {
    const x = hashed(scene, disc, 1, 0) - u;
    const y = hashed(scene, disc, 2, 0) - v;
    const radius = 0.05 + 0.2 * hashed(scene, disc, 3, 0);
    if (x * x + y * y < radius * radius) value = 0.02 + 1.6 * hashed(scene, disc, 4, channel);
  }
  return value;
}

/** A crop of the Combined pass; `samples` of 64 by default, each 60 % noisy, so that 64 leave about 4 %. */
export function render(options: SceneOptions = {}): PixelImage {
  const { side = 48, samples = 64, seed = 1, scene = 1 } = options;
  const planes: Record<string, Float32Array> = {
    'ViewLayer.Combined.A': new Float32Array(side * side).fill(1),
  };
  for (const [channel, letter] of CHANNELS.entries()) {
    const plane = new Float32Array(side * side);
    for (let i = 0; i < plane.length; i++) {
      const clean = light(scene, channel, (i % side) / side, Math.floor(i / side) / side);
      let sum = 0;
      for (let sample = 0; sample < samples; sample++) sum += hashed(seed, i, sample, channel) - 0.5;
      plane[i] = clean * (1 + (1.2 * Math.sqrt(3) * sum) / samples);
    }
    planes[`ViewLayer.Combined.${letter}`] = plane;
  }
  return imageFromPlanes(side, side, planes);
}

/** A copy with every value replaced; `pixel` counts row by row, alpha is left alone. */
export function edit(
  image: PixelImage,
  change: (value: number, pixel: number, channel: string) => number,
): PixelImage {
  const pixels = image.width * image.height;
  const data = image.data.map((value, i) => {
    const channel = image.channels[Math.floor(i / pixels)] as string;
    return channel.endsWith('.A') ? value : change(value, i % pixels, channel);
  });
  return { ...image, data };
}

/** A copy in which every colour value is computed from the plane around it. */
function filter(
  image: PixelImage,
  at: (read: (x: number, y: number) => number, x: number, y: number) => number,
) {
  const { width, height } = image;
  const pixels = width * height;
  const data = image.data.map((value, i) => {
    const channel = Math.floor(i / pixels);
    if ((image.channels[channel] as string).endsWith('.A')) return value;
    const read = (x: number, y: number): number =>
      image.data[
        channel * pixels + Math.min(height - 1, Math.max(0, y)) * width + Math.min(width - 1, Math.max(0, x))
      ] as number;
    return at(read, i % width, Math.floor((i % pixels) / width));
  });
  return { ...image, data };
}

export function median3(image: PixelImage): PixelImage {
  return filter(image, (read, x, y) => {
    const near: number[] = [];
    for (const dy of [-1, 0, 1]) for (const dx of [-1, 0, 1]) near.push(read(x + dx, y + dy));
    return near.sort((a, b) => a - b)[4] as number;
  });
}

export function halfResolution(image: PixelImage): PixelImage {
  return filter(image, (read, x, y) => {
    const left = x - (x % 2);
    const top = y - (y % 2);
    return (read(left, top) + read(left + 1, top) + read(left, top + 1) + read(left + 1, top + 1)) / 4;
  });
}
