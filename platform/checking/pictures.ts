/**
 * Finished pictures, decoded to be compared. What the image library opens is looked at first: only a file that begins
 * as the job's format does, and has the job's size, reaches its decoder. EXR is opened by the renderer, in its sandbox.
 */
import { readFile } from 'node:fs/promises';
import sharp from 'sharp';
import { comparePictures, type Rgba8 } from '../../proof/compare-pictures.ts';
import { canonicalBytes, type PixelImage, pixelDigest, readRawPixels } from '../../proof/pixels.ts';
import { PICTURE_THRESHOLDS, PIXEL_TOLERANCE } from '../../proof/thresholds.ts';
import type { PictureFormat } from '../../protocol/output.ts';
import type { Size } from '../../protocol/rect.ts';
import type { Outcome } from '../../protocol/verdict.ts';
import { COMMAND_TIMEOUT_MS, type VerifyTools } from './tools.ts';

export type Picture = { kind: 'rgba'; rgba: Rgba8 } | { kind: 'pixels'; pixels: PixelImage };

/** The file is no picture of that format and size. */
export class NotThePicture extends Error {
  override readonly name = 'NotThePicture';
}

type SharpFormat = Exclude<PictureFormat, 'exr' | 'exr-multilayer'>;

/** How the files begin; of TIFF both byte orders. */
const BEGINNINGS: Readonly<Record<SharpFormat, RegExp>> = {
  png: /^89504e470d0a1a0a/,
  jpeg: /^ffd8ff/,
  tiff: /^(49492a00|4d4d002a)/,
  webp: /^52494646.{8}57454250/,
};

/** OpenEXR's magic number. */
const EXR_BEGINNING = /^762f3101/;

/** Of the longest of them. */
const BEGINNING_BYTES = 12;

/** The format of a picture of this verifier's own, by its beginning; null for one that nothing here decodes. */
export async function formatOf(path: string): Promise<PictureFormat | null> {
  const beginning = beginningOf(await readFile(path));
  if (EXR_BEGINNING.test(beginning)) return 'exr';
  const found = Object.entries(BEGINNINGS).find(([, pattern]) => pattern.test(beginning));
  return found === undefined ? null : (found[0] as SharpFormat);
}

/** How large such a picture is, which the scene alone decides. */
export async function sizeOf(
  path: string,
  format: PictureFormat,
  tools: Pick<VerifyTools, 'session' | 'signal'>,
): Promise<Size> {
  if (!isExr(format)) {
    const { width, height } = await sharp(await readFile(path))
      .metadata()
      .catch(() => {
        throw new NotThePicture('it cannot be decoded');
      });
    return { width, height };
  }
  const options = { signal: tools.signal, timeoutMs: COMMAND_TIMEOUT_MS };
  const { width, height } = await tools.session.readPixels({ exr: path, output: `${path}.raw` }, options);
  return { width, height };
}

function beginningOf(bytes: Buffer): string {
  return bytes.subarray(0, BEGINNING_BYTES).toString('hex');
}

export function isExr(format: PictureFormat): format is 'exr' | 'exr-multilayer' {
  return format === 'exr' || format === 'exr-multilayer';
}

/** Throws NotThePicture, or for an EXR what the renderer says of it. */
export async function decodePicture(
  path: string,
  format: PictureFormat,
  size: Size,
  tools: Pick<VerifyTools, 'session' | 'signal'>,
): Promise<Picture> {
  if (!isExr(format)) return { kind: 'rgba', rgba: await decodeWithSharp(path, format, size) };
  const options = { signal: tools.signal, timeoutMs: COMMAND_TIMEOUT_MS };
  const decoded = await tools.session.readPixels({ exr: path, output: `${path}.raw` }, options);
  checkSize(decoded, size);
  return { kind: 'pixels', pixels: readRawPixels(await readFile(decoded.rawPath)) };
}

async function decodeWithSharp(path: string, format: SharpFormat, size: Size): Promise<Rgba8> {
  // By content, not by path: the library remembers paths, and a path may have had another file a minute ago.
  const bytes = await readFile(path);
  if (!BEGINNINGS[format].test(beginningOf(bytes))) throw new NotThePicture(`it is no ${format}`);
  try {
    const image = sharp(bytes, { limitInputPixels: size.width * size.height, failOn: 'warning' });
    const metadata = await image.metadata();
    if (metadata.format !== format || (metadata.pages ?? 1) !== 1) {
      throw new NotThePicture(`it is no ${format}`);
    }
    checkSize(metadata, size);
    const { data, info } = await image
      .ensureAlpha()
      .toColourspace('srgb')
      .raw({ depth: 'uchar' })
      .toBuffer({ resolveWithObject: true });
    return { width: info.width, height: info.height, data };
  } catch (error) {
    if (error instanceof NotThePicture) throw error;
    throw new NotThePicture('it cannot be decoded');
  }
}

function checkSize(found: Size, size: Size): void {
  if (found.width === size.width && found.height === size.height) return;
  throw new NotThePicture(`it is ${found.width}x${found.height}, not ${size.width}x${size.height}`);
}

/** What a verifier commits to of its own picture. */
export function pictureBytes(picture: Picture): Buffer {
  return Buffer.from(picture.kind === 'rgba' ? picture.rgba.data : canonicalBytes(picture.pixels));
}

/**
 * Two pictures of one job. Of 8 bits a value may be one step away; of EXR one thousandth, and the shares that have to be
 * right are the same.
 */
export function comparePictureOf(reference: Picture, claim: Picture): { outcome: Outcome; detail: string } {
  if (reference.kind === 'rgba' && claim.kind === 'rgba') return comparePictures(reference.rgba, claim.rgba);
  if (reference.kind !== 'pixels' || claim.kind !== 'pixels') {
    return { outcome: 'fail', detail: 'the picture is of another kind' };
  }
  return compareFloats(reference.pixels, claim.pixels);
}

function compareFloats(reference: PixelImage, claim: PixelImage): { outcome: Outcome; detail: string } {
  if (pixelDigest(reference) === pixelDigest(claim))
    return { outcome: 'pass', detail: 'every value is equal' };
  const [a, b] = [reference.data, claim.data];
  if (reference.channels.join('\n') !== claim.channels.join('\n') || a.length !== b.length) {
    return { outcome: 'fail', detail: 'the picture has other channels' };
  }
  let beyond = 0;
  for (let index = 0; index < a.length; index++) {
    const [x, y] = [a[index] as number, b[index] as number];
    if (Object.is(x, y) || Math.abs(x - y) <= PIXEL_TOLERANCE * Math.max(Math.abs(x), Math.abs(y), 1))
      continue;
    beyond++;
  }
  const within = 1 - beyond / a.length;
  const { passWithinOne, failWithinOne } = PICTURE_THRESHOLDS;
  const outcome = within >= passWithinOne ? 'pass' : within <= failWithinOne ? 'fail' : 'inconclusive';
  return { outcome, detail: `${beyond} of ${a.length} values differ by more than a thousandth` };
}
