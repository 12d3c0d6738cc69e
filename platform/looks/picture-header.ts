/**
 * What kind of picture a file is, told by its first bytes and its header, before anything decodes it. Pictures come
 * from nodes: a name says nothing, and a small file can claim to be a hundred gigabytes.
 */
import { type FileHandle, open } from 'node:fs/promises';
import sharp from 'sharp';
import { FarmError, isFarmError } from '../../protocol/errors.ts';
import { errorCode } from '../files.ts';
import { readExrHeader } from './exr-header.ts';

export type PictureFormat = 'png' | 'jpeg' | 'tiff' | 'webp' | 'exr';

export type PictureHeader = {
  format: PictureFormat;
  width: number;
  height: number;
  hasAlpha: boolean;
  /** More than 8 bits a channel. */
  deep: boolean;
};

/** 8192 x 8192: twice 8K UHD in area. A decoded frame of it is half a gigabyte. */
export const MAX_PICTURE_PIXELS = 2 ** 26;
/** PNG's last chunk, whole: a file without it was cut off. */
const PNG_END = Buffer.from([0, 0, 0, 0, 0x49, 0x45, 0x4e, 0x44, 0xae, 0x42, 0x60, 0x82]);
const HEAD_BYTES = 16;

const startsWith = (head: Buffer, ...bytes: number[]): boolean =>
  bytes.every((byte, index) => head[index] === byte);

/** The format that these first bytes belong to. */
function formatOf(head: Buffer): PictureFormat | undefined {
  if (startsWith(head, 0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a)) return 'png';
  if (startsWith(head, 0xff, 0xd8, 0xff)) return 'jpeg';
  if (startsWith(head, 0x49, 0x49, 0x2a, 0) || startsWith(head, 0x4d, 0x4d, 0, 0x2a)) return 'tiff';
  if (head.toString('latin1', 0, 4) === 'RIFF' && head.toString('latin1', 8, 12) === 'WEBP') return 'webp';
  if (startsWith(head, 0x76, 0x2f, 0x31, 0x01)) return 'exr';
  return undefined;
}

/** Throws PICTURE_UNREADABLE (naming the file) or TOO_LARGE. Nothing is decoded. */
export async function readPictureHeader(path: string): Promise<PictureHeader> {
  let file: FileHandle;
  try {
    file = await open(path, 'r');
  } catch (error) {
    throw new FarmError('PICTURE_UNREADABLE', `${path} cannot be read (${errorCode(error)})`, {
      cause: error,
    });
  }
  try {
    const status = await file.stat();
    if (!status.isFile()) throw new FarmError('PICTURE_UNREADABLE', `${path} is not a plain file`);
    const { buffer, bytesRead } = await file.read(Buffer.alloc(HEAD_BYTES), 0, HEAD_BYTES, 0);
    const format = formatOf(buffer.subarray(0, bytesRead));
    if (format === undefined) {
      throw new FarmError('PICTURE_UNREADABLE', `${path} is not a PNG, JPEG, TIFF, WebP or EXR picture`);
    }
    const header: PictureHeader =
      format === 'exr'
        ? { format, deep: true, ...(await readExrHeader(file, path)) }
        : await readWithSharp(format, path);
    const { width, height } = header;
    if (width * height > MAX_PICTURE_PIXELS) {
      throw new FarmError(
        'TOO_LARGE',
        `${path} says it is ${width}x${height}; pictures of more than ${MAX_PICTURE_PIXELS / 2 ** 20} megapixels are not decoded`,
      );
    }
    await requireWhole(file, format, buffer, status.size, path);
    return header;
  } finally {
    await file.close();
  }
}

async function readWithSharp(format: PictureFormat, path: string): Promise<PictureHeader> {
  try {
    // The limit is ours to check: its own error would not say the size.
    const found = await sharp(path, { limitInputPixels: false }).metadata();
    if (found.format !== format)
      throw new FarmError('PICTURE_UNREADABLE', `${path} is not the ${format} it seems`);
    const deep = found.depth !== 'uchar' && found.depth !== 'char';
    return { format, width: found.width, height: found.height, hasAlpha: found.hasAlpha, deep };
  } catch (error) {
    if (isFarmError(error)) throw error;
    throw new FarmError('PICTURE_UNREADABLE', `${path} has no readable ${format} header`, { cause: error });
  }
}

/** Decoders fill in what is missing at the end of a file, so a transfer that was cut off would become a grey half. */
async function requireWhole(
  file: FileHandle,
  format: PictureFormat,
  head: Buffer,
  sizeBytes: number,
  path: string,
): Promise<void> {
  let whole = true;
  if (format === 'webp') whole = head.readUInt32LE(4) + 8 <= sizeBytes;
  if (format === 'png') {
    const end = Buffer.alloc(PNG_END.length);
    await file.read(end, 0, end.length, Math.max(0, sizeBytes - end.length));
    whole = end.equals(PNG_END);
  }
  if (!whole) throw new FarmError('PICTURE_UNREADABLE', `${path} ends before the picture does`);
}
