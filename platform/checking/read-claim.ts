/**
 * What a node delivered, as far as it is what the node committed to. These bytes are hostile: they are measured before
 * they are fetched, decoded in the sandbox, and read here only once their size is known to be right.
 */
import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { type PixelImage, pixelDigest, readRawPixels } from '../../proof/pixels.ts';
import { type FarmError, isFarmError } from '../../protocol/errors.ts';
import type { Receipt } from '../../protocol/receipt.ts';
import type { ChallengeItem } from '../../protocol/verdict.ts';
import type { PixelsOfFile } from '../render/runtime.ts';
import { decodePicture, isExr, NotThePicture, type Picture } from './pictures.ts';
import { COMMAND_TIMEOUT_MS, type VerifyTools } from './tools.ts';

/** Why a delivered file is not what the receipt says; it fails the receipt. */
export class BrokenClaim extends Error {
  override readonly name = 'BrokenClaim';
}

/** An EXR that does not compress at all is its pixels and a header; this leaves room for both. */
const HEADER_BYTES = 1024 * 1024;
/** Of a picture up to 16 bits deep, not compressed at all, with the same room. */
const PICTURE_BYTES_PER_PIXEL = 8;
/** Where the channels are not known beforehand (a batch of finished frames): more passes than any scene has. */
const MOST_CHANNELS = 512;

/** Where {@link fetchClaim} puts a receipt's EXR. */
export function exrOf(name: string, tools: VerifyTools): string {
  return join(tools.folder, `${name}.exr`);
}

/**
 * Fetches and decodes the receipt's EXR, and checks size, channels (where `channels` says which) and committed digest.
 * Returns the path of its canonical bytes. Throws BrokenClaim; other errors are not the node's.
 */
export async function fetchClaim(
  receipt: Receipt,
  name: string,
  channels: readonly string[] | null,
  tools: VerifyTools,
): Promise<string> {
  try {
    const exr = await fetchExr(receipt, name, channels, tools);
    const output = `${exr}.raw`;
    const options = { signal: tools.signal, timeoutMs: COMMAND_TIMEOUT_MS };
    requireCommitted(await tools.session.readPixels({ exr, output }, options), receipt, channels);
    return output;
  } catch (error) {
    throw asClaimError(error, receipt);
  }
}

/** A receipt, and where in its batch it is. */
export type Placed = { index: number; receipt: Receipt };

/**
 * The same checks of many receipts, without keeping their pixels: what {@link fetchClaim} would have thrown for each
 * that has something wrong with it, by index. The files are decoded in one command, since 60 round trips of a few
 * milliseconds are what checking a batch of small tiles would otherwise cost.
 */
export async function findBrokenFiles(
  claims: readonly Placed[],
  channels: readonly string[] | null,
  tools: VerifyTools,
): Promise<Map<number, unknown>> {
  const errors = new Map<number, unknown>();
  const fetched: (Placed & { exr: string })[] = [];
  for (const { index, receipt } of claims) {
    try {
      fetched.push({ index, receipt, exr: await fetchExr(receipt, `other-${index}`, channels, tools) });
    } catch (error) {
      errors.set(index, asClaimError(error, receipt));
    }
  }
  if (fetched.length === 0) return errors;
  const exrs = fetched.map(({ exr }) => exr);
  const options = { signal: tools.signal, timeoutMs: COMMAND_TIMEOUT_MS };
  // What ends the session ends it for all of them, as it would one by one.
  const files = await tools.session
    .digestPixels(exrs, options)
    .catch((error: unknown) => exrs.map(() => error as Error));
  for (const [position, { index, receipt }] of fetched.entries()) {
    const file = files[position];
    try {
      if (file === undefined || file instanceof Error) throw file;
      requireCommitted(file, receipt, channels);
    } catch (error) {
      errors.set(index, asClaimError(error, receipt));
    }
  }
  await Promise.all(exrs.map((exr) => rm(exr, { force: true })));
  return errors;
}

async function fetchExr(
  receipt: Receipt,
  name: string,
  channels: readonly string[] | null,
  tools: VerifyTools,
): Promise<string> {
  const exr = exrOf(name, tools);
  const { width, height } = receipt.rect;
  const maxBytes = width * height * 4 * (channels?.length ?? MOST_CHANNELS) + HEADER_BYTES;
  await tools.blobs.fetchTo(receipt.exrDigest, exr, tools.signal, maxBytes);
  return exr;
}

function requireCommitted(decoded: PixelsOfFile, receipt: Receipt, channels: readonly string[] | null): void {
  const { width, height } = receipt.rect;
  if (decoded.width !== width || decoded.height !== height) {
    throw new BrokenClaim(`the file is ${decoded.width}x${decoded.height}, not ${width}x${height}`);
  }
  if (channels !== null && decoded.channels.join('\n') !== channels.join('\n')) {
    throw new BrokenClaim('the file has other channels than this scene gives');
  }
  if (decoded.pixelDigest !== receipt.pixelDigest) {
    throw new BrokenClaim('the file does not hold the pixels that were committed');
  }
}

/** BrokenClaim where the node is at fault, the error itself where it is not. */
function asClaimError(error: unknown, receipt: Receipt): unknown {
  // The others were there when the task was taken. A frame's was to be handed over when it was drawn.
  if (receipt.kind === 'frame' && isFarmError(error, 'NOT_FOUND'))
    return new BrokenClaim('the pixels that were committed were not handed over in time');
  return itsOwnFault(error) ? new BrokenClaim(`the file cannot be read: ${error.message}`) : error;
}

/** The pixels at a path that {@link fetchClaim} gave. */
export async function readClaim(receipt: Receipt, path: string): Promise<PixelImage> {
  const pixels = readRawPixels(await readFile(path));
  // Once more and here: what the sandbox says of a hostile file is not taken on trust for a drawn receipt.
  if (pixelDigest(pixels) !== receipt.pixelDigest) {
    throw new BrokenClaim('the file does not hold the pixels that were committed');
  }
  return pixels;
}

/** The delivered picture of a finish receipt, in the format and the size of its job or not at all. */
export async function readPicture(
  receipt: Receipt,
  job: Pick<ChallengeItem, 'picture' | 'output'>,
  name: string,
  tools: VerifyTools,
): Promise<Picture> {
  if (receipt.pictureDigest === null) throw new BrokenClaim('no picture was delivered');
  const { picture, output } = job;
  const path = join(tools.folder, `${name}.picture`);
  const perPixel = isExr(output.format) ? MOST_CHANNELS * 4 : PICTURE_BYTES_PER_PIXEL;
  try {
    const maxBytes = picture.width * picture.height * perPixel + HEADER_BYTES;
    await tools.blobs.fetchTo(receipt.pictureDigest, path, tools.signal, maxBytes);
    return await decodePicture(path, output.format, picture, tools);
  } catch (error) {
    if (error instanceof NotThePicture || itsOwnFault(error)) {
      throw new BrokenClaim(`the picture: ${error.message}`);
    }
    throw error;
  }
}

/** The node committed to these bytes: that they are no picture is its fault. A renderer that broke down is not. */
export function itsOwnFault(error: unknown): error is FarmError {
  return (
    isFarmError(error, 'TOO_LARGE') ||
    isFarmError(error, 'MESSAGE_INVALID') ||
    (isFarmError(error) && error.details?.['invalidExr'] === true)
  );
}
