/** Evidence from the blob store, validated: a verifier wrote it. */
import type { BlobStore } from '../../platform/blobs/blob-store.ts';
import { FarmError } from '../../protocol/errors.ts';
import type { Digest } from '../../protocol/ids.ts';
import { type Evidence, evidenceSchema } from '../../protocol/verdict.ts';

/** Evidence is numbers and digests; this is hundreds of times what 64 comparisons need. */
const MAX_EVIDENCE_BYTES = 4 * 1024 * 1024;

/** Throws MESSAGE_INVALID when it is missing, too large or not of the form. */
export async function readEvidence(blobs: BlobStore, digest: Digest): Promise<Evidence> {
  const size = await blobs.size(digest);
  if (size === null || size > MAX_EVIDENCE_BYTES) {
    throw new FarmError('MESSAGE_INVALID', 'the evidence was not delivered');
  }
  const chunks: Buffer[] = [];
  for await (const chunk of await blobs.read(digest)) chunks.push(chunk as Buffer);
  const evidence = evidenceSchema.safeParse(parse(Buffer.concat(chunks).toString('utf8')));
  if (!evidence.success) throw new FarmError('MESSAGE_INVALID', `the evidence: ${evidence.error.message}`);
  return evidence.data;
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
