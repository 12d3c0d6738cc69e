import { mkdir, readdir, readFile, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it, vi } from 'vitest';
import { digestBytes } from '../../platform/blobs/digest-file.ts';
import { sceneDigest } from '../../platform/scenes/manifest.ts';
import { type FetchBlob, SceneCache } from '../../platform/scenes/scene-cache.ts';
import { FarmError } from '../../protocol/errors.ts';
import type { SceneManifest } from '../../protocol/job.ts';
import { tempFolder } from './temp-folder.ts';

const never = new AbortController().signal;
const file = (path: string, content = path) => ({
  path,
  digest: digestBytes(content),
  sizeBytes: content.length,
});
const manifest: SceneManifest = {
  main: 'shots/a.blend',
  files: [file('shots/a.blend'), file('textures/wood.png')],
};
const digest = sceneDigest(manifest);

/** Knows the files by the digest of their path. */
const fetching = (known: SceneManifest[]) =>
  vi.fn<FetchBlob>(async (wanted, path) => {
    const found = known.flatMap((one) => one.files).find((one) => one.digest === wanted);
    if (found === undefined) throw new FarmError('NOT_FOUND', `no blob ${wanted}`);
    await writeFile(path, found.path);
  });

describe('the name of a scene', () => {
  it('does not depend on the order of its files or of their fields', () => {
    fc.assert(
      fc.property(
        fc.shuffledSubarray(['a.blend', 'b.png', 'c/d.png', 'e.exr'], { minLength: 4 }),
        (order) => {
          const files = order.map((path) => ({ sizeBytes: path.length, digest: digestBytes(path), path }));
          const sorted = ['a.blend', 'b.png', 'c/d.png', 'e.exr'].map((path) => file(path));
          expect(sceneDigest({ main: 'a.blend', files })).toBe(
            sceneDigest({ files: sorted, main: 'a.blend' }),
          );
        },
      ),
    );
  });

  it('changes with every byte, path and choice of the main file', () => {
    const names = [
      manifest,
      { ...manifest, main: 'textures/wood.png' },
      { ...manifest, files: manifest.files.slice(0, 1) },
      { ...manifest, files: [file('shots/a.blend'), file('textures/wood.png', 'other bytes')] },
      {
        ...manifest,
        files: [file('shots/a.blend'), { ...file('textures/wood.png'), path: 'textures/Wood.png' }],
      },
    ].map(sceneDigest);
    expect(new Set(names).size).toBe(names.length);
  });
});

describe('the scene cache', () => {
  it('lays a scene out as a folder, once', async () => {
    await using folder = await tempFolder();
    const fetch = fetching([manifest]);
    const cache = await SceneCache.open(folder.path, fetch);
    const first = await cache.folderOf(digest, manifest, never);
    expect(first).toEqual({ root: join(folder.path, digest), main: 'shots/a.blend' });
    expect(await readFile(join(first.root, 'textures/wood.png'), 'utf8')).toBe('textures/wood.png');
    expect(await cache.folderOf(digest, manifest, never)).toEqual(first);
    expect(fetch).toHaveBeenCalledTimes(2);
  });

  it('refuses a file list that is not the one the digest names, before anything is fetched', async () => {
    await using folder = await tempFolder();
    const fetch = fetching([manifest]);
    const other = { ...manifest, files: [file('shots/a.blend')] };
    await expect(
      (await SceneCache.open(folder.path, fetch)).folderOf(digest, other, never),
    ).rejects.toMatchObject({
      code: 'BLOB_MISMATCH',
    });
    expect(fetch).not.toHaveBeenCalled();
    expect(await readdir(folder.path)).toEqual([]);
  });

  it('gives the same whole folder to several who ask at once', async () => {
    await using folder = await tempFolder();
    const cache = await SceneCache.open(folder.path, fetching([manifest]));
    const roots = await Promise.all([1, 2, 3, 4].map(() => cache.folderOf(digest, manifest, never)));
    expect(new Set(roots.map((scene) => scene.root))).toEqual(new Set([join(folder.path, digest)]));
    expect(await readdir(folder.path)).toEqual([digest]);
    expect((await readdir(join(folder.path, digest))).sort()).toEqual(['shots', 'textures']);
  });

  it('leaves nothing behind when a file cannot be fetched, and works when it can', async () => {
    await using folder = await tempFolder();
    const broken = await SceneCache.open(folder.path, fetching([]));
    await expect(broken.folderOf(digest, manifest, never)).rejects.toMatchObject({ code: 'NOT_FOUND' });
    expect(await readdir(folder.path)).toEqual([]);
    const mended = await (await SceneCache.open(folder.path, fetching([manifest]))).folderOf(
      digest,
      manifest,
      never,
    );
    expect((await readdir(mended.root)).sort()).toEqual(['shots', 'textures']);
  });

  it('keeps sixteen scenes and lets the one go that was used longest ago', async () => {
    await using folder = await tempFolder();
    const scenes = Array.from(
      { length: 17 },
      (_, index): SceneManifest => ({ main: 'a.blend', files: [file('a.blend', `${index}`)] }),
    );
    const cache = await SceneCache.open(folder.path, fetching(scenes));
    const names = scenes.map(sceneDigest);
    for (const [index, scene] of scenes.slice(0, 16).entries()) {
      const { root } = await cache.folderOf(names[index] as typeof digest, scene, never);
      await utimes(root, 1_000 + index, 1_000 + index);
    }
    // Used again just now, so the second oldest is the one to go.
    await cache.folderOf(names[0] as typeof digest, scenes[0] as SceneManifest, never);
    await cache.folderOf(names[16] as typeof digest, scenes[16] as SceneManifest, never);
    expect(new Set(await readdir(folder.path))).toEqual(new Set(names.filter((_name, index) => index !== 1)));
  });

  it('does not take other folders for scenes', async () => {
    await using folder = await tempFolder();
    await mkdir(join(folder.path, 'notes'));
    await (await SceneCache.open(folder.path, fetching([manifest]))).folderOf(digest, manifest, never);
    expect(new Set(await readdir(folder.path))).toEqual(new Set([digest, 'notes']));
  });
});
