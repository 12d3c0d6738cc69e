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

  const kept = new Map<string, Promise<RenderSession>>();
  /**
   * A session that tests have one after the other, for those that leave it as they found it: most of their time would
   * else be a start of Blender each. Opened anew where it has ended.
   */
  async function shared(scene: string): Promise<RenderSession> {
    const opening = kept.get(scene) ?? open(scene);
    kept.set(scene, opening);
    const session = await opening;
    void session.closed.then(() => {
      if (kept.get(scene) === opening) kept.delete(scene);
    });
    return session;
  }
  /** For tests that count what a runtime leaves behind. */
  async function closeShared(): Promise<void> {
    const opened = await Promise.allSettled(kept.values());
    kept.clear();
    for (const one of opened) if (one.status === 'fulfilled') await one.value.close();
  }

  const inspected = new Map<string, SceneInspection>();
  /** What a session says of a scene before anything else was asked of it, from the first test that opened it. */
  async function firstInspection(scene: string): Promise<SceneInspection> {
    const known = inspected.get(scene);
    if (known !== undefined) return known;
    await using session = await open(scene);
    return await inspectFirst(scene, session);
  }
  async function inspectFirst(scene: string, session: RenderSession): Promise<SceneInspection> {
    const inspection = await session.inspect({ signal });
    inspected.set(scene, inspection);
    return inspection;
  }

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
  afterAll(async () => {
    await closeShared();
    await folder[Symbol.asyncDispose]();
  });

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
    shared,
    closeShared,
    firstInspection,
    inspectFirst,
    renderTiles,
    finish,
    wholeFrame,
  };
}
