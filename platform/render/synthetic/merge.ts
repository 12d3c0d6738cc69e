/** Tiles back to a frame. */
import { imageFromPlanes, type PixelImage, plane } from '../../../proof/pixels.ts';
import { FarmError } from '../../../protocol/errors.ts';
import type { Rect } from '../../../protocol/rect.ts';
import type { FinishTile } from '../runtime.ts';
import { invalidFile, readImage } from './files.ts';
import { CHANNELS } from './pixels.ts';

export function isInside(inner: Rect, outer: Rect): boolean {
  return (
    inner.x >= outer.x &&
    inner.y >= outer.y &&
    inner.width >= 1 &&
    inner.height >= 1 &&
    inner.x + inner.width <= outer.x + outer.width &&
    inner.y + inner.height <= outer.y + outer.height
  );
}

export function shown({ x, y, width, height }: Rect): string {
  return `${width}x${height} at ${x},${y}`;
}

/** Throws MESSAGE_INVALID unless every pixel of the region is in exactly one tile. */
function requireCover(region: Rect, tiles: readonly FinishTile[]): void {
  const covered = new Uint8Array(region.width * region.height);
  let pixels = 0;
  for (const { rect } of tiles) {
    if (!isInside(rect, region))
      throw new FarmError('MESSAGE_INVALID', `the tile ${shown(rect)} is not inside ${shown(region)}`);
    for (let row = 0; row < rect.height; row++) {
      const start = (rect.y - region.y + row) * region.width + rect.x - region.x;
      if (covered.subarray(start, start + rect.width).includes(1))
        throw new FarmError('MESSAGE_INVALID', `the tile ${shown(rect)} lies on another one`);
      covered.fill(1, start, start + rect.width);
    }
    pixels += rect.width * rect.height;
  }
  const missing = covered.length - pixels;
  if (missing > 0) throw new FarmError('MESSAGE_INVALID', `${missing} pixels of the region are in no tile`);
}

/** The region, put together. `onTile` hears how far it is, and stops it by throwing. */
export async function mergeTiles(
  region: Rect,
  tiles: readonly FinishTile[],
  onTile: (fraction: number) => Promise<void>,
): Promise<PixelImage> {
  requireCover(region, tiles);
  const planes = Object.fromEntries(
    CHANNELS.map((name) => [name, new Float32Array(region.width * region.height)]),
  );
  for (const [index, { rect, path }] of tiles.entries()) {
    await onTile(index / tiles.length);
    const image = await readImage(path);
    if (image.width !== rect.width || image.height !== rect.height)
      throw invalidFile(path, `it is ${image.width}x${image.height}, not ${rect.width}x${rect.height}`);
    for (const [name, target] of Object.entries(planes)) {
      const source = plane(image, name);
      if (source === undefined || image.channels.length !== CHANNELS.length)
        throw invalidFile(path, `its channels are ${image.channels.join(', ')}`);
      put(source, rect, target, region);
    }
  }
  await onTile(1);
  return imageFromPlanes(region.width, region.height, planes);
}

function put(source: Float32Array, rect: Rect, target: Float32Array, region: Rect): void {
  for (let row = 0; row < rect.height; row++) {
    const start = (rect.y - region.y + row) * region.width + rect.x - region.x;
    target.set(source.subarray(row * rect.width, (row + 1) * rect.width), start);
  }
}
