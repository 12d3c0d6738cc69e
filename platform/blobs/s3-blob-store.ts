/**
 * Blobs in a bucket of a store that speaks the S3 API, named by their digest, for coordinators on several machines. What
 * comes in lies in a local file until its digest is right: an object that is there is whole, and is what its name says.
 */
import { createHash, randomBytes } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { mkdir, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable, Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { AwsClient } from 'aws4fetch';
import { FarmError } from '../../protocol/errors.ts';
import type { Digest } from '../../protocol/ids.ts';
import { diskError } from '../files.ts';
import { whileUnreachable } from '../retry.ts';
import type { BlobStore } from './blob-store.ts';
import { digestBytes, digestFile } from './digest-file.ts';

/** A store that is away for a moment is waited for; after this whoever asked is told, and asks again. */
const PATIENCE_MS = 10_000;
/** Until the first byte of an answer. */
const ANSWER_MS = 30_000;
/** What the API takes in one request; more would have to come in parts. */
const MAX_OBJECT_BYTES = 5 * 1024 ** 3;

type S3Place = { bucketUrl: string; region: string; accessKeyId: string; secretAccessKey: string };

/** Of `https://KEY:SECRET@host/bucket?region=NAME`; undefined where it is no such address. It is a secret. */
export function s3Place(text: string): S3Place | undefined {
  if (!URL.canParse(text)) return undefined;
  const { protocol, host, pathname, username, password, searchParams } = new URL(text);
  const bucket = /^\/([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])\/?$/.exec(pathname)?.[1];
  if (!/^https?:$/.test(protocol) || bucket === undefined || username === '' || password === '')
    return undefined;
  return {
    bucketUrl: `${protocol}//${host}/${bucket}`,
    region: searchParams.get('region') ?? 'us-east-1',
    accessKeyId: decodeURIComponent(username),
    secretAccessKey: decodeURIComponent(password),
  };
}

export class S3BlobStore implements BlobStore {
  readonly #bucketUrl: string;
  readonly #client: AwsClient;
  readonly #incoming: string;

  private constructor(place: S3Place, incoming: string) {
    const { bucketUrl, region, accessKeyId, secretAccessKey } = place;
    this.#bucketUrl = bucketUrl;
    this.#client = new AwsClient({ service: 's3', region, accessKeyId, secretAccessKey });
    this.#incoming = incoming;
  }

  /**
   * Opens the bucket, which has to be there; `incoming` is a folder of this program's own for what is on its way. Throws
   * USAGE for an address that is none, and where the store does not let this farm in; FARM_UNREACHABLE.
   */
  static async open(url: string, incoming: string): Promise<S3BlobStore> {
    const place = s3Place(url);
    const kept = { kept: 'nothing was changed' };
    if (place === undefined)
      throw new FarmError(
        'USAGE',
        'the address of the blob store is not https://KEY:SECRET@host/bucket',
        kept,
      );
    await mkdir(incoming, { recursive: true, mode: 0o700 });
    for (const name of await readdir(incoming)) await rm(join(incoming, name), { force: true });
    const store = new S3BlobStore(place, incoming);
    const { status } = await store.#ask('HEAD', '', { allow: [301, 400, 403, 404] });
    if (status !== 200)
      throw new FarmError(
        'USAGE',
        `the blob store does not let this farm into the bucket (HTTP ${status})`,
        kept,
      );
    return store;
  }

  async has(digest: Digest): Promise<boolean> {
    return (await this.size(digest)) !== null;
  }

  async size(digest: Digest): Promise<number | null> {
    const response = await this.#ask('HEAD', digest, { allow: [404] });
    return response.status === 404 ? null : Number(response.headers.get('content-length'));
  }

  async put(digest: Digest, bytes: Readable, maxBytes: number): Promise<{ sizeBytes: number }> {
    const path = join(this.#incoming, randomBytes(12).toString('hex'));
    const limit = Math.min(maxBytes, MAX_OBJECT_BYTES);
    try {
      const { actual, sizeBytes } = await spool(bytes, path, limit);
      if (actual !== digest) {
        throw new FarmError('BLOB_MISMATCH', `the bytes have digest ${actual}, not ${digest}`, {
          kept: 'nothing was stored',
        });
      }
      await this.#send(path, digest, sizeBytes);
      return { sizeBytes };
    } catch (error) {
      throw diskError(error, this.#incoming);
    } finally {
      await rm(path, { force: true });
    }
  }

  async putBytes(bytes: Uint8Array): Promise<Digest> {
    const digest = digestBytes(bytes);
    if (!(await this.has(digest))) await this.put(digest, Readable.from([bytes]), bytes.length);
    return digest;
  }

  async putFile(path: string): Promise<{ digest: Digest; sizeBytes: number }> {
    const named = await digestFile(path);
    if (!(await this.has(named.digest))) await this.#send(path, named.digest, named.sizeBytes);
    await rm(path, { force: true });
    return named;
  }

  async read(digest: Digest): Promise<Readable> {
    const response = await this.#ask('GET', digest, { allow: [404] });
    if (response.status === 404) throw new FarmError('NOT_FOUND', `no blob ${digest}`);
    if (response.body === null) return Readable.from([]);
    return Readable.fromWeb(response.body as never);
  }

  async copyTo(digest: Digest, path: string): Promise<void> {
    const temporary = `${path}.${randomBytes(6).toString('hex')}.part`;
    try {
      const { actual } = await spool(await this.read(digest), temporary, MAX_OBJECT_BYTES);
      if (actual !== digest)
        throw new FarmError('BLOB_MISMATCH', `asked the store for ${digest}, got bytes of ${actual}`);
      await rename(temporary, path);
    } catch (error) {
      throw diskError(error, path);
    } finally {
      await rm(temporary, { force: true });
    }
  }

  async #send(path: string, digest: Digest, sizeBytes: number): Promise<void> {
    if (sizeBytes > MAX_OBJECT_BYTES)
      throw new FarmError(
        'TOO_LARGE',
        `the blob store takes ${MAX_OBJECT_BYTES} bytes at a time, not ${sizeBytes}`,
      );
    await this.#ask('PUT', digest, {
      // The store holds the bytes against it, too.
      headers: { 'x-amz-content-sha256': digest, 'content-length': String(sizeBytes) },
      ...(sizeBytes > 0 && { body: () => Readable.toWeb(createReadStream(path)) as ReadableStream }),
    });
  }

  /** Asks until there is an answer. Throws FARM_UNREACHABLE where there is none, or one that is no answer. */
  async #ask(
    method: 'HEAD' | 'GET' | 'PUT',
    key: string,
    asked: { headers?: Record<string, string>; body?: () => ReadableStream; allow?: number[] },
  ): Promise<Response> {
    const { headers = {}, body, allow = [] } = asked;
    const url = `${this.#bucketUrl}/${key}`;
    return await whileUnreachable(
      async () => {
        // Signed anew at each try: a signature is good for minutes.
        const signed = await this.#client.sign(url, { method, headers });
        const response = await this.#fetch(url, {
          method,
          headers: { ...Object.fromEntries(signed.headers), ...headers },
          ...(body !== undefined && { body: body(), duplex: 'half' }),
        } as RequestInit);
        if (response.ok || allow.includes(response.status)) return response;
        await response.body?.cancel();
        // Whether it is overloaded, or somebody took the bucket away: what was asked is not lost, and can be asked again.
        throw new FarmError(
          'FARM_UNREACHABLE',
          `the blob store of this farm answers HTTP ${response.status}`,
        );
      },
      new AbortController().signal,
      PATIENCE_MS,
    );
  }

  async #fetch(url: string, options: RequestInit): Promise<Response> {
    const ending = new AbortController();
    // An upload takes as long as it takes.
    const timer = options.body == null ? setTimeout(() => ending.abort(), ANSWER_MS) : undefined;
    try {
      return await fetch(url, { ...options, signal: ending.signal });
    } catch (error) {
      throw new FarmError('FARM_UNREACHABLE', 'the blob store of this farm does not answer', {
        cause: error,
      });
    } finally {
      clearTimeout(timer);
    }
  }
}

/** Writes a stream to a file and says what it was. Throws TOO_LARGE as soon as there are more than `maxBytes`. */
async function spool(
  bytes: Readable,
  path: string,
  maxBytes: number,
): Promise<{ actual: string; sizeBytes: number }> {
  const hash = createHash('sha256');
  let sizeBytes = 0;
  const meter = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      sizeBytes += chunk.length;
      if (sizeBytes > maxBytes) return done(new FarmError('TOO_LARGE', `more than ${maxBytes} bytes`));
      hash.update(chunk);
      done(null, chunk);
    },
  });
  await pipeline(bytes, meter, createWriteStream(path, { flags: 'wx' }));
  return { actual: hash.digest('hex'), sizeBytes };
}
