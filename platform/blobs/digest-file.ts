/** SHA-256 of files, streamed. */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { pipeline } from 'node:stream/promises';
import type { Digest } from '../../protocol/ids.ts';

export function digestBytes(bytes: Uint8Array | string): Digest {
  return createHash('sha256').update(bytes).digest('hex') as Digest;
}

/** Digest and size of a local file. */
export async function digestFile(path: string): Promise<{ digest: Digest; sizeBytes: number }> {
  const hash = createHash('sha256');
  let sizeBytes = 0;
  await pipeline(createReadStream(path, { highWaterMark: 1 << 20 }), async (source) => {
    for await (const chunk of source as AsyncIterable<Buffer>) {
      sizeBytes += chunk.length;
      hash.update(chunk);
    }
  });
  return { digest: hash.digest('hex') as Digest, sizeBytes };
}
