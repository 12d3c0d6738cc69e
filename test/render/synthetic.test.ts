import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { findEngines } from '../../platform/render/engines.ts';
import { createSyntheticRuntime, isSynthetic } from '../../platform/render/synthetic/runtime.ts';
import type { SyntheticScene } from '../../platform/render/synthetic/scene.ts';
import { crop, readRawPixels } from '../../proof/pixels.ts';
import { portConformance } from './conformance/contract.ts';
import { temporaryFolder } from './support.ts';

const { signal } = new AbortController();
const RESOLUTION = { width: 97, height: 55 };
const PLAIN: SyntheticScene = { resolution: RESOLUTION, frameEnd: 5, samples: 8 };
const FULL = { x: 0, y: 0, ...RESOLUTION };
const REGION = { x: 12, y: 4, width: 66, height: 39 };

async function writeScene(folder: string, name: string, scene: object): Promise<void> {
  await writeFile(join(folder, `${name}.blend`), JSON.stringify(scene));
}

portConformance('synthetic', async () => createSyntheticRuntime(), {
  async make(folder) {
    await writeScene(folder, 'plain', PLAIN);
    await writeScene(folder, 'composite', { ...PLAIN, seed: 1 });
    await writeScene(folder, 'composite-crop', { ...PLAIN, region: REGION });
    await writeScene(folder, 'border', { ...PLAIN, region: REGION });
    await writeScene(folder, 'slow', { ...PLAIN, durationMs: 600_000 });
  },
  slow: 'slow',
});

describe('synthetic runtime', () => {
  const runtime = createSyntheticRuntime();
  const rect = { x: 5, y: 7, width: 20, height: 10 };

  async function digestOf(
    scene: SyntheticScene,
    command: { frame?: number; samples?: number; sampleOffset?: number; precision?: 'half' } = {},
  ): Promise<string> {
    await using folder = await temporaryFolder();
    await writeScene(folder.path, 'scene', scene);
    await using session = await runtime.open(
      { root: folder.path, main: 'scene.blend' },
      { signal, threads: 1 },
    );
    const output = join(folder.path, 'tile.exr');
    return (await session.render({ frame: 1, rect, ...command, output }, { signal })).pixelDigest;
  }

  it('makes pixels of scene, seed, frame, samples, their offset and precision, and of nothing else', async () => {
    const all = await Promise.all([
      digestOf(PLAIN),
      digestOf({ ...PLAIN, frameEnd: 6 }),
      digestOf({ ...PLAIN, seed: 1 }),
      digestOf(PLAIN, { frame: 2 }),
      digestOf(PLAIN, { samples: 2 }),
      digestOf(PLAIN, { sampleOffset: 2 }),
      digestOf(PLAIN, { precision: 'half' }),
    ]);
    expect(new Set(all).size).toBe(all.length);
    expect(await digestOf(PLAIN)).toBe(all[0]);
    // Written down: nodes of another version of this program must not make others under the same engine's name.
    expect(all[0]).toBe('18898842c30676b1c43e089c4ff3fdf769d17f0a5cb653acce158e2fe0592b65');
  });

  it('gives half floats values that they hold exactly, and crops that are parts of the whole', async () => {
    await using folder = await temporaryFolder();
    await writeScene(folder.path, 'scene', PLAIN);
    await using session = await runtime.open(
      { root: folder.path, main: 'scene.blend' },
      { signal, threads: 1 },
    );
    const read = async (part: typeof rect) => {
      const output = join(folder.path, 'tile.exr');
      await session.render({ frame: 1, rect: part, precision: 'half', output }, { signal });
      return readRawPixels(await readFile(output));
    };
    const whole = await read(FULL);
    const part = await read(rect);
    expect(part).toEqual(crop(whole, rect));
    expect([...part.data].filter((value) => !Number.isInteger(value * 2 ** 11) || value > 1)).toEqual([]);
  });

  it.each([
    ['a .blend', 'BLENDER-v304RENDH'],
    ['no frames', JSON.stringify({ resolution: RESOLUTION })],
    ['a region outside', JSON.stringify({ ...PLAIN, region: { x: 90, y: 0, width: 8, height: 8 } })],
    ['more pixels than memory', JSON.stringify({ ...PLAIN, resolution: { width: 65_536, height: 65_536 } })],
    ['a word that it does not know', JSON.stringify({ ...PLAIN, script: 'rm -rf /' })],
    ['megabytes', `${JSON.stringify(PLAIN)}${' '.repeat(2 ** 20)}`],
  ])('refuses %s as a scene', async (_, text) => {
    await using folder = await temporaryFolder();
    await writeFile(join(folder.path, 'scene.blend'), text);
    const opening = runtime.open({ root: folder.path, main: 'scene.blend' }, { signal, threads: 1 });
    await expect(opening).rejects.toMatchObject({ code: 'SCENE_UNREADABLE' });
  });

  it('writes PNG only, and says so before', async () => {
    await using folder = await temporaryFolder();
    await writeScene(folder.path, 'scene', PLAIN);
    await using session = await runtime.open(
      { root: folder.path, main: 'scene.blend' },
      { signal, threads: 1 },
    );
    const { region, writableFormats, warnings } = await session.inspect({ signal });
    expect(writableFormats).toEqual(['png']);
    expect(warnings.join()).toContain('not a picture');
    const outputs = { exrOutput: join(folder.path, 'a.exr'), pictureOutput: join(folder.path, 'a.picture') };
    const frame = session.renderFrame(
      { frame: 1, region, output: { format: 'jpeg' }, ...outputs },
      { signal },
    );
    await expect(frame).rejects.toMatchObject({ code: 'OUTPUT_INVALID' });
  });

  it('is found alone, by its name, and never with the engines of people', async () => {
    await using folder = await temporaryFolder();
    const found = await findEngines({ signal, choice: 'synthetic', tempFolder: folder.path });
    expect(found.map(({ engine }) => [engine.runtime, isSynthetic(engine.id)])).toEqual([
      ['synthetic', true],
    ]);
    const local = await findEngines({ signal, choice: 'process', tempFolder: folder.path });
    expect(local.filter(({ engine }) => isSynthetic(engine.id))).toEqual([]);
  });
});
