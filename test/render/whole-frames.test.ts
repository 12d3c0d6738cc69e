/** A frame that is not tiled: rendered and finished in one render call, and still the same as every other way. */
import { mkdir, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createProcessRuntime } from '../../platform/render/process/runtime.ts';
import type { RenderRuntime, RenderSession } from '../../platform/render/runtime.ts';
import { pixelDigest, readRawPixels } from '../../proof/pixels.ts';
import { referencePictures } from './references.ts';
import { cut, differingValues, localBlender, makeFixtures, temporaryFolder } from './support.ts';

const TIMEOUT_MS = 180_000;
const FRAME = 2;
/** What the odd cases (odd-cases.test.ts), which are compared whole too, do not have: compositors, borders with them, a library. */
const SCENES = ['composite', 'composite-crop', 'composite-border', 'layers-mixed', 'linked/scene'];

describe('frames that are not tiled', { timeout: TIMEOUT_MS }, () => {
  const { signal } = new AbortController();
  let folder: Awaited<ReturnType<typeof temporaryFolder>>;
  let runtime: RenderRuntime;
  let counter = 0;
  const scenes = () => join(folder.path, 'scenes');
  const exchange = () => join(folder.path, 'exchange');
  const fresh = (extension = '') => join(folder.path, `${++counter}${extension}`);
  const open = (scene: string) =>
    runtime.open({ root: scenes(), main: `${scene}.blend` }, { signal, threads: 2 });

  let rendered: Promise<string[]> | undefined;

  /** What bare Blender writes; the first to ask has all of them rendered. */
  async function reference(scene: string): Promise<string> {
    const wanted = SCENES.map((name) => ({ scene: join(scenes(), `${name}.blend`), frame: FRAME }));
    rendered ??= referencePictures(localBlender, wanted, folder.path);
    const path = (await rendered)[SCENES.indexOf(scene)];
    if (path === undefined) throw new Error(`no reference of ${scene}`);
    return path;
  }

  /** The tile path over a grid. */
  async function tiled(session: RenderSession, frame: number, precision: 'float' | 'half' = 'float') {
    const { region, picture } = await session.inspect({ signal });
    const tiles = [];
    for (const rect of cut(region, 3, 2)) {
      const tile = await session.render({ frame, rect, precision, output: fresh('.exr') }, { signal });
      tiles.push({ rect, path: tile.exrPath });
    }
    const outputs = { exrOutput: fresh('.exr'), pictureOutput: fresh('.png') };
    return await session.finish({ frame, region, picture, tiles, ...outputs }, { signal });
  }

  async function whole(session: RenderSession, frame: number, more: { precision?: 'float' | 'half' } = {}) {
    const { region, picture } = await session.inspect({ signal });
    const outputs = { exrOutput: fresh('.exr'), pictureOutput: fresh('.png') };
    return await session.renderFrame({ frame, region, picture, ...outputs, ...more }, { signal });
  }

  beforeAll(async () => {
    folder = await temporaryFolder();
    await mkdir(exchange());
    await makeFixtures(scenes());
    runtime = await createProcessRuntime({ signal, tempFolder: exchange() });
  }, TIMEOUT_MS);
  afterAll(() => folder[Symbol.asyncDispose]());

  it.each(SCENES)('%s: picture as Blender alone writes it, pixels as the merged tiles', async (scene) => {
    const expected = await reference(scene);
    await using session = await open(scene);
    const frame = await whole(session, FRAME);
    expect(await differingValues(expected, frame.picturePath)).toMatchObject({ differing: 0 });
    const merged = await tiled(session, FRAME);
    expect(frame.pixelDigest).toBe(merged.pixelDigest);
    expect([frame.width, frame.height]).toEqual([merged.width, merged.height]);
    expect(await differingValues(merged.picturePath, frame.picturePath)).toMatchObject({ differing: 0 });
    const decoded = await session.readPixels({ exr: frame.exrPath, output: fresh('.raw') }, { signal });
    expect(decoded.pixelDigest).toBe(frame.pixelDigest);
    expect(pixelDigest(readRawPixels(await readFile(decoded.rawPath)))).toBe(frame.pixelDigest);
  });

  it('stay exact from frame to frame, and between tiles', async () => {
    await using session = await open('composite-border');
    const first = await whole(session, 1);
    const later = await whole(session, 4);
    expect((await tiled(session, 4)).pixelDigest).toBe(later.pixelDigest);
    const again = await whole(session, 1);
    expect(again.pixelDigest).toBe(first.pixelDigest);
    expect(later.pixelDigest).not.toBe(first.pixelDigest);
    expect(await differingValues(first.picturePath, again.picturePath)).toMatchObject({ differing: 0 });
    expect(first).toMatchObject({ samples: 8, width: 97, height: 55, extraFiles: [] });
    expect(first.peakMemoryBytes).toBeGreaterThan(10 * 2 ** 20);
  });

  it('of half precision come from the quantised pixels, as those of half tiles do', async () => {
    await using session = await open('composite');
    const exact = await whole(session, FRAME);
    const half = await whole(session, FRAME, { precision: 'half' });
    const merged = await tiled(session, FRAME, 'half');
    expect(half.pixelDigest).toBe(merged.pixelDigest);
    expect(half.pixelDigest).not.toBe(exact.pixelDigest);
    expect(await differingValues(merged.picturePath, half.picturePath)).toMatchObject({ differing: 0 });
    const { largest } = await differingValues(exact.picturePath, half.picturePath);
    expect(largest).toBeLessThanOrEqual(4);
  });

  it('leave nothing behind in the session', async () => {
    await using session = await open('composite');
    await whole(session, FRAME);
    await whole(session, FRAME, { precision: 'half' });
    const [own] = await readdir(exchange());
    expect(await readdir(join(exchange(), own ?? '', 'out'))).toEqual([]);
  });
});
