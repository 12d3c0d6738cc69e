/** What cheats do to pixels, on every colour channel of an image alike. */
import { crop, type PixelImage } from '../../proof/pixels.ts';

type Plane = { data: Float32Array; width: number; height: number };
type At = (x: number, y: number) => number;

/** Depth, normals, cryptomatte and the alpha of a solid picture are free of noise: who cheats leaves them alone. */
const isColour = (channel: string): boolean => /(^|\.)[RGB]$/.test(channel);

/** The value at the nearest pixel that there is. */
function reader({ data, width, height }: Plane): At {
  return (x, y) =>
    data[Math.min(height - 1, Math.max(0, y)) * width + Math.min(width - 1, Math.max(0, x))] as number;
}

function mapped(image: PixelImage, value: (at: At, x: number, y: number) => number): PixelImage {
  const { width, height, channels } = image;
  const size = width * height;
  const data = new Float32Array(image.data);
  for (const [index, channel] of channels.entries()) {
    if (!isColour(channel)) continue;
    const at = reader({ data: image.data.subarray(index * size, (index + 1) * size), width, height });
    for (let i = 0; i < size; i++) data[index * size + i] = value(at, i % width, Math.floor(i / width));
  }
  return { ...image, data };
}

const AROUND = [-1, 0, 1] as const;

function neighbours(at: At, x: number, y: number): number[] {
  return AROUND.flatMap((dy) => AROUND.map((dx) => at(x + dx, y + dy)));
}

export function medianFiltered(image: PixelImage): PixelImage {
  return mapped(image, (at, x, y) => neighbours(at, x, y).sort((a, b) => a - b)[4] as number);
}

export function boxFiltered(image: PixelImage): PixelImage {
  return mapped(image, (at, x, y) => neighbours(at, x, y).reduce((sum, value) => sum + value, 0) / 9);
}

/**
 * Four pixels become one and are drawn four times as large, bilinearly. Rendering at half size has a quarter of the
 * samples in all; averaging an honest render is better than that, so it is harder to catch.
 */
export function halved(image: PixelImage): PixelImage {
  return mapped(image, (at, x, y) => {
    const mean = (cellX: number, cellY: number): number => {
      const [left, top] = [2 * cellX, 2 * cellY];
      return (at(left, top) + at(left + 1, top) + at(left, top + 1) + at(left + 1, top + 1)) / 4;
    };
    // Centres of the large pixels lie between the small ones.
    const [u, v] = [(x - 0.5) / 2, (y - 0.5) / 2];
    const [cellX, cellY] = [Math.floor(u), Math.floor(v)];
    const [right, below] = [u - cellX, v - cellY];
    const upper = mean(cellX, cellY) * (1 - right) + mean(cellX + 1, cellY) * right;
    const lower = mean(cellX, cellY + 1) * (1 - right) + mean(cellX + 1, cellY + 1) * right;
    return upper * (1 - below) + lower * below;
  });
}

export function brightened(image: PixelImage, factor: number): PixelImage {
  return mapped(image, (at, x, y) => at(x, y) * factor);
}

export function blackened(image: PixelImage): PixelImage {
  return mapped(image, () => 0);
}

export function notANumber(image: PixelImage): PixelImage {
  return mapped(image, () => Number.NaN);
}

/** Without its last column: what a node that mixes up its tiles, or hopes that nobody counts, would hand in. */
export function narrowed(image: PixelImage): PixelImage {
  return crop(image, { x: 0, y: 0, width: image.width - 1, height: image.height });
}

/** Looks like 3 % of noise; the same every time, as a cheat with a seed of its own would have it. */
export function noisy(image: PixelImage): PixelImage {
  return mapped(image, (at, x, y) => {
    // A hash of the place: Weyl's two irrational steps.
    const random = (x * 0.754877666 + y * 0.569840291) % 1;
    return at(x, y) * (1 + 0.06 * (random - 0.5));
  });
}

/** The upper rows of `faked`, as large a share of them as is said, over the others of `honest`. */
export function partly(faked: PixelImage, honest: PixelImage, share: number): PixelImage {
  const { width, height, channels } = honest;
  const rows = Math.round(height * share);
  const data = new Float32Array(honest.data);
  for (let channel = 0; channel < channels.length; channel++) {
    const from = channel * width * height;
    data.set(faked.data.subarray(from, from + rows * width), from);
  }
  return { ...honest, data };
}
