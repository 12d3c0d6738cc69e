/** Blobs in a folder: `<root>/ab/<digest>`. Written beside and renamed, so a blob that is there is whole. */
import { createHash, randomBytes } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { chmod, copyFile, link, mkdir, readdir, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable, Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { FarmError } from '../../protocol/errors.ts';
import type { Digest } from '../../protocol/ids.ts';
import { diskError, errorCode } from '../files.ts';
import type { BlobStore } from './blob-store.ts';
import { digestBytes, digestFile } from './digest-file.ts';

/**
 * A blob may become, as a link, a file of a scene that a container reads as another user. Who may come here at all is
 * decided by the store's own folder, which only the farm's user can enter.
 */
const BLOB_MODE = 0o644;

export class FolderBlobStore implements BlobStore {
  readonly #root: string;
  readonly #incoming: string;

  private constructor(root: string) {
    this.#root = root;
    this.#incoming = join(root, 'incoming');
  }

  /** Opens the folder, making it where needed, and throws away what a crash left half-written. */
  static async open(root: string): Promise<FolderBlobStore> {
    const store = new FolderBlobStore(root);
    await mkdir(store.#incoming, { recursive: true });
    await chmod(root, 0o700);
    for (const name of await readdir(store.#incoming)) await rm(join(store.#incoming, name), { force: true });
    return store;
  }

  async has(digest: Digest): Promise<boolean> {
    return (await this.size(digest)) !== null;
  }

  async size(digest: Digest): Promise<number | null> {
    try {
      return (await stat(this.#path(digest))).size;
    } catch (error) {
      if (errorCode(error) === 'ENOENT') return null;
      throw error;
    }
  }

  async put(digest: Digest, bytes: Readable, maxBytes: number): Promise<{ sizeBytes: number }> {
    const temporary = join(this.#incoming, randomBytes(12).toString('hex'));
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
    try {
      await pipeline(
        bytes,
        meter,
        createWriteStream(temporary, { flags: 'wx', mode: BLOB_MODE, flush: true }),
      );
      const actual = hash.digest('hex');
      if (actual !== digest) {
        throw new FarmError('BLOB_MISMATCH', `the bytes have digest ${actual}, not ${digest}`, {
          kept: 'nothing was stored',
        });
      }
      await this.#moveIn(temporary, digest);
    } catch (error) {
      await rm(temporary, { force: true });
      throw diskError(error, this.#root);
    }
    return { sizeBytes };
  }

  async putBytes(bytes: Uint8Array): Promise<Digest> {
    const digest = digestBytes(bytes);
    if (!(await this.has(digest))) await this.put(digest, Readable.from([bytes]), bytes.length);
    return digest;
  }

  async putFile(path: string): Promise<{ digest: Digest; sizeBytes: number }> {
    const named = await digestFile(path);
    if (await this.has(named.digest)) {
      await rm(path, { force: true });
      return named;
    }
    await this.put(named.digest, createReadStream(path), named.sizeBytes);
    await rm(path, { force: true });
    return named;
  }

  async read(digest: Digest): Promise<Readable> {
    if (!(await this.has(digest))) throw notFound(digest);
    return createReadStream(this.#path(digest));
  }

  async copyTo(digest: Digest, path: string): Promise<void> {
    if (!(await this.has(digest))) throw notFound(digest);
    const temporary = `${path}.${randomBytes(6).toString('hex')}.part`;
    try {
      await link(this.#path(digest), temporary).catch(async (error: unknown) => {
        // Another disk, or a file system without hard links: a copy is the same bytes.
        if (!['EXDEV', 'EPERM', 'EMLINK'].includes(errorCode(error) ?? '')) throw error;
        await copyFile(this.#path(digest), temporary);
      });
      await rename(temporary, path);
    } catch (error) {
      throw diskError(error, path);
    } finally {
      // Also where it was linked: renaming onto another link of the same file leaves both.
      await rm(temporary, { force: true });
    }
  }

  async #moveIn(temporary: string, digest: Digest): Promise<void> {
    await mkdir(join(this.#root, digest.slice(0, 2)), { recursive: true });
    await rename(temporary, this.#path(digest));
  }

  #path(digest: Digest): string {
    return join(this.#root, digest.slice(0, 2), digest);
  }
}

function notFound(digest: Digest): FarmError {
  return new FarmError('NOT_FOUND', `no blob ${digest}`);
}
