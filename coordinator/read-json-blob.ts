/** JSON from the blob store that a node or a verifier wrote: measured before it is read, then validated. */
import type { z } from 'zod';
import type { BlobStore } from '../platform/blobs/blob-store.ts';
import { FarmError } from '../protocol/errors.ts';
import type { Digest } from '../protocol/ids.ts';

/** Throws MESSAGE_INVALID, naming it by `what`, when it is missing, too large or not of the form. */
export async function readJsonBlob<S extends z.ZodType>(
  blobs: BlobStore,
  digest: Digest,
  what: string,
  { schema, maxBytes }: { schema: S; maxBytes: number },
): Promise<z.output<S>> {
  const size = await blobs.size(digest);
  if (size === null || size > maxBytes) throw new FarmError('MESSAGE_INVALID', `${what} was not delivered`);
  const chunks: Buffer[] = [];
  for await (const chunk of await blobs.read(digest)) chunks.push(chunk as Buffer);
  const parsed = schema.safeParse(parse(Buffer.concat(chunks).toString('utf8')));
  if (!parsed.success) throw new FarmError('MESSAGE_INVALID', `${what}: ${parsed.error.message}`);
  return parsed.data;
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
