import { readdir, readFile, writeFile } from 'node:fs/promises';
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
