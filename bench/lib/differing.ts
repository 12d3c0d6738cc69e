/** How far two pictures are from being the same. */
import sharp from 'sharp';
import { FarmError } from '../../protocol/errors.ts';

/** The number of channel values in which two picture files differ, and how many there are. */
export async function differingValues(a: string, b: string): Promise<{ differing: number; values: number }> {
  const [left, right] = await Promise.all([a, b].map(pixels));
  if (left === undefined || right === undefined || left.length !== right.length)
    throw new FarmError('INTERNAL', `${a} and ${b} are not pictures of one size and depth`);
  let differing = 0;
  for (const [index, value] of left.entries()) if (value !== right[index]) differing += 1;
  return { differing, values: left.length };
}

async function pixels(path: string): Promise<Uint8Array | Uint16Array> {
  const image = sharp(path);
  const { depth } = await image.metadata();
  const raw = await image.raw({ depth: depth === 'ushort' ? 'ushort' : 'uchar' }).toBuffer();
  return depth === 'ushort' ? new Uint16Array(raw.buffer, raw.byteOffset, raw.length / 2) : raw;
}
