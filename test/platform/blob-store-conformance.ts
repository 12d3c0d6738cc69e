/** What every blob store has to do. A new implementation (S3, ...) runs this suite and nothing else. */
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { BlobStore } from '../../platform/blobs/blob-store.ts';
import { digestBytes } from '../../platform/blobs/digest-file.ts';
import type { Digest } from '../../protocol/ids.ts';
import { tempFolder } from './temp-folder.ts';

const MANY = 1 << 20;

async function bytesOf(store: BlobStore, digest: Digest): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of await store.read(digest)) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

/** `make` gives an empty store that lives in `folder`, or finds the one that is there. */
export function blobStoreConformance(name: string, make: (folder: string) => Promise<BlobStore>): void {
  describe(`${name} as a blob store`, () => {
    let folder: Awaited<ReturnType<typeof tempFolder>>;
    let store: BlobStore;
    beforeEach(async () => {
      folder = await tempFolder();
      await mkdir(join(folder.path, 'files'));
      store = await make(join(folder.path, 'store'));
    });
    afterEach(() => folder[Symbol.asyncDispose]());

    const file = (called: string): string => join(folder.path, 'files', called);

    it('gives back exactly the bytes that were put, none and many', async () => {
      await fc.assert(
        fc.asyncProperty(fc.uint8Array({ maxLength: 5_000 }), async (bytes) => {
          const digest = await store.putBytes(bytes);
          expect(digest).toBe(digestBytes(bytes));
          expect(await store.size(digest)).toBe(bytes.length);
          expect((await bytesOf(store, digest)).equals(bytes)).toBe(true);
        }),
        { numRuns: 15, examples: [[new Uint8Array()]] },
      );
    });

    it('takes a stream in any number of pieces', async () => {
      const bytes = Buffer.from('one two three');
      const pieces = Readable.from([bytes.subarray(0, 3), bytes.subarray(3, 4), bytes.subarray(4)]);
      expect(await store.put(digestBytes(bytes), pieces, MANY)).toEqual({ sizeBytes: bytes.length });
      expect(await bytesOf(store, digestBytes(bytes))).toEqual(bytes);
    });

    it('takes a blob of exactly the allowed size', async () => {
      const bytes = Buffer.alloc(100, 7);
      await store.put(digestBytes(bytes), Readable.from([bytes]), 100);
      expect(await store.has(digestBytes(bytes))).toBe(true);
    });

    it('stores nothing when the bytes have another digest', async () => {
      const [wanted, sent] = [Buffer.from('the truth'), Buffer.from('something else')];
      const put = store.put(digestBytes(wanted), Readable.from([sent]), MANY);
      await expect(put).rejects.toMatchObject({ code: 'BLOB_MISMATCH' });
      expect(await store.has(digestBytes(wanted))).toBe(false);
      expect(await store.has(digestBytes(sent))).toBe(false);
    });

    it('stores nothing when there are more bytes than allowed', async () => {
      const bytes = Buffer.alloc(101);
      await expect(store.put(digestBytes(bytes), Readable.from([bytes]), 100)).rejects.toMatchObject({
        code: 'TOO_LARGE',
      });
      expect(await store.has(digestBytes(bytes))).toBe(false);
    });

    it('stores nothing when the sender goes away in the middle, and takes the blob at the next try', async () => {
      const bytes = Buffer.alloc(2_000, 3);
      const broken = Readable.from(
        (async function* () {
          yield bytes.subarray(0, 1_000);
          throw new Error('the line broke');
        })(),
      );
      await expect(store.put(digestBytes(bytes), broken, MANY)).rejects.toThrow('the line broke');
      expect(await store.has(digestBytes(bytes))).toBe(false);
      await store.put(digestBytes(bytes), Readable.from([bytes]), MANY);
      expect(await bytesOf(store, digestBytes(bytes))).toEqual(bytes);
    });

    it('keeps a good blob when somebody sends wrong bytes under its name', async () => {
      const digest = await store.putBytes(Buffer.from('good'));
      await expect(store.put(digest, Readable.from([Buffer.from('evil')]), MANY)).rejects.toMatchObject({
        code: 'BLOB_MISMATCH',
      });
      expect((await bytesOf(store, digest)).toString()).toBe('good');
    });

    it('takes the same blob from several senders in the same moment, and again later', async () => {
      const bytes = Buffer.alloc(50_000, 9);
      const digest = digestBytes(bytes);
      const puts = Array.from({ length: 5 }, () =>
        store.put(digest, Readable.from([bytes.subarray(0, 20_000), bytes.subarray(20_000)]), MANY),
      );
      expect(await Promise.all(puts)).toEqual(puts.map(() => ({ sizeBytes: bytes.length })));
      await store.put(digest, Readable.from([bytes]), MANY);
      expect(await bytesOf(store, digest)).toEqual(bytes);
    });

    it('moves a file in: the file is gone, the blob is there', async () => {
      await writeFile(file('tile.exr'), 'pixels');
      const digest = digestBytes('pixels');
      expect(await store.putFile(file('tile.exr'))).toEqual({ digest, sizeBytes: 6 });
      await expect(readFile(file('tile.exr'))).rejects.toMatchObject({ code: 'ENOENT' });
      expect((await bytesOf(store, digest)).toString()).toBe('pixels');
    });

    it('takes a file away whose bytes it has already', async () => {
      await store.putBytes(Buffer.from('pixels'));
      await writeFile(file('again.exr'), 'pixels');
      await store.putFile(file('again.exr'));
      await expect(readFile(file('again.exr'))).rejects.toMatchObject({ code: 'ENOENT' });
    });

    it('copies a blob to a path, in place of what is there', async () => {
      const digest = await store.putBytes(Buffer.from('pixels'));
      await writeFile(file('out.exr'), 'older and longer');
      await store.copyTo(digest, file('out.exr'));
      expect(await readFile(file('out.exr'), 'utf8')).toBe('pixels');
      expect((await bytesOf(store, digest)).toString()).toBe('pixels');
    });

    it('says NOT_FOUND for what it does not have', async () => {
      const nothing = digestBytes('never stored');
      expect(await store.has(nothing)).toBe(false);
      expect(await store.size(nothing)).toBeNull();
      await expect(store.read(nothing)).rejects.toMatchObject({ code: 'NOT_FOUND' });
      await expect(store.copyTo(nothing, file('nothing'))).rejects.toMatchObject({ code: 'NOT_FOUND' });
    });

    it('leaves a file alone when there is no blob to put in its place', async () => {
      await writeFile(file('precious'), 'precious');
      await expect(store.copyTo(digestBytes('never stored'), file('precious'))).rejects.toMatchObject({
        code: 'NOT_FOUND',
      });
      expect(await readFile(file('precious'), 'utf8')).toBe('precious');
    });

    it('still has everything when it is opened again', async () => {
      const digest = await store.putBytes(Buffer.from('kept'));
      const again = await make(join(folder.path, 'store'));
      expect((await bytesOf(again, digest)).toString()).toBe('kept');
    });
  });
}
