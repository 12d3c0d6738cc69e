/**
 * The files of a synthetic session. Where the port says EXR they are the canonical bytes themselves: nothing but a
 * session ever looks into one, and a plain format needs no decoder that a stranger's file could break.
 */
import { readFile, stat, writeFile } from 'node:fs/promises';
import sharp from 'sharp';
import { canonicalBytes, type PixelImage, plane, readRawPixels } from '../../../proof/pixels.ts';
import { FarmError, toFarmError } from '../../../protocol/errors.ts';
import type { Rect } from '../../../protocol/rect.ts';
import { CHANNELS } from './pixels.ts';

/** Of the largest scene (scene.ts): four floats a pixel, and a header. */
const MAX_FILE_BYTES = 2 ** 24 * 16 + 4_096;
const OPAQUE = 255;

/** That these bytes are no pixels is the fault of whoever delivered them. */
export function invalidFile(path: string, why: string, cause?: unknown): FarmError {
  const details = { exr: path, invalidExr: true };
  return new FarmError('RENDER_FAILED', `${path} is no synthetic picture: ${why}`, { details, cause });
}

export async function readImage(path: string): Promise<PixelImage> {
  const { size } = await stat(path);
  if (size > MAX_FILE_BYTES) throw new FarmError('TOO_LARGE', `${path} has ${size} bytes`);
  const bytes = await readFile(path);
  try {
    return readRawPixels(bytes);
  } catch (error) {
    throw invalidFile(path, toFarmError(error).message, error);
  }
}

export async function writeImage(path: string, image: PixelImage): Promise<void> {
  await writeFile(path, canonicalBytes(image));
}

/** 8-bit RGBA; `picture` is the region with the empty rest around it. */
export async function writePicture(
  path: string,
  image: PixelImage,
  region: Rect,
  picture: Rect,
): Promise<void> {
  const { width, height } = picture;
  const rgba = new Uint8Array(width * height * 4);
  const colours = CHANNELS.map((name) => plane(image, name));
  const start = (region.y - picture.y) * width + (region.x - picture.x);
  for (let row = 0; row < region.height; row++) {
    for (let column = 0; column < region.width; column++) {
      const target = (start + row * width + column) * 4;
      for (const [channel, values] of colours.entries())
        rgba[target + channel] = Math.round((values?.[row * region.width + column] ?? 0) * OPAQUE);
    }
  }
  // Noise does not get smaller by trying harder.
  await sharp(rgba, { raw: { width, height, channels: 4 } })
    .png({ compressionLevel: 1 })
    .toFile(path);
}
