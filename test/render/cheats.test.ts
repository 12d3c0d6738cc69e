/** The cheats themselves: each delivers a file that any reader takes, holding what its receipt says and no honest render. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { packageRoot } from '../../platform/package-root.ts';
import { createProcessRuntime } from '../../platform/render/process/runtime.ts';
import type { RenderRuntime, RenderSession } from '../../platform/render/runtime.ts';
import { compareCrops } from '../../proof/compare.ts';
import { type PixelImage, pixelDigest, readRawPixels } from '../../proof/pixels.ts';
import { cheatingRuntime } from '../adversaries/cheating-runtime.ts';
import { CHEATS, type Cheat, cheatNamed } from '../adversaries/cheats.ts';
import { temporaryFolder } from './support.ts';

const { signal } = new AbortController();
const SCENE = { root: join(packageRoot(), 'samples/turntable'), main: 'turntable.blend' };
/** On the turntable itself, where every cheat has something to change. */
const TILE = { frame: 5, rect: { x: 200, y: 120, width: 48, height: 48 }, samples: 16 };

describe('a cheat', { timeout: 600_000 }, () => {
  let folder: Awaited<ReturnType<typeof temporaryFolder>>;
  let runtime: RenderRuntime;
  let honest: RenderSession;
  let reference: PixelImage;

  const pixelsOf = async (exr: string): Promise<PixelImage> => {
    const { rawPath } = await honest.readPixels({ exr, output: `${exr}.check` }, { signal });
    return readRawPixels(await readFile(rawPath));
  };
  const open = (cheat: Cheat) => cheatingRuntime(runtime, cheat).open(SCENE, { signal, threads: 2 });

  beforeAll(async () => {
    folder = await temporaryFolder();
    runtime = await createProcessRuntime({ signal, tempFolder: folder.path });
    honest = await runtime.open(SCENE, { signal, threads: 2 });
    const output = join(folder.path, 'honest.exr');
    await honest.render({ ...TILE, output }, { signal });
    reference = await pixelsOf(output);
  }, 120_000);
  afterAll(async () => {
    await honest?.close();
    await folder?.[Symbol.asyncDispose]();
  });

  it.each(CHEATS)('$name: a node that $says', async (cheat) => {
    await using session = await open(cheat);
    const output = join(folder.path, `${cheat.name}.exr`);
    const tile = await session.render({ ...TILE, output }, { signal });
    const claim = await pixelsOf(output);
    expect(pixelDigest(claim)).toBe(tile.pixelDigest);
    const { channels, width, height } = reference;
    expect(claim).toMatchObject({ channels, width: cheat.name === 'wrong-size' ? width - 1 : width, height });
    const { outcome, decidedBy } = compareCrops(reference, claim);
    // What leaves every pixel as it is saves nothing here: no light bounces off the turntable twice.
    if (decidedBy === 'digest') expect(['adaptive', 'one-bounce', 'clamp']).toContain(cheat.name);
    else expect(outcome).not.toBe('pass');
  });

  it('finishes a whole frame from what it committed to', async () => {
    const region = { x: 0, y: 0, width: 480, height: 270 };
    const outputs = (name: string) => ({
      exrOutput: join(folder.path, `${name}.frame.exr`),
      pictureOutput: join(folder.path, `${name}.png`),
    });
    await using session = await open({ ...cheatNamed('brighter'), samples: () => 1 });
    const { frame } = TILE;
    const made = await session.renderFrame({ frame, region, samples: 4, ...outputs('cheat') }, { signal });
    const tiles = [{ rect: region, path: made.exrPath }];
    const again = await honest.finish({ frame, region, tiles, ...outputs('again') }, { signal });
    expect(again.pixelDigest).toBe(made.pixelDigest);
    expect(await readFile(again.picturePath)).toEqual(await readFile(made.picturePath));
  });
});
