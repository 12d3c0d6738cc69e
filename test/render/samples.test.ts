/**
 * Every sample with every engine of this machine, whole and in tiles, against the same Blender alone: each value of the
 * picture, each channel of the EXR by its name. One line per case says what was compared.
 */
import { mkdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createDockerRuntime } from '../../platform/render/docker/runtime.ts';
import { createProcessRuntime } from '../../platform/render/process/runtime.ts';
import type { FinishedFrame, RenderRuntime, RenderSession } from '../../platform/render/runtime.ts';
import { compareLayers, EQUAL } from './compare-layers.ts';
import { blenderInImage, testImage } from './docker-support.ts';
import { references } from './references.ts';
import { type BareBlender, cut, differingValues, localBlender, temporaryFolder } from './support.ts';

const SAMPLES = join(dirname(fileURLToPath(import.meta.url)), '../../samples');
/** The turntable has its own number; of the large ones each sample takes a second and shows nothing new. */
const FEW_SAMPLES = 4;
const CASES: { name: string; frame: number; samples?: number }[] = [
  { name: 'turntable', frame: 7 },
  { name: 'project', frame: 1, samples: FEW_SAMPLES },
  { name: 'still', frame: 1, samples: FEW_SAMPLES },
];
type Case = (typeof CASES)[number];
const GRID = [5, 4] as const;
const TIMEOUT_MS = 600_000;

type Maker = (tempFolder: string, signal: AbortSignal) => Promise<RenderRuntime>;
const RUNTIMES: { name: string; make: Maker; bare: BareBlender }[] = [
  {
    name: 'process',
    make: (tempFolder, signal) => createProcessRuntime({ signal, tempFolder }),
    bare: localBlender,
  },
  {
    name: 'docker',
    make: async (tempFolder) =>
      createDockerRuntime({ ...(await testImage()), owner: tempFolder, tempFolder }),
    bare: blenderInImage(),
  },
];

describe.each(RUNTIMES)('the samples, $name', { timeout: TIMEOUT_MS }, ({ make, bare }) => {
  const { signal } = new AbortController();
  let folder: Awaited<ReturnType<typeof temporaryFolder>>;
  let runtime: RenderRuntime;
  let counter = 0;
  const fresh = (extension: string) => join(folder.path, `${++counter}${extension}`);
  const outputs = () => ({ exrOutput: fresh('.exr'), pictureOutput: fresh('.png') });

  async function whole(session: RenderSession, { frame, samples }: Case): Promise<FinishedFrame> {
    const { region, picture } = await session.inspect({ signal });
    return await session.renderFrame({ frame, samples, region, picture, ...outputs() }, { signal });
  }

  async function tiled(session: RenderSession, { frame, samples }: Case): Promise<FinishedFrame> {
    const { region, picture } = await session.inspect({ signal });
    const tiles = [];
    for (const rect of cut(region, ...GRID)) {
      const tile = await session.render({ frame, rect, samples, output: fresh('.exr') }, { signal });
      tiles.push({ rect, path: tile.exrPath });
    }
    return await session.finish({ frame, region, picture, tiles, ...outputs() }, { signal });
  }

  beforeAll(async () => {
    folder = await temporaryFolder();
    const exchange = join(folder.path, 'exchange');
    await mkdir(exchange);
    runtime = await make(exchange, signal);
  }, TIMEOUT_MS);
  afterAll(() => folder[Symbol.asyncDispose]());

  it.each(CASES)('$name, in one piece and in 5x4 tiles', async (one) => {
    const { name, frame, samples } = one;
    const scene = { root: join(SAMPLES, name), main: `${name}.blend` };
    const path = join(scene.root, scene.main);
    const expression =
      samples === undefined ? undefined : `import bpy; bpy.context.scene.cycles.samples = ${samples}`;
    const [reference] = await references(bare, [{ scene: path, frame, expression }], folder.path);
    if (reference === undefined) throw new Error('no reference');
    await using session = await runtime.open(scene, { signal, threads: 2 });
    const finished = [
      { grid: '1x1', ...(await whole(session, one)) },
      { grid: GRID.join('x'), ...(await tiled(session, one)) },
    ];
    // What the compositor made is a layer of Blender's file; the farm's layers are what it was made from.
    const pairs = finished.map(({ exrPath }) => ({
      first: reference.layers,
      second: exrPath,
      ignored: 'Composite.',
    }));
    const layers = await compareLayers(pairs, folder.path);
    for (const [index, { grid, picturePath }] of finished.entries()) {
      const picture = await differingValues(reference.picture, picturePath);
      const compared = layers[index];
      console.log(
        `${runtime.engine.id}, ${name} ${grid}: ${picture.differing} of ${picture.values} values differ,` +
          ` ${compared?.differing} of ${compared?.values} in the EXR`,
      );
      expect(picture, grid).toMatchObject({ differing: 0 });
      expect(compared, grid).toMatchObject(EQUAL);
    }
  });
});
