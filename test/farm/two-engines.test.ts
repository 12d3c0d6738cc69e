import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { engineIdOf } from '../../platform/render/images/labels.ts';
import { blenderInImage, testImage } from '../render/docker-support.ts';
import {
  type BareBlender,
  differingValues,
  localBlender,
  makeFixtures,
  referencePicture,
} from '../render/support.ts';
import { startTestFarm, type TestFarm } from '../support/farm.ts';

const FRAME = 2;

describe('a farm with the local Blender and one in a container', () => {
  let farm: TestFarm;
  let folder: string;
  let inContainer: string;
  const scene = (made: 'locally' | 'in the container') => join(folder, made, 'plain.blend');

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'tessera-test-'));
    inContainer = engineIdOf((await testImage()).image);
    await makeFixtures(join(folder, 'locally'), localBlender);
    await makeFixtures(join(folder, 'in the container'), blenderInImage());
    farm = await startTestFarm({ runtime: 'auto', leaseMs: 30_000, nodes: [{ id: 'node-1' }] });
  });
  afterAll(async () => {
    await farm[Symbol.asyncDispose]();
    await rm(folder, { recursive: true, force: true });
  });

  const references = new Map<string, Promise<string>>();
  /** What an engine alone makes of a scene, made once. */
  function referenceOf(bare: BareBlender, path: string): Promise<string> {
    const key = `${bare.madeBy} ${path}`;
    const made =
      references.get(key) ??
      mkdtemp(join(folder, 'bare-')).then((own) => referencePicture(bare, path, FRAME, own));
    references.set(key, made);
    return made;
  }

  async function requirePixelsOf(bare: BareBlender, path: string, request: { engine?: string }) {
    const job = await farm.submit(path, { ...request, frames: [FRAME], tiles: { columns: 2, rows: 1 } });
    const { files, job: done } = await farm.finish(job.id);
    expect(done.state).toBe('completed');
    expect(await differingValues(await referenceOf(bare, path), files[0]?.picture ?? '')).toMatchObject({
      differing: 0,
    });
    return job.spec.engine;
  }

  test('renders each scene with the Blender that saved it, value for value', {
    timeout: 600_000,
  }, async () => {
    expect(await requirePixelsOf(localBlender, scene('locally'), {})).toMatch(/^blender-[\d.]+$/);
    expect(await requirePixelsOf(blenderInImage(folder), scene('in the container'), {})).toBe(inContainer);
  });

  test('renders with the engine that was asked for, by version or by name', {
    timeout: 600_000,
  }, async () => {
    const [, version = ''] = /^blender-(\d+\.\d+)/.exec(inContainer) ?? [];
    const bare = blenderInImage(folder);
    expect(await requirePixelsOf(bare, scene('locally'), { engine: version })).toBe(inContainer);
    expect(await requirePixelsOf(bare, scene('locally'), { engine: inContainer })).toBe(inContainer);
  });

  test('refuses an engine it does not have and a GPU it does not have, and says what there is', async () => {
    await expect(farm.submit(scene('locally'), { engine: 'blender-9.9.9' })).rejects.toMatchObject({
      code: 'ENGINE_NOT_FOUND',
      message: expect.stringContaining(inContainer),
    });
    await expect(farm.submit(scene('locally'), { device: 'gpu' })).rejects.toMatchObject({
      code: 'GPU_NOT_FOUND',
    });
  });
});
