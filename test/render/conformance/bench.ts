/** What the tests of every render runtime work with. */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect } from 'vitest';
import type { RenderRuntime, RenderSession, SceneInspection } from '../../../platform/render/runtime.ts';
import type { ErrorCode } from '../../../protocol/errors.ts';
import type { Rect } from '../../../protocol/rect.ts';
import { cut, temporaryFolder } from '../support.ts';

/** Blender starts several times in a test, on a machine that may do other things too. */
export const TIMEOUT_MS = 300_000;
export const FRAME = 2;

export type RuntimeMaker = (options: { signal: AbortSignal; tempFolder: string }) => Promise<RenderRuntime>;

/** The scenes of a suite; those of the contract are there under the same names for every runtime. */
export type Scenes = {
  make: (folder: string) => Promise<void>;
  /** Renders for minutes with {@link LONG_SAMPLES}. */
  slow: string;
};
export const LONG_SAMPLES = 60_000;

export function code(expected: ErrorCode) {
  return expect.objectContaining({ code: expected });
}

type Tile = { rect: Rect; path: string; pixelDigest: string };

export type Bench = ReturnType<typeof makeBench>;

/** To be called inside a describe: it makes the runtime and the scenes before all tests. */
export function makeBench(makeRuntime: RuntimeMaker, { make: makeScenes, slow }: Scenes) {
  const { signal } = new AbortController();
  let folder: Awaited<ReturnType<typeof temporaryFolder>>;
  let runtime: RenderRuntime;
  let counter = 0;
  const scenes = () => join(folder.path, 'scenes');
  const exchange = () => join(folder.path, 'exchange');
  const fresh = (extension: string) => join(folder.path, `${++counter}${extension}`);
  const open = (scene: string, root = scenes(), options: { signal?: AbortSignal } = {}) =>
    runtime.open({ root, main: `${scene}.blend` }, { signal, threads: 2, ...options });

  async function renderTiles(
    session: RenderSession,
    region: Rect,
    grid: readonly [number, number],
    frame = FRAME,
  ) {
    const tiles: Tile[] = [];
    for (const rect of cut(region, grid[0], grid[1])) {
      const tile = await session.render({ frame, rect, output: fresh('.exr') }, { signal });
      tiles.push({ rect, path: tile.exrPath, pixelDigest: tile.pixelDigest });
    }
    return tiles;
  }

  function finish(
    session: RenderSession,
    scene: SceneInspection,
    tiles: { rect: Rect; path: string }[],
    frame = FRAME,
  ) {
    const { region, picture } = scene;
    const outputs = { exrOutput: fresh('.exr'), pictureOutput: fresh('.png') };
    return session.finish({ frame, region, picture, tiles, ...outputs }, { signal });
  }

  async function wholeFrame(session: RenderSession, frame: number) {
    const scene = await session.inspect({ signal });
    const [tile] = await renderTiles(session, scene.region, [1, 1], frame);
    if (tile === undefined) throw new Error('no tile');
    return { scene, tile };
  }

  beforeAll(async () => {
    folder = await temporaryFolder();
    await mkdir(exchange());
    await mkdir(scenes());
    await makeScenes(scenes());
    runtime = await makeRuntime({ signal, tempFolder: exchange() });
  }, TIMEOUT_MS);
  afterAll(() => folder[Symbol.asyncDispose]());

  return {
    signal,
    slow,
    get runtime() {
      return runtime;
    },
    /** Everything of this bench lies in it; it goes away at the end. */
    folder: () => folder.path,
    scenes,
    exchange,
    fresh,
    open,
    renderTiles,
    finish,
    wholeFrame,
  };
}
