/**
 * Tiles and whole frames of odd scenes against bare Blender: every channel of the EXR by name, every value of the
 * picture. One line per case says what was compared.
 */
import { execFile } from 'node:child_process';
import { mkdir, readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createProcessRuntime } from '../../platform/render/process/runtime.ts';
import type { FinishedFrame, RenderRuntime, RenderSession } from '../../platform/render/runtime.ts';
import type { Precision } from '../../protocol/output.ts';
import { compareLayers, EQUAL } from './compare-layers.ts';
import { type References, references } from './references.ts';
import { cut, differingValues, localBlender, temporaryFolder } from './support.ts';

const run = promisify(execFile);
const HERE = dirname(fileURLToPath(import.meta.url));
const BARE = ['-b', '--factory-startup', '--disable-autoexec', '-noaudio', '--python-exit-code', '1'];
const TIMEOUT_MS = 300_000;
const FRAME = 2;
/** Grids other than 3x2, and what else a case needs. */
const GRIDS: Readonly<Record<string, readonly [number, number]>> = {
  narrow: [3, 8],
  flat: [9, 2],
  single_pixel: [1, 1],
  one_pixel_border: [1, 1],
  one_pixel_tiles: [5, 3],
  panorama: [4, 2],
  wide_filter: [6, 5],
};
const CASES = [
  ...['narrow', 'flat', 'single_pixel', 'percentage_33', 'pixel_aspect', 'pixel_aspect_tall'],
  ...['border_crop', 'border_full', 'border_percentage_aspect', 'one_pixel_tiles', 'one_pixel_border'],
  ...['panorama', 'fisheye', 'ortho_shift', 'motion_blur_dof', 'transparent_film', 'layers'],
  ...['layer_named_composite', 'cryptomatte', 'every_pass', 'volumes', 'adaptive_sampling'],
  'adaptive_border',
  ...['light_tree_off', 'light_tree_on', 'denoise_flag', 'auto_tile', 'adaptive_subdivision', 'simplify'],
  ...['wide_filter', 'film_settings'],
];
/** Of those with names and with values that are not colours, once more in half precision. */
const HALF_CASES = ['cryptomatte', 'every_pass', 'layers'];
/** Debian's Blender has no denoiser and ends with an error where a scene wants one. */
const WITHOUT_DENOISING = 'import bpy; bpy.context.scene.cycles.use_denoising = False';

describe('odd scenes', { timeout: TIMEOUT_MS }, () => {
  const { signal } = new AbortController();
  let folder: Awaited<ReturnType<typeof temporaryFolder>>;
  let runtime: RenderRuntime;
  let counter = 0;
  const scenes = () => join(folder.path, 'scenes');
  const fresh = (extension: string) => join(folder.path, `${++counter}${extension}`);

  const wanted = (scene: string, depth: number) => ({
    scene: join(scenes(), `${scene}.blend`),
    frame: FRAME,
    depth,
    expression: scene === 'denoise_flag' ? WITHOUT_DENOISING : undefined,
  });
  let rendered: Promise<References[]> | undefined;

  /** What bare Blender makes of a scene; the first to ask has all of them rendered. */
  async function bare(scene: string, depth: 16 | 32 = 32): Promise<References> {
    rendered ??= references(
      localBlender,
      [...CASES.map((one) => wanted(one, 32)), ...HALF_CASES.map((one) => wanted(one, 16))],
      folder.path,
    );
    const index = depth === 32 ? CASES.indexOf(scene) : CASES.length + HALF_CASES.indexOf(scene);
    const reference = (await rendered)[index];
    if (reference === undefined) throw new Error(`no reference of ${scene}`);
    return reference;
  }

  async function tiled(
    session: RenderSession,
    grid: readonly [number, number],
    precision: Precision = 'float',
  ): Promise<FinishedFrame> {
    const { region, picture } = await session.inspect({ signal });
    const tiles = [];
    for (const rect of cut(region, grid[0], grid[1])) {
      const tile = await session.render({ frame: FRAME, rect, precision, output: fresh('.exr') }, { signal });
      tiles.push({ rect, path: tile.exrPath });
    }
    const outputs = { exrOutput: fresh('.exr'), pictureOutput: fresh('.png') };
    return await session.finish({ frame: FRAME, region, picture, tiles, ...outputs }, { signal });
  }

  beforeAll(async () => {
    folder = await temporaryFolder();
    await mkdir(scenes());
    await mkdir(join(folder.path, 'exchange'));
    await run('blender', [...BARE, '--python', join(HERE, 'make-odd-cases.py'), '--', scenes()]);
    runtime = await createProcessRuntime({ signal, tempFolder: join(folder.path, 'exchange') });
  }, TIMEOUT_MS);
  afterAll(() => folder[Symbol.asyncDispose]());

  it('are all rendered here', async () => {
    const made = (await readFile(join(scenes(), 'cases.txt'), 'utf8')).split('\n');
    expect([...CASES].sort()).toEqual(made.sort());
  });

  it.each(CASES)('%s', async (scene) => {
    const reference = await bare(scene);
    await using session = await runtime.open(
      { root: scenes(), main: `${scene}.blend` },
      { signal, threads: 2 },
    );
    const { region, picture, usesCompositor } = await session.inspect({ signal });
    const outputs = { exrOutput: fresh('.exr'), pictureOutput: fresh('.png') };
    const frame = await session.renderFrame({ frame: FRAME, region, picture, ...outputs }, { signal });
    const grid = GRIDS[scene] ?? [3, 2];
    const merged = await tiled(session, grid);
    // What the compositor made is a layer of Blender's file; the farm's raw layers are what it was made from.
    const ignored = usesCompositor ? 'Composite.' : undefined;
    const layers = await compareLayers(
      [
        { first: reference.layers, second: merged.exrPath, ignored },
        { first: reference.layers, second: frame.exrPath, ignored },
      ],
      folder.path,
    );
    const pictures = [
      await differingValues(reference.picture, merged.picturePath),
      await differingValues(reference.picture, frame.picturePath),
    ];
    const [first] = layers;
    const line = `${scene} ${grid.join('x')} of ${region.width}x${region.height}: ${layers.map((l) => l.differing)} of ${first?.values} layer values differ, ${pictures.map((p) => p.differing)} of ${pictures[0]?.values} picture values (tiles, whole)`;
    process.stdout.write(`${line}\n`);
    for (const compared of layers) {
      expect(compared).toMatchObject(EQUAL);
    }
    for (const compared of pictures) expect(compared).toMatchObject({ differing: 0 });
    expect(frame.pixelDigest).toBe(merged.pixelDigest);
  });

  it.each(HALF_CASES)('%s, in half precision', async (scene) => {
    const reference = await bare(scene, 16);
    await using session = await runtime.open(
      { root: scenes(), main: `${scene}.blend` },
      { signal, threads: 2 },
    );
    const merged = await tiled(session, [3, 2], 'half');
    const { usesCompositor } = await session.inspect({ signal });
    const ignored = usesCompositor ? 'Composite.' : undefined;
    const [layers] = await compareLayers(
      [{ first: reference.layers, second: merged.exrPath, ignored }],
      folder.path,
    );
    process.stdout.write(`${scene}, half: ${layers?.differing} of ${layers?.values} layer values differ\n`);
    expect(layers).toMatchObject(EQUAL);
  });
});
