import { readdir, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { digestBytes } from '../../platform/blobs/digest-file.ts';
import { S3BlobStore, s3Place } from '../../platform/blobs/s3-blob-store.ts';
import { listen } from '../../platform/http/listen.ts';
import { blobStoreConformance } from './blob-store-conformance.ts';
import { type S3Server, startS3 } from './s3-server.ts';
import { tempFolder } from './temp-folder.ts';

vi.setConfig({ testTimeout: 30_000 });

const servers = new Map<string, S3Server>();
afterAll(() => Promise.all([...servers.values()].map((server) => server[Symbol.asyncDispose]())));

async function storeIn(folder: string): Promise<S3BlobStore> {
  const server = servers.get(folder) ?? (await startS3(join(folder, 'objects')));
  servers.set(folder, server);
  return await S3BlobStore.open(server.url, join(folder, 'incoming'));
}

blobStoreConformance('a bucket', storeIn);

describe('a bucket of blobs', () => {
  let folder: Awaited<ReturnType<typeof tempFolder>>;
  let server: S3Server;
  beforeAll(async () => {
    folder = await tempFolder();
    server = await startS3(join(folder.path, 'objects'));
  });
  afterAll(async () => {
    await server[Symbol.asyncDispose]();
    await folder[Symbol.asyncDispose]();
  });
  const incoming = (): string => join(folder.path, 'incoming');

  it('leaves nothing in the folder of what is on its way, and throws away what a crash left there', async () => {
    const store = await S3BlobStore.open(server.url, incoming());
    await store.putBytes(Buffer.from('a blob'));
    const put = store.put(digestBytes('other'), Readable.from([Buffer.from('wrong')]), 100);
    await expect(put).rejects.toMatchObject({ code: 'BLOB_MISMATCH' });
    expect(await readdir(incoming())).toEqual([]);
    await writeFile(join(incoming(), 'half'), 'hal');
    await S3BlobStore.open(server.url, incoming());
    expect(await readdir(incoming())).toEqual([]);
  });

  it.each([
    ['a wrong secret', (url: string) => url.replace(':S3RVER@', ':another@')],
    ['a bucket that is not there', (url: string) => url.replace('/blobs', '/elsewhere')],
    ['no key', (url: string) => url.replace('S3RVER:S3RVER@', '')],
    ['no bucket', (url: string) => url.replace('/blobs', '')],
  ])('is not opened with %s, and the message has no secret in it', async (_what, change) => {
    const error = await S3BlobStore.open(change(server.url), incoming()).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code: 'USAGE', kept: 'nothing was changed' });
    expect(String(error)).not.toMatch(/S3RVER|another/);
  });

  it('is waited for while it fails for a moment', async () => {
    let failures = 2;
    await using http = await listen((request, response) => {
      // A store that is overloaded says 503 for a while.
      response.statusCode = request.url === '/blobs/' || failures-- <= 0 ? 200 : 503;
      response.setHeader('content-length', 7);
      response.end();
    }, 0);
    const store = await S3BlobStore.open(`${http.url.replace('//', '//key:secret@')}/blobs`, incoming());
    expect(await store.size(digestBytes('x'))).toBe(7);
    expect(failures).toBe(-1);
  });

  it('gives no bytes of another blob than the one that was asked for', async () => {
    const other = createServer((_request, response) => response.end('other bytes'));
    await using http = await listen(other.listeners('request')[0] as never, 0);
    const store = await S3BlobStore.open(`${http.url.replace('//', '//key:secret@')}/blobs`, incoming());
    const path = join(folder.path, 'copy');
    await expect(store.copyTo(digestBytes('x'), path)).rejects.toMatchObject({ code: 'BLOB_MISMATCH' });
    expect(await readdir(folder.path)).not.toContain('copy');
  });
});

describe('the address of a bucket', () => {
  it('has key, secret, place and region in it', () => {
    expect(s3Place('https://AK:se%2Fcret@s3.example.org:9000/my-bucket?region=eu-west-1')).toEqual({
      bucketUrl: 'https://s3.example.org:9000/my-bucket',
      region: 'eu-west-1',
      accessKeyId: 'AK',
      secretAccessKey: 'se/cret',
    });
  });
});
