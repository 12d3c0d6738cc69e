import { readdir, readFile, writeFile } from 'node:fs/promises';
import { createServer, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { digestBytes } from '../../platform/blobs/digest-file.ts';
import { HttpBlobs } from '../../platform/blobs/http-blobs.ts';
import { tempFolder } from './temp-folder.ts';

vi.setConfig({ testTimeout: 30_000 });

const never = new AbortController().signal;
const BLOB = Buffer.alloc(3_000, 7);
const digest = digestBytes(BLOB);

let server: Server;
let blobs: HttpBlobs;
/** How the farm sends the next blob. */
let send: (response: ServerResponse) => void;
beforeAll(async () => {
  server = createServer((_request, response) => send(response));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  blobs = new HttpBlobs({ apiUrl: `http://127.0.0.1:${port}`, credential: 'a-token' });
});
afterAll(() => new Promise((resolve) => server.close(resolve)));

describe('fetching a blob into a file', () => {
  it('takes one of exactly the allowed size', async () => {
    await using folder = await tempFolder();
    const path = join(folder.path, 'blob');
    send = (response) => void response.end(BLOB);
    await blobs.fetchTo(digest, path, never, BLOB.length);
    expect(await readFile(path)).toEqual(BLOB);
    expect(await readdir(folder.path)).toEqual(['blob']);
  });

  it('refuses one that is a byte too large and leaves no file', async () => {
    await using folder = await tempFolder();
    send = (response) => void response.end(BLOB);
    await expect(
      blobs.fetchTo(digest, join(folder.path, 'blob'), never, BLOB.length - 1),
    ).rejects.toMatchObject({ code: 'TOO_LARGE', message: expect.stringContaining('2999') });
    expect(await readdir(folder.path)).toEqual([]);
  });

  it('stops as soon as there is too much of one that never ends', async () => {
    await using folder = await tempFolder();
    const cut = new Promise<void>((resolve) => {
      send = (response) => {
        response.on('close', resolve);
        const more = (): void => {
          while (!response.destroyed && response.write(BLOB));
          response.once('drain', more);
        };
        more();
      };
    });
    await expect(blobs.fetchTo(digest, join(folder.path, 'blob'), never, 10_000)).rejects.toMatchObject({
      code: 'TOO_LARGE',
    });
    expect(await readdir(folder.path)).toEqual([]);
    await expect(cut).resolves.toBeUndefined();
  });

  it('leaves an older file as it was when the new bytes are refused', async () => {
    await using folder = await tempFolder();
    const path = join(folder.path, 'blob');
    await writeFile(path, 'older');
    send = (response) => void response.end(BLOB);
    await expect(blobs.fetchTo(digest, path, never, 1)).rejects.toMatchObject({ code: 'TOO_LARGE' });
    expect(await readFile(path, 'utf8')).toBe('older');
    expect(await readdir(folder.path)).toEqual(['blob']);
  });

  it('refuses bytes of another digest and leaves no file', async () => {
    await using folder = await tempFolder();
    send = (response) => void response.end('other bytes');
    await expect(blobs.fetchTo(digest, join(folder.path, 'blob'), never, 100)).rejects.toMatchObject({
      code: 'BLOB_MISMATCH',
    });
    expect(await readdir(folder.path)).toEqual([]);
  });

  it('says that the farm went away when it does in the middle, and leaves no file', async () => {
    await using folder = await tempFolder();
    send = (response) => {
      response.writeHead(200, { 'content-length': BLOB.length });
      response.write(BLOB.subarray(0, 1_000), () => response.destroy());
    };
    await expect(blobs.fetchTo(digest, join(folder.path, 'blob'), never, BLOB.length)).rejects.toMatchObject({
      code: 'FARM_UNREACHABLE',
    });
    expect(await readdir(folder.path)).toEqual([]);
  });
});
