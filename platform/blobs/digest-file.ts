/** SHA-256 of files, piece by piece. */
import { createHash } from 'node:crypto';
import { open } from 'node:fs/promises';
import type { Digest } from '../../protocol/ids.ts';

/**
 * One piece, and all that is allocated for a file: a stream takes new memory for each piece, and collecting that took
 * longer than hashing.
 */
const PIECE_BYTES = 1 << 20;

export function digestBytes(bytes: Uint8Array | string): Digest {
  return createHash('sha256').update(bytes).digest('hex') as Digest;
}

/** Digest and size of a local file. */
export async function digestFile(path: string): Promise<{ digest: Digest; sizeBytes: number }> {
  await using file = await open(path);
  const hash = createHash('sha256');
  const { size } = await file.stat();
  // A byte more than there should be, so that the end is seen in one read.
  const piece = Buffer.allocUnsafeSlow(Math.min(PIECE_BYTES, size + 1));
  let sizeBytes = 0;
  for (;;) {
    const { bytesRead } = await file.read(piece, 0, piece.length, null);
    if (bytesRead === 0) return { digest: hash.digest('hex') as Digest, sizeBytes };
    hash.update(piece.subarray(0, bytesRead));
    sizeBytes += bytesRead;
  }
}
