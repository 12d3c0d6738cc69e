/**
 * Which TIFFs ffmpeg reads. Of two kinds it reads the header only and then shows black, without an error: pictures
 * compressed as JPEG, and pictures in tiles. So the tags are looked at before it is.
 */
import { open } from 'node:fs/promises';
import { FarmError } from '../../protocol/errors.ts';

const HEADER_BYTES = 8;
/** A tag: number, type, count, and the value or where it is. */
const ENTRY_BYTES = 12;
const COMPRESSION = 259;
const TILE_OFFSETS = 324;
const SHORT = 3;
const UNCOMPRESSED = 1;
/** What ffmpeg's decoder has code for: none, three of faxes, LZW, two numbers of deflate, PackBits, LZMA. */
const READABLE = new Set([UNCOMPRESSED, 2, 3, 4, 5, 8, 32_946, 32_773, 34_925]);
/** Those that people meet; 6 is how JPEG was put into TIFFs before 1995. */
const NAMES = new Map([
  [6, 'JPEG'],
  [7, 'JPEG'],
  [34_712, 'JPEG 2000'],
  [50_000, 'Zstandard'],
  [50_001, 'WebP'],
]);

/** How the first picture of a TIFF is stored, in words, where ffmpeg cannot read that; else undefined. */
export async function unreadableTiff(path: string): Promise<string | undefined> {
  await using file = await open(path, 'r');
  const bytes = async (position: number, length: number): Promise<Buffer> => {
    const buffer = Buffer.alloc(length);
    const { bytesRead } = await file.read(buffer, 0, length, position);
    return buffer.subarray(0, bytesRead);
  };
  const header = await bytes(0, HEADER_BYTES);
  // What is cut off here is damaged, and the decoder says so in its own words.
  if (header.length < HEADER_BYTES) return undefined;
  const little = header.toString('latin1', 0, 2) === 'II';
  const short = (from: Buffer, at: number): number =>
    little ? from.readUInt16LE(at) : from.readUInt16BE(at);
  const long = (from: Buffer, at: number): number => (little ? from.readUInt32LE(at) : from.readUInt32BE(at));
  const start = long(header, 4);
  const size = await bytes(start, 2);
  if (size.length < 2) return undefined;
  const entries = await bytes(start + 2, short(size, 0) * ENTRY_BYTES);
  let compression = UNCOMPRESSED;
  for (let at = 0; at + ENTRY_BYTES <= entries.length; at += ENTRY_BYTES) {
    const tag = short(entries, at);
    if (tag === TILE_OFFSETS) return 'stored in tiles';
    if (tag !== COMPRESSION) continue;
    compression = short(entries, at + 2) === SHORT ? short(entries, at + 8) : long(entries, at + 8);
  }
  if (READABLE.has(compression)) return undefined;
  return `compressed as ${NAMES.get(compression) ?? `number ${compression}`}`;
}

/** Throws PICTURE_UNREADABLE for a TIFF that ffmpeg would show as black, with what to save it as. */
export async function requireReadableTiff({ frame, path }: { frame: number; path: string }): Promise<void> {
  const how = await unreadableTiff(path);
  if (how === undefined) return;
  throw new FarmError(
    'PICTURE_UNREADABLE',
    `frame ${frame} (${path}) is a TIFF ${how}, which ffmpeg cannot read; save the frames as PNG, or as TIFF in strips with deflate, LZW or no compression`,
    { kept: 'no movie was made; the frames are as they were' },
  );
}
