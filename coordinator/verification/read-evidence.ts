/** Evidence from the blob store, validated: a verifier wrote it. */
import type { BlobStore } from '../../platform/blobs/blob-store.ts';
import type { Digest } from '../../protocol/ids.ts';
import { type Evidence, evidenceSchema } from '../../protocol/verdict.ts';
import { readJsonBlob } from '../read-json-blob.ts';

/** Evidence is numbers and digests; this is hundreds of times what 64 comparisons need. */
const MAX_EVIDENCE_BYTES = 4 * 1024 * 1024;

/** Throws MESSAGE_INVALID when it is missing, too large or not of the form. */
export async function readEvidence(blobs: BlobStore, digest: Digest): Promise<Evidence> {
  const limits = { schema: evidenceSchema, maxBytes: MAX_EVIDENCE_BYTES };
  return await readJsonBlob(blobs, digest, 'the evidence', limits);
}
