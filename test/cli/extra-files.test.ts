import { lstat, mkdir, readdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { ExtraPlaces } from '../../cli/render/extra-places.ts';
import { fetchExtraFiles, removeExtraFiles } from '../../cli/render/fetch-extra-files.ts';
import type { HttpBlobs } from '../../platform/blobs/http-blobs.ts';
import { FarmError } from '../../protocol/errors.ts';
import type { ExtraFile } from '../../protocol/extra-files.ts';
import { digestSchema } from '../../protocol/ids.ts';
import { tempFolder } from '../platform/temp-folder.ts';

const { signal } = new AbortController();

describe('where an extra file goes', () => {
  it('is where the scene wants it', () => {
    const places = new ExtraPlaces(['shot_0001.png']);
    expect(places.place(1, 'renders/beauty0001.png')).toBe('renders/beauty0001.png');
    expect(places.place(2, 'renders/beauty0002.png')).toBe('renders/beauty0002.png');
  });

  it('is a folder of its frame where another frame or a picture of the job has the place', () => {
    const places = new ExtraPlaces(['shot_0001.png']);
    expect(places.place(1, 'Shot_0001.PNG')).toBe('frame_0001/Shot_0001.PNG');
    expect(places.place(1, 'a1')).toBe('a1');
    expect(places.place(-2, 'a1')).toBe('frame_-0002/a1');
    // A file where another one has its folder, and a folder where another one has its file.
    expect(places.place(3, 'a1/b1')).toBe('frame_0003/a1/b1');
    expect(places.place(4, 'frame_0003')).toBe('frame_0004/frame_0003');
    expect(places.place(5, 'frame_0006/x1')).toBe('frame_0006/x1');
    expect(places.place(6, 'x1')).toBe('x1');
    expect(places.place(6, 'frame_0006/X1')).toBe('frame_0006/frame_0006/X1');
  });

  it('is never a place that was given, and is free again once its frame is replaced', () => {
    const places = new ExtraPlaces([]);
    expect(places.place(1, 'a/b1')).toBe('a/b1');
    expect(places.place(2, 'frame_0003/a/b1')).toBe('frame_0003/a/b1');
    expect(places.place(3, 'a/b1')).toBe('frame_0003-2/a/b1');
    places.release(1);
    expect(places.place(4, 'a')).toBe('a');
    expect(places.place(1, 'a/b1')).toBe('frame_0001/a/b1');
  });
});

/** A farm whose blobs are their own digests' names. */
function fakeBlobs(broken?: string) {
  const fetched: string[] = [];
  const blobs = {
    fetchTo: async (digest: string, path: string) => {
      if (digest === broken) throw new FarmError('NOT_FOUND', 'no such blob');
      fetched.push(digest);
      await writeFile(path, digest);
    },
  } as unknown as HttpBlobs;
  return { blobs, fetched };
}

const file = (name: string, digit: string): ExtraFile => ({
  name,
  digest: digestSchema.parse(digit.repeat(64)),
  sizeBytes: 64,
});

describe('fetching extra files', () => {
  it('makes the folders, and removes what it fetched when the frame goes', async () => {
    await using out = await tempFolder();
    const places = new ExtraPlaces([]);
    const { blobs } = fakeBlobs();
    const options = { blobs, outFolder: out.path, places, signal };
    const files = await fetchExtraFiles(1, [file('a/b/c1.png', '1'), file('d1.png', '2')], options);
    expect(files).toEqual([
      { name: 'a/b/c1.png', path: join(out.path, 'a/b/c1.png') },
      { name: 'd1.png', path: join(out.path, 'd1.png') },
    ]);
    expect(await readFile(files[0]?.path ?? '', 'utf8')).toBe('1'.repeat(64));
    await removeExtraFiles(1, files, places);
    expect(await readdir(join(out.path, 'a/b'))).toEqual([]);
    expect(places.place(2, 'd1.png')).toBe('d1.png');
  });

  it('follows no link out of the folder, and says what is in the way', async () => {
    await using out = await tempFolder();
    await using elsewhere = await tempFolder();
    await symlink(elsewhere.path, join(out.path, 'renders'));
    const { blobs, fetched } = fakeBlobs();
    const places = new ExtraPlaces([]);
    const options = { blobs, outFolder: out.path, places, signal };
    await expect(fetchExtraFiles(1, [file('renders/x/a1.png', '1')], options)).rejects.toMatchObject({
      code: 'USAGE',
      message: expect.stringContaining(join(out.path, 'renders')),
      kept: expect.stringContaining('tessera wait'),
    });
    expect(await readdir(elsewhere.path)).toEqual([]);
    expect(fetched).toEqual([]);
  });

  it('takes no file for a folder and no folder for a file', async () => {
    await using out = await tempFolder();
    await writeFile(join(out.path, 'a1'), 'mine');
    await mkdir(join(out.path, 'b1.png'));
    const { blobs } = fakeBlobs();
    for (const name of ['a1/c1.png', 'b1.png']) {
      const options = { blobs, outFolder: out.path, places: new ExtraPlaces([]), signal };
      await expect(fetchExtraFiles(1, [file(name, '1')], options)).rejects.toMatchObject({ code: 'USAGE' });
    }
    expect(await readFile(join(out.path, 'a1'), 'utf8')).toBe('mine');
    expect((await lstat(join(out.path, 'b1.png'))).isDirectory()).toBe(true);
  });

  it('leaves nothing of a frame behind when one of its files cannot be had', async () => {
    await using out = await tempFolder();
    const { blobs } = fakeBlobs('2'.repeat(64));
    const options = { blobs, outFolder: out.path, places: new ExtraPlaces([]), signal };
    const files = [file('a1.png', '1'), file('b1.png', '2')];
    await expect(fetchExtraFiles(1, files, options)).rejects.toMatchObject({ code: 'NOT_FOUND' });
    expect(await readdir(out.path)).toEqual([]);
  });
});
