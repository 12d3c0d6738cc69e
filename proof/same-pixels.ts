/** Whether two images are equal, without a digest of either. */
import { canonicalBits, type PixelImage } from './pixel-format.ts';

const BYTES_PER_PAIR = 8;

/**
 * Whether two images have the same canonical bytes, and so the same digest; a small part of the work of making two digests.
 * Both must be well formed.
 */
export function samePixels(a: PixelImage, b: PixelImage): boolean {
  if (a.width !== b.width || a.height !== b.height || a.data.length !== b.data.length) return false;
  if (a.channels.join('\n') !== b.channels.join('\n')) return false;
  const left = new Uint32Array(a.data.buffer, a.data.byteOffset, a.data.length);
  const right = new Uint32Array(b.data.buffer, b.data.byteOffset, b.data.length);
  for (let i = equalAtFirst(a.data, b.data); i < left.length; i++) {
    const x = left[i] as number;
    const y = right[i] as number;
    if (x !== y && (canonicalBits(x) | 0) !== (canonicalBits(y) | 0)) return false;
  }
  return true;
}

/**
 * So many values at the beginning are equal, found two at a time: their 64 bits are compared as one double, which takes
 * less than half the time of one by one. Equal doubles have the same bits, or are two zeros that differ in a float's sign
 * at most. Doubles that are not equal may still be the same NaN, so they are only where this ends.
 */
function equalAtFirst(a: Float32Array, b: Float32Array): number {
  // A view of doubles cannot begin anywhere else.
  if (a.byteOffset % BYTES_PER_PAIR !== 0 || b.byteOffset % BYTES_PER_PAIR !== 0) return 0;
  const pairs = a.length >> 1;
  const left = new Float64Array(a.buffer, a.byteOffset, pairs);
  const right = new Float64Array(b.buffer, b.byteOffset, pairs);
  let pair = 0;
  while (pair < pairs && left[pair] === right[pair]) pair++;
  return pair * 2;
}
