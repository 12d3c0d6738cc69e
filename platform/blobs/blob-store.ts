/** Bytes by name of their SHA-256. The port that scenes, tiles, frames and evidence all go through. */
import type { Readable } from 'node:stream';
import type { Digest } from '../../protocol/ids.ts';

export interface BlobStore {
  has(digest: Digest): Promise<boolean>;
  /**
   * Stores the stream under `digest`. Throws BLOB_MISMATCH when the bytes have another digest, TOO_LARGE past
   * `maxBytes`, DISK_FULL; in each case nothing is stored. Storing what is there already is a success.
   */
  put(digest: Digest, bytes: Readable, maxBytes: number): Promise<{ sizeBytes: number }>;
  /** Stores bytes that are in memory and returns their digest. */
  putBytes(bytes: Uint8Array): Promise<Digest>;
  /** Takes over a local file: its bytes are stored, then it is removed. Returns digest and size. */
  putFile(path: string): Promise<{ digest: Digest; sizeBytes: number }>;
  /** Size in bytes, or null when there is no such blob. */
  size(digest: Digest): Promise<number | null>;
  /** Throws NOT_FOUND when there is no such blob. */
  read(digest: Digest): Promise<Readable>;
  /** Writes a copy to a local path; hard link where the disk allows it. Throws NOT_FOUND. */
  copyTo(digest: Digest, path: string): Promise<void>;
}
