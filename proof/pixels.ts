/** Images of linear float channels: their digest, and cutting rectangles and passes out of them. */
import { sha256 } from 'ethers/crypto';
import { FarmError } from '../protocol/errors.ts';
import type { Digest } from '../protocol/ids.ts';
import type { Rect } from '../protocol/rect.ts';
import { canonicalBytes, checkImage, type PixelImage } from './pixel-format.ts';

export { canonicalBytes, type PixelImage, readRawPixels } from './pixel-format.ts';

/** The last part of the name of the pass that is looked at, compared and paid for. */
const COMBINED = 'Combined';

/**
 * SHA-256 of the image's canonical bytes: equal for equal pixels, whatever file they came in.
 *
 * ethers' `sha256` is `node:crypto` in Node and plain JavaScript in a browser, so it costs nothing here and runs there.
 * @throws FarmError MESSAGE_INVALID when the image is malformed.
 */
export function pixelDigest(image: PixelImage): Digest {
  // 64 lower-case hex digits by construction: the schema would check the same again.
  return sha256(canonicalBytes(image)).slice(2) as Digest;
}

/**
 * Puts an image together from planes of width * height values each (rows top-down), sorting the channels by name.
 * @throws FarmError MESSAGE_INVALID when a plane has another length or a name is not allowed.
 */
export function imageFromPlanes(
  width: number,
  height: number,
  planes: Readonly<Record<string, Float32Array>>,
): PixelImage {
  const entries = Object.entries(planes).sort(([a], [b]) => (a < b ? -1 : 1));
  const data = new Float32Array(width * height * entries.length);
  for (const [index, [name, plane]] of entries.entries()) {
    if (plane.length !== width * height) {
      throw new FarmError('MESSAGE_INVALID', `pixels: channel ${name} has ${plane.length} values`);
    }
    data.set(plane, index * width * height);
  }
  const image = { width, height, channels: entries.map(([name]) => name), data };
  checkImage(image);
  return image;
}

/**
 * Cuts a rectangle out of an image. `rect` is relative to the image's top left corner, not to the frame's.
 * @throws FarmError MESSAGE_INVALID when the rectangle does not lie inside the image.
 */
export function crop(image: PixelImage, rect: Rect): PixelImage {
  const inside =
    rect.x >= 0 && rect.y >= 0 && rect.x + rect.width <= image.width && rect.y + rect.height <= image.height;
  if (!inside || rect.width < 1 || rect.height < 1) {
    throw new FarmError(
      'MESSAGE_INVALID',
      `pixels: ${rect.width} x ${rect.height} at ${rect.x},${rect.y} is not inside ${image.width} x ${image.height}`,
    );
  }
  const data = new Float32Array(rect.width * rect.height * image.channels.length);
  let target = 0;
  for (let channel = 0; channel < image.channels.length; channel++) {
    for (let row = 0; row < rect.height; row++) {
      const start = (channel * image.height + rect.y + row) * image.width + rect.x;
      data.set(image.data.subarray(start, start + rect.width), target);
      target += rect.width;
    }
  }
  return { width: rect.width, height: rect.height, channels: image.channels, data };
}

/** One channel's plane, as a view of the image's data (not a copy), or undefined when there is no such channel. */
export function plane(image: PixelImage, channel: string): Float32Array | undefined {
  const index = image.channels.indexOf(channel);
  if (index < 0) return undefined;
  const size = image.width * image.height;
  return image.data.subarray(index * size, (index + 1) * size);
}

/** `ViewLayer.Combined.R` -> `ViewLayer.Combined`. Layer and pass names may have dots themselves; the last one counts. */
export function passOf(channel: string): string {
  return channel.slice(0, Math.max(0, channel.lastIndexOf('.')));
}

/** The passes of an image whose name is `Combined` or ends in `.Combined`, sorted; one per view layer. */
export function combinedPasses(image: PixelImage): string[] {
  const passes = new Set(image.channels.map(passOf));
  return [...passes].filter((pass) => pass === COMBINED || pass.endsWith(`.${COMBINED}`));
}

/**
 * The planes of one pass, for example `ViewLayer.Combined`, as an image of its own. Channels keep their full names
 * and order (`….A`, `….B`, `….G`, `….R`), so that the digest still says which pass it is.
 * @throws FarmError MESSAGE_INVALID when the image has no such pass.
 */
export function selectLayer(image: PixelImage, pass: string): PixelImage {
  const names = image.channels.filter((name) => name.includes('.') && passOf(name) === pass);
  if (names.length === 0) throw new FarmError('MESSAGE_INVALID', `pixels: the image has no pass ${pass}`);
  const planes: Record<string, Float32Array> = {};
  for (const name of names) planes[name] = plane(image, name) as Float32Array;
  return imageFromPlanes(image.width, image.height, planes);
}
