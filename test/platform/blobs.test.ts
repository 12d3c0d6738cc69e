import { execFile } from 'node:child_process';
import { chmod, mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { describe, expect, it, vi } from 'vitest';
import { digestBytes, digestFile } from '../../platform/blobs/digest-file.ts';
import { FolderBlobStore } from '../../platform/blobs/folder-blob-store.ts';
import { blobStoreConformance } from './blob-store-conformance.ts';
import { tempFolder } from './temp-folder.ts';

vi.setConfig({ testTimeout: 30_000 });

blobStoreConformance('a folder', (folder) => FolderBlobStore.open(folder));

describe('a folder of blobs', () => {
  it('throws away at start what a crash left half-written, and nothing else', async () => {
    await using folder = await tempFolder();
    const store = await FolderBlobStore.open(folder.path);
    const digest = await store.putBytes(Buffer.from('whole'));
    await writeFile(join(folder.path, 'incoming', 'half'), 'hal');
    const again = await FolderBlobStore.open(folder.path);
    expect(await readdir(join(folder.path, 'incoming'))).toEqual([]);
    expect(await again.has(digest)).toBe(true);
  });

  it('leaves nothing half-written behind a refused blob', async () => {
    await using folder = await tempFolder();
    const store = await FolderBlobStore.open(folder.path);
    const put = (bytes: string, most: number) =>
      store.put(digestBytes('other'), Readable.from([Buffer.from(bytes)]), most);
    await expect(put('wrong bytes', 100)).rejects.toMatchObject({ code: 'BLOB_MISMATCH' });
    await expect(put('too many bytes', 3)).rejects.toMatchObject({ code: 'TOO_LARGE' });
    expect(await readdir(join(folder.path, 'incoming'))).toEqual([]);
  });

  it('lets only its owner reach blobs, and nobody else write what it links to', async () => {
    await using folder = await tempFolder();
    const root = join(folder.path, 'blobs');
    await mkdir(root, { mode: 0o755 });
    const store = await FolderBlobStore.open(root);
    const digest = await store.putBytes(Buffer.from('private'));
    expect((await stat(root)).mode & 0o077).toBe(0);
    expect((await stat(join(root, digest.slice(0, 2), digest))).mode & 0o022).toBe(0);
  });

  it('digests a file as it digests its bytes', async () => {
    await using folder = await tempFolder();
    const bytes = Buffer.alloc((1 << 20) + 17, 5);
    await writeFile(join(folder.path, 'file'), bytes);
    expect(await digestFile(join(folder.path, 'file'))).toEqual({
      digest: digestBytes(bytes),
      sizeBytes: bytes.length,
    });
  });
});

describe('a full disk', () => {
  it('is DISK_FULL for blobs and files, with nothing half-written and everything older unharmed', async () => {
    await using folder = await tempFolder();
    const disk = join(folder.path, 'disk');
    await mkdir(disk);
    // A file system of one megabyte in a namespace of its own: nobody else sees it, and it is gone with the child.
    const script = join(folder.path, 'run.sh');
    await writeFile(script, '#!/bin/sh\nset -e\nmount -t tmpfs -o size=1m tmpfs "$1"\nshift\nexec "$@"\n');
    await chmod(script, 0o700);
    const child = fileURLToPath(new URL('./fill-tiny-disk.ts', import.meta.url));
    const node = [process.execPath, '--import', import.meta.resolve('tsx'), child, disk];
    const { stdout } = await promisify(execFile)('unshare', ['-rm', script, disk, ...node]);
    expect(JSON.parse(stdout)).toEqual({
      put: 'DISK_FULL',
      write: 'DISK_FULL',
      stored: false,
      keptStored: true,
      incoming: [],
      files: ['blobs', 'state.json'],
    });
    await expect(readFile(join(disk, 'state.json'))).rejects.toMatchObject({ code: 'ENOENT' });
  });
});
