/** Engine images: what they say about themselves, and that they are made whole or not at all. */
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { archiveFiles, dockerArchitecture } from '../../platform/render/images/archive.ts';
import { buildImage } from '../../platform/render/images/build.ts';
import { engineIdOf, engineImage, type ListedImage } from '../../platform/render/images/labels.ts';
import { listImages } from '../../platform/render/images/list.ts';
import {
  DEFAULT_MIRROR,
  DEFAULT_SUITE,
  recipeDigest,
  versionIn,
} from '../../platform/render/images/recipe.ts';
import { testImage } from './docker-support.ts';

const { signal } = new AbortController();
const SOURCE = { kind: 'debootstrap', suite: DEFAULT_SUITE, mirror: DEFAULT_MIRROR } as const;

describe('an engine image', () => {
  const listed: ListedImage = {
    Id: `sha256:${'0123456789abcdef'.repeat(4)}`,
    RepoTags: ['tessera/blender:4.3.2-debian', '<none>:<none>'],
    Labels: {
      'org.tessera.engine': 'blender',
      'org.tessera.blender-version': '4.3.2',
      'org.tessera.gpu': 'cuda,optix',
    },
    Size: 5,
    Created: 7,
  };

  it('is named by its Blender and its bytes', () => {
    const image = engineImage(listed);
    expect(image).toMatchObject({
      version: '4.3.2',
      gpu: ['cuda', 'optix'],
      tags: ['tessera/blender:4.3.2-debian'],
    });
    expect(image && engineIdOf(image)).toBe('blender-4.3.2@sha256:0123456789ab');
  });

  it.each([
    ['no labels', { Labels: null }],
    ['another engine', { Labels: { ...listed.Labels, 'org.tessera.engine': 'other' } }],
    ['a version that is none', { Labels: { ...listed.Labels, 'org.tessera.blender-version': '4.3; rm' } }],
    ['an id that is none', { Id: 'sha256:12' }],
  ])('is none with %s', (_what, other) => {
    expect(engineImage({ ...listed, ...other })).toBeNull();
  });

  it('is the same for the same layer: nothing of the moment or the machine is in its description', () => {
    const image = { tag: 't:1', layerDigest: 'ab', createdAtMs: 1_000, architecture: 'x64' as const };
    const one = archiveFiles({ ...image, labels: { a: '1', b: '2' } });
    expect(archiveFiles({ ...image, labels: { b: '2', a: '1' } })).toEqual(one);
    expect(JSON.parse(one.config)).toMatchObject({
      architecture: 'amd64',
      rootfs: { diff_ids: ['sha256:ab'] },
    });
    expect(dockerArchitecture('arm64')).toBe('arm64');
  });

  it('has a recipe that depends on the source, but not on the mirror', async () => {
    const own = await recipeDigest(SOURCE);
    expect(await recipeDigest({ ...SOURCE, mirror: 'http://example.org' })).toBe(own);
    expect(await recipeDigest({ ...SOURCE, suite: 'sid' })).not.toBe(own);
    expect(await recipeDigest({ kind: 'base', image: DEFAULT_SUITE })).not.toBe(own);
    expect(versionIn('x\nBlender 4.3.2\n')).toBe('4.3.2');
    expect(versionIn('blender: not found')).toBeUndefined();
  });
});

describe('building', () => {
  it('does nothing when the image is there', async () => {
    const { docker } = await testImage();
    const lines: string[] = [];
    const again = await buildImage(docker, SOURCE, { signal, onProgress: (line) => lines.push(line) });
    expect(again).toMatchObject({ built: false, recipe: await recipeDigest(SOURCE) });
    expect(lines).toEqual([]);
  });

  it('that is cut off leaves no image, no files and nothing running', async () => {
    const { docker } = await testImage();
    const before = await listImages(docker, signal);
    const tempFolder = await mkdtemp(join(tmpdir(), 'tessera-test-'));
    const stop = new AbortController();
    try {
      const options = { signal: stop.signal, tempFolder, again: true, onProgress: () => stop.abort() };
      await expect(buildImage(docker, SOURCE, options)).rejects.toMatchObject({ code: 'INTERRUPTED' });
      expect(await readdir(tempFolder)).toEqual([]);
      expect(await listImages(docker, signal)).toEqual(before);
    } finally {
      await rm(tempFolder, { recursive: true, force: true });
    }
  });

  it('from a base that is not there, and from a mirror that is not there, says why', async () => {
    const { docker } = await testImage();
    const tempFolder = await mkdtemp(join(tmpdir(), 'tessera-test-'));
    const options = { signal, tempFolder, onProgress: () => undefined };
    try {
      const base = { kind: 'base', image: '127.0.0.1:9/nowhere:1' } as const;
      await expect(buildImage(docker, base, options)).rejects.toMatchObject({ code: 'IMAGE_BUILD_FAILED' });
      const nowhere = { ...SOURCE, mirror: 'http://127.0.0.1:9/debian' };
      await expect(buildImage(docker, nowhere, { ...options, again: true })).rejects.toMatchObject({
        code: 'IMAGE_BUILD_FAILED',
        kept: 'no image was made',
      });
    } finally {
      await rm(tempFolder, { recursive: true, force: true });
    }
  });
});
