/** The few fields of an OpenEXR header that are needed before the file is decoded (in a sandbox, by others). */
import type { FileHandle } from 'node:fs/promises';
import { FarmError } from '../../protocol/errors.ts';

export type ExrHeader = { width: number; height: number; hasAlpha: boolean };

/** Blender's headers have a few kilobytes; a frame with hundreds of passes has some tens. */
const MAX_HEADER_BYTES = 256 * 1024;
const MAGIC_AND_VERSION_BYTES = 8;
/** Bits of the version field: tiles, deep data, several parts. */
const NOT_PLAIN_SCANLINES = 0x200 | 0x800 | 0x1000;
/** Lines per block of each compression method, in the order of their numbers. */
const LINES_PER_BLOCK = [1, 1, 1, 16, 32, 16, 32, 32, 32, 256];

type Attributes = Map<string, Buffer>;

/** Reads names, types and values up to the empty name that ends a header. */
function readAttributes(bytes: Buffer, path: string): { attributes: Attributes; end: number } {
  const attributes: Attributes = new Map();
  let at = MAGIC_AND_VERSION_BYTES;
  const text = (): string => {
    const end = bytes.indexOf(0, at);
    if (end < 0) throw new FarmError('PICTURE_UNREADABLE', `the EXR header of ${path} has no end`);
    const found = bytes.toString('latin1', at, end);
    at = end + 1;
    return found;
  };
  for (;;) {
    const name = text();
    if (name === '') return { attributes, end: at };
    text();
    if (at + 4 > bytes.length)
      throw new FarmError('PICTURE_UNREADABLE', `the EXR header of ${path} is cut off`);
    const size = bytes.readUInt32LE(at);
    at += 4;
    if (at + size > bytes.length) {
      throw new FarmError('PICTURE_UNREADABLE', `the EXR header of ${path} is cut off`);
    }
    attributes.set(name, bytes.subarray(at, at + size));
    at += size;
  }
}

function channelNames(list: Buffer): string[] {
  const names: string[] = [];
  for (let at = 0; at < list.length; ) {
    const end = list.indexOf(0, at);
    if (end <= at) break;
    names.push(list.toString('latin1', at, end));
    // Behind the name: pixel type, linear flag with three spare bytes, two sampling rates.
    at = end + 1 + 16;
  }
  return names;
}

/** Size and channels of a single-layer scan-line EXR whose last block lies inside the file; PICTURE_UNREADABLE else. */
export async function readExrHeader(file: FileHandle, path: string): Promise<ExrHeader> {
  const { size: sizeBytes } = await file.stat();
  const bytes = Buffer.alloc(Math.min(sizeBytes, MAX_HEADER_BYTES));
  await file.read(bytes, 0, bytes.length, 0);
  const unreadable = (why: string): FarmError => new FarmError('PICTURE_UNREADABLE', `${path} ${why}`);
  if (bytes.length < MAGIC_AND_VERSION_BYTES) throw unreadable('is cut off');
  if ((bytes.readUInt32LE(4) & NOT_PLAIN_SCANLINES) !== 0)
    throw unreadable('is a tiled, deep or multi-part EXR');
  const { attributes, end } = readAttributes(bytes, path);
  const [window, channels] = [attributes.get('dataWindow'), attributes.get('channels')];
  const lines = LINES_PER_BLOCK[attributes.get('compression')?.[0] ?? -1];
  if (window?.length !== 16 || channels === undefined || lines === undefined) {
    throw unreadable('has an EXR header without size, channels or a known compression');
  }
  const [left, top, right, bottom] = [0, 4, 8, 12].map((at) => window.readInt32LE(at)) as [
    number,
    number,
    number,
    number,
  ];
  const [width, height] = [right - left + 1, bottom - top + 1];
  if (width < 1 || height < 1) throw unreadable('is an EXR of no size');
  const names = channelNames(channels);
  if (!['R', 'G', 'B'].every((name) => names.includes(name))) {
    throw unreadable(`has no plain R, G, B channels (multilayer EXR: use the finished picture beside it)`);
  }
  await requireLastBlock(file, end, Math.ceil(height / lines), sizeBytes, unreadable);
  return { width, height, hasAlpha: names.includes('A') };
}

/** The table of offsets follows the header; the block that lies last tells how long the file must be. */
async function requireLastBlock(
  file: FileHandle,
  tableStart: number,
  blocks: number,
  sizeBytes: number,
  unreadable: (why: string) => FarmError,
): Promise<void> {
  const cutOff = unreadable('ends before the picture does');
  if (tableStart + blocks * 8 > sizeBytes) throw cutOff;
  const table = Buffer.alloc(blocks * 8);
  await file.read(table, 0, table.length, tableStart);
  let last = 0n;
  for (let block = 0; block < blocks; block++) {
    const offset = table.readBigUInt64LE(block * 8);
    if (offset > last) last = offset;
  }
  // Before the data of a block: its first line and its length, four bytes each.
  if (last === 0n || last + 8n > BigInt(sizeBytes)) throw cutOff;
  const prefix = Buffer.alloc(8);
  await file.read(prefix, 0, 8, Number(last));
  if (Number(last) + 8 + prefix.readUInt32LE(4) > sizeBytes) throw cutOff;
}
