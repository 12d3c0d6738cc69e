/** Blobs of a farm over its HTTP API: what nodes, verifiers and the command line use. */

import { createHash } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { rename, rm } from 'node:fs/promises';
import { Readable, Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { FarmError } from '../../protocol/errors.ts';
import { API_BASE } from '../../protocol/http.ts';
import type { Digest } from '../../protocol/ids.ts';
import { diskError } from '../files.ts';
import { farmFetch } from '../http/farm-fetch.ts';
import { digestBytes, digestFile } from './digest-file.ts';

export type FarmAddress = { apiUrl: string; credential: string };

export class HttpBlobs {
  readonly #farm: FarmAddress;

  constructor(farm: FarmAddress) {
    this.#farm = farm;
  }

  async has(digest: Digest, signal: AbortSignal): Promise<boolean> {
    const response = await farmFetch(this.#farm, `${API_BASE}/blobs/${digest}`, {
      method: 'HEAD',
      signal,
      allow: [404],
    });
    return response.status === 200;
  }

  /** Sends a local file unless the farm has it; returns its digest. */
  async putFile(
    path: string,
    signal: AbortSignal,
  ): Promise<{ digest: Digest; sizeBytes: number; sent: boolean }> {
    const named = await digestFile(path);
    if (await this.has(named.digest, signal)) return { ...named, sent: false };
    await farmFetch(this.#farm, `${API_BASE}/blobs/${named.digest}`, {
      method: 'PUT',
      signal,
      headers: { 'content-type': 'application/octet-stream', 'content-length': String(named.sizeBytes) },
      body: Readable.toWeb(createReadStream(path)) as ReadableStream,
    });
    return { ...named, sent: true };
  }

  async putBytes(bytes: Uint8Array<ArrayBuffer>, signal: AbortSignal): Promise<Digest> {
    const digest = digestBytes(bytes);
    await farmFetch(this.#farm, `${API_BASE}/blobs/${digest}`, {
      method: 'PUT',
      signal,
      headers: { 'content-type': 'application/octet-stream' },
      body: bytes,
    });
    return digest;
  }

  /**
   * Fetches a blob into a file; checks the digest, so a file that is there is the right one. Throws TOO_LARGE as soon as
   * there are more than `maxBytes`.
   */
  async fetchTo(
    digest: Digest,
    path: string,
    signal: AbortSignal,
    maxBytes: number = Number.MAX_SAFE_INTEGER,
  ): Promise<void> {
    let bytesLeft = maxBytes;
    const response = await farmFetch(this.#farm, `${API_BASE}/blobs/${digest}`, { signal });
    if (response.body === null) throw new FarmError('BLOB_MISMATCH', `no bytes came for ${digest}`);
    const temporary = `${path}.part`;
    const hash = createHash('sha256');
    const meter = new Transform({
      transform(chunk: Buffer, _encoding, done) {
        bytesLeft -= chunk.length;
        if (bytesLeft < 0)
          return done(new FarmError('TOO_LARGE', `the blob ${digest} has more than ${maxBytes} bytes`));
        hash.update(chunk);
        done(null, chunk);
      },
    });
    try {
      await pipeline(Readable.fromWeb(response.body as never), meter, createWriteStream(temporary), {
        signal,
      });
      const actual = hash.digest('hex');
      if (actual !== digest)
        throw new FarmError('BLOB_MISMATCH', `asked for ${digest}, got bytes of ${actual}`);
      await rename(temporary, path);
    } catch (error) {
      await rm(temporary, { force: true });
      // fetch's word for a sender that went away in the middle.
      if (error instanceof TypeError)
        throw new FarmError('FARM_UNREACHABLE', `${digest} was cut off on its way`, { cause: error });
      throw diskError(error, path);
    }
  }
}
