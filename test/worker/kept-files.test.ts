import { readdir, readFile, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { digestBytes } from '../../platform/blobs/digest-file.ts';
import type { Digest } from '../../protocol/ids.ts';
import { KeptFiles } from '../../worker/kept-files.ts';
import { tempFolder } from '../platform/temp-folder.ts';

let folder: Awaited<ReturnType<typeof tempFolder>>;
let keptFolder: string;
let kept: KeptFiles;
beforeEach(async () => {
  folder = await tempFolder();
  keptFolder = join(folder.path, 'kept');
  kept = await KeptFiles.open(keptFolder);
});
afterEach(() => folder[Symbol.asyncDispose]());

/** The node renders a file and keeps it. */
async function keep(text: string): Promise<Digest> {
  const digest = digestBytes(Buffer.from(text));
  const path = join(folder.path, `work-${text}`);
  await writeFile(path, text);
  await kept.keep(digest, path);
  return digest;
}

describe('kept files', () => {
  it('are taken over, and named to the farm only once it has answered', async () => {
    const digest = await keep('a');
    expect(await readFile(kept.pathOf(digest), 'utf8')).toBe('a');
    expect([kept.has(digest), kept.confirmed(10)]).toEqual([true, []]);
    kept.confirm(digest);
    expect(kept.confirmed(10)).toEqual([digest]);
    expect(await readdir(folder.path)).toEqual(['kept']);
  });

  it('are named oldest first, as many as fit', async () => {
    const digests = [await keep('a'), await keep('b'), await keep('c')];
    for (const digest of digests) kept.confirm(digest);
    expect(kept.confirmed(2)).toEqual(digests.slice(0, 2));
  });

  it('go when they are dropped, also from the disk; a second time does no harm', async () => {
    const digest = await keep('a');
    kept.confirm(digest);
    await kept.drop(digest, kept.keeps);
    await kept.drop(digest, kept.keeps);
    expect([kept.has(digest), kept.confirmed(10), await readdir(keptFolder)]).toEqual([false, [], []]);
  });

  it('of an earlier run are found again, and what else lies there is left alone', async () => {
    const digest = await keep('a');
    for (const name of ['notes.txt', 'short.exr', `${digest}.exr.tmp`])
      await writeFile(join(keptFolder, name), 'x');
    const again = await KeptFiles.open(keptFolder);
    expect(again.confirmed(10)).toEqual([digest]);
    await again.drop(digest, again.keeps);
    expect((await readdir(keptFolder)).sort()).toEqual(
      [`${digest}.exr.tmp`, 'notes.txt', 'short.exr'].sort(),
    );
  });

  it('that a second task gives once more survive an answer from before', async () => {
    const digest = await keep('same');
    kept.confirm(digest);
    const asOf = kept.keeps;
    await keep('same');
    await kept.drop(digest, asOf);
    expect(await readFile(kept.pathOf(digest), 'utf8')).toBe('same');
    kept.confirm(digest);
    expect(kept.confirmed(10)).toEqual([digest]);
  });

  it('count by size, the same file once, also those of an earlier run', async () => {
    const digest = await keep('four');
    await keep('four');
    await keep('other');
    expect(kept.bytes).toBe(4 + 5);
    expect((await KeptFiles.open(keptFolder)).bytes).toBe(4 + 5);
    for (const _task of ['first', 'second']) kept.confirm(digest);
    await kept.drop(digest, kept.keeps);
    await kept.drop(digest, kept.keeps);
    expect(kept.bytes).toBe(5);
  });

  it('are named oldest first also after a start', async () => {
    const digests = [await keep('b'), await keep('a'), await keep('c')];
    for (const [index, digest] of digests.entries()) await utimes(kept.pathOf(digest), index, index);
    expect((await KeptFiles.open(keptFolder)).confirmed(10)).toEqual(digests);
  });

  it('of two tasks are named once the farm has answered for both', async () => {
    const digest = await keep('same');
    await keep('same');
    kept.confirm(digest);
    expect(kept.confirmed(10)).toEqual([]);
    kept.confirm(digest);
    expect(kept.confirmed(10)).toEqual([digest]);
  });

  it('are there after a drop and a keep in the same moment, whichever comes first', async () => {
    const digest = await keep('same');
    kept.confirm(digest);
    await Promise.all([kept.drop(digest, kept.keeps), keep('same')]);
    expect(await readFile(kept.pathOf(digest), 'utf8')).toBe('same');
    expect(kept.has(digest)).toBe(true);
  });
});

describe('a full folder of kept files', () => {
  const never = new AbortController().signal;
  beforeEach(async () => {
    kept = await KeptFiles.open(keptFolder, 8);
  });

  it('lets nobody wait while there is room', async () => {
    await keep('seven..');
    expect(kept.hasRoom).toBe(true);
    await kept.untilRoom(never);
  });

  it('loses nothing that the farm has not let go, and has room as soon as it does', async () => {
    const digests = [await keep('four'), await keep('five.'), await keep('more')];
    expect([kept.hasRoom, kept.bytes]).toEqual([false, 13]);
    let waited = true;
    const room = kept.untilRoom(never).then(() => {
      waited = false;
    });
    const [first, second, third] = digests as [Digest, Digest, Digest];
    await kept.drop(first, kept.keeps);
    expect(waited).toBe(true);
    for (const digest of [second, third])
      expect((await readFile(kept.pathOf(digest))).length).toBeGreaterThan(0);
    await kept.drop(second, kept.keeps);
    await room;
    expect([kept.has(third), kept.bytes]).toEqual([true, 4]);
  });

  it('lets go who waits when the node stops', async () => {
    await keep('far too much');
    const stopping = new AbortController();
    const room = kept.untilRoom(stopping.signal);
    stopping.abort();
    await room;
    expect(kept.hasRoom).toBe(false);
  });
});
