/** What every render runtime has to do, with real Blender. Call it with a way to make the runtime. */
import { createHash } from 'node:crypto';
import { copyFile, cp, mkdir, readdir, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { RenderRuntime, RenderSession, SceneInspection } from '../../platform/render/runtime.ts';
import { pixelDigest, readRawPixels } from '../../proof/pixels.ts';
import type { ErrorCode } from '../../protocol/errors.ts';
import type { Rect } from '../../protocol/rect.ts';
import { cut, differingValues, makeFixtures, referencePicture, temporaryFolder } from './support.ts';

/** Blender starts several times in a test, on a machine that may do other things too. */
const TIMEOUT_MS = 180_000;
const FRAME = 2;
const GRIDS = [
  [1, 1],
  [3, 2],
  [5, 4],
] as const;
/** Scene and the size of its picture. */
const PICTURES = [
  ['plain', 97, 55],
  ['compressed', 97, 55],
  ['composite', 97, 55],
  ['composite-crop', 66, 39],
  ['composite-border', 97, 55],
  ['composite-percent', 96, 54],
  ['border-crop', 66, 39],
  ['border', 97, 55],
  ['percent', 96, 54],
  ['layers', 97, 55],
  ['layers-mixed', 97, 55],
  ['layers-tree-off', 97, 55],
  ['cryptomatte', 97, 55],
  ['linked/scene', 97, 55],
] as const;

export type RuntimeMaker = (options: { signal: AbortSignal; tempFolder: string }) => Promise<RenderRuntime>;

function code(expected: ErrorCode) {
  return expect.objectContaining({ code: expected });
}

async function fileDigest(path: string): Promise<string> {
  return createHash('sha256')
    .update(await readFile(path))
    .digest('hex');
}

/** The tests of one runtime. */
export function renderRuntimeConformance(name: string, makeRuntime: RuntimeMaker): void {
  describe(`${name}: render runtime`, { timeout: TIMEOUT_MS }, () => {
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
      const tiles: { rect: Rect; path: string; pixelDigest: string }[] = [];
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
      await makeFixtures(scenes());
      runtime = await makeRuntime({ signal, tempFolder: exchange() });
    }, TIMEOUT_MS);
    afterAll(() => folder[Symbol.asyncDispose]());

    describe('pictures are what Blender alone writes, value for value', () => {
      it.each(PICTURES)('%s (%i x %i)', async (scene, width, height) => {
        await using own = await temporaryFolder();
        const reference = await referencePicture(join(scenes(), `${scene}.blend`), FRAME, own.path);
        await using session = await open(scene);
        const inspection = await session.inspect({ signal });
        expect(inspection.picture).toMatchObject({ width, height });
        const digests = new Set<string>();
        for (const grid of GRIDS) {
          const tiles = await renderTiles(session, inspection.region, grid);
          const finished = await finish(session, inspection, tiles);
          expect(
            await differingValues(reference, finished.picturePath),
            `grid ${grid.join('x')}`,
          ).toMatchObject({
            differing: 0,
          });
          expect(finished).toMatchObject({ width, height });
          digests.add(finished.pixelDigest);
        }
        expect(digests.size).toBe(1);
      });
    });

    describe('inspect', () => {
      it('describes the scene', async () => {
        await using session = await open('composite-percent');
        expect(await session.inspect({ signal })).toMatchObject({
          frameStart: 1,
          frameEnd: 5,
          frameStep: 1,
          framesPerSecond: 24,
          resolution: { width: 96, height: 54 },
          region: { x: 0, y: 0, width: 96, height: 54 },
          renderEngine: 'CYCLES',
          samples: 8,
          hasCamera: true,
          viewLayers: [{ name: 'ViewLayer', passes: ['Combined', 'Depth', 'Mist', 'Normal'] }],
          usesCompositor: true,
          usesSequencer: false,
          usesDenoising: false,
          usesMultiview: false,
          outputFormat: { fileFormat: 'PNG', colorMode: 'RGBA', colorDepth: '8' },
          files: [],
          missingFiles: [],
          unsupported: [],
          untileable: [],
          warnings: [],
        });
      });

      it('tells the border from the picture', async () => {
        await using cropped = await open('border-crop');
        await using full = await open('border');
        const region = { x: 12, y: 4, width: 66, height: 39 };
        expect(await cropped.inspect({ signal })).toMatchObject({ region, picture: region });
        expect(await full.inspect({ signal })).toMatchObject({
          region,
          picture: { x: 0, y: 0, width: 97, height: 55 },
        });
      });

      it('lists the layers that are rendered, and a denoiser that is wanted', async () => {
        await using layers = await open('layers');
        const { viewLayers } = await layers.inspect({ signal });
        expect(viewLayers.map((layer) => layer.name)).toEqual(['ViewLayer', 'Front.matte']);
        await using denoised = await open('denoised');
        const inspection = await denoised.inspect({ signal });
        expect(inspection.usesDenoising).toBe(true);
        expect([...inspection.warnings, ...inspection.unsupported]).toHaveLength(1);
      });

      it('lists libraries and their files, the missing ones too', async () => {
        await using session = await open('scene', join(scenes(), 'linked'));
        const library = { path: 'parts/block.blend', kind: 'library', exists: true, outsideRoot: false };
        const image = { path: 'textures/checker.png', kind: 'image', exists: true, outsideRoot: false };
        expect(await session.inspect({ signal })).toMatchObject({
          files: [library, image],
          missingFiles: [],
        });

        const bare = fresh('');
        await cp(join(scenes(), 'linked'), bare, { recursive: true });
        await rm(join(bare, 'textures'), { recursive: true });
        await using untextured = await open('scene', bare);
        expect((await untextured.inspect({ signal })).missingFiles).toEqual([{ ...image, exists: false }]);
        await rm(join(bare, 'parts'), { recursive: true });
        await using unlinked = await open('scene', bare);
        expect((await unlinked.inspect({ signal })).missingFiles).toEqual([{ ...library, exists: false }]);
      });

      it('flags what climbs out of the folder', async () => {
        await using session = await open('climbing', join(scenes(), 'linked'));
        const climbing = { path: '//../outside.png', kind: 'image', exists: false, outsideRoot: true };
        expect((await session.inspect({ signal })).missingFiles).toEqual([climbing]);
        await using inside = await open('linked/climbing');
        expect((await inside.inspect({ signal })).missingFiles).toMatchObject([
          { path: 'outside.png', outsideRoot: false },
        ]);
      });
    });

    describe('render', () => {
      it('gives the pixels of the whole frame, and digests them canonically', async () => {
        await using session = await open('composite');
        const { scene, tile } = await wholeFrame(session, FRAME);
        const whole = await session.readPixels({ exr: tile.path, output: fresh('.raw') }, { signal });
        expect(whole.pixelDigest).toBe(tile.pixelDigest);
        const image = readRawPixels(await readFile(whole.rawPath));
        expect(pixelDigest(image)).toBe(tile.pixelDigest);
        expect(image.channels).toEqual(whole.channels);
        expect(whole.channels).toContain('ViewLayer.Depth.Z');
        for (const part of await renderTiles(session, scene.region, [3, 2])) {
          const crop = { exr: tile.path, crop: part.rect, output: fresh('.raw') };
          const cropped = await session.readPixels(crop, { signal });
          expect(cropped).toMatchObject({ width: part.rect.width, height: part.rect.height });
          expect(cropped.pixelDigest).toBe(tile.pixelDigest);
          expect(pixelDigest(readRawPixels(await readFile(cropped.rawPath)))).toBe(part.pixelDigest);
        }
      });

      it('takes a single pixel, in every corner', async () => {
        await using session = await open('plain');
        const { tile } = await wholeFrame(session, FRAME);
        for (const [x, y] of [
          [0, 0],
          [96, 0],
          [0, 54],
          [96, 54],
          [50, 20],
        ] as const) {
          const rect = { x, y, width: 1, height: 1 };
          const pixel = await session.render({ frame: FRAME, rect, output: fresh('.exr') }, { signal });
          const part = await session.readPixels(
            { exr: tile.path, crop: rect, output: fresh('.raw') },
            { signal },
          );
          expect(pixelDigest(readRawPixels(await readFile(part.rawPath)))).toBe(pixel.pixelDigest);
        }
      });

      it('takes another number of samples for one command only, and says how many it used', async () => {
        await using session = await open('plain');
        const rect = { x: 10, y: 10, width: 30, height: 20 };
        const render = (samples?: number) =>
          session.render({ frame: FRAME, rect, samples, output: fresh('.exr') }, { signal });
        const [first, fewer, again] = [await render(), await render(3), await render()];
        expect([first.samples, fewer.samples, again.samples]).toEqual([8, 3, 8]);
        expect(fewer.pixelDigest).not.toBe(first.pixelDigest);
        expect(again.pixelDigest).toBe(first.pixelDigest);
        expect(first.peakMemoryBytes).toBeGreaterThan(10 * 2 ** 20);
        expect(first.renderMs).toBeGreaterThan(0);
      });

      it('reports progress', async () => {
        await using session = await open('plain');
        const seen: number[] = [];
        const rect = { x: 0, y: 0, width: 97, height: 55 };
        await session.render(
          { frame: 1, rect, samples: 600, output: fresh('.exr') },
          { signal, onProgress: ({ fraction }) => seen.push(fraction) },
        );
        expect(seen.length).toBeGreaterThan(1);
        expect(seen).toEqual([...seen].sort((a, b) => a - b));
      });

      it('stays exact after finishing, other frames and other rectangles', async () => {
        await using session = await open('composite-crop');
        const { scene, tile } = await wholeFrame(session, 1);
        await finish(session, scene, [tile], 1);
        const later = await wholeFrame(session, 4);
        const finished = await finish(session, scene, [later.tile], 4);
        const twice = await finish(session, scene, [later.tile], 4);
        expect(await fileDigest(twice.exrPath)).toBe(await fileDigest(finished.exrPath));
        expect(await differingValues(finished.picturePath, twice.picturePath)).toMatchObject({
          differing: 0,
        });
        expect((await wholeFrame(session, 1)).tile.pixelDigest).toBe(tile.pixelDigest);
        expect(await session.inspect({ signal })).toMatchObject({
          region: scene.region,
          usesCompositor: true,
        });
        await using other = await open('composite-crop');
        expect((await wholeFrame(other, 4)).tile.pixelDigest).toBe(later.tile.pixelDigest);
        expect(later.tile.pixelDigest).not.toBe(tile.pixelDigest);
      });

      it('keeps its memory over 30 commands', async () => {
        await using session = await open('composite');
        const scene = await session.inspect({ signal });
        const peaks: number[] = [];
        for (let index = 0; index < 15; index++) {
          const output = fresh('.exr');
          const tile = await session.render(
            { frame: 1 + (index % 5), rect: scene.region, output },
            { signal },
          );
          await finish(session, scene, [{ rect: scene.region, path: output }], 1 + (index % 5));
          peaks.push(tile.peakMemoryBytes);
        }
        // The first rounds fill caches that stay.
        expect(peaks.at(-1)).toBeLessThan((peaks[4] ?? 0) * 1.1);
      });

      it('queues calls that come at once', async () => {
        await using session = await open('plain');
        const rects = cut({ x: 0, y: 0, width: 97, height: 55 }, 2, 2);
        const tiles = await Promise.all(
          rects.map((rect) => session.render({ frame: 1, rect, output: fresh('.exr') }, { signal })),
        );
        expect(new Set(tiles.map((tile) => tile.pixelDigest)).size).toBe(4);
      });
    });

    describe('refuses', () => {
      const rect = { x: 0, y: 0, width: 20, height: 20 };

      it.each([
        ['no-camera', 'SCENE_NO_CAMERA'],
        ['eevee', 'ENGINE_NOT_HEADLESS'],
      ] as const)('to render %s, and lives on', async (scene, expected) => {
        await using session = await open(scene);
        const inspection = await session.inspect({ signal });
        expect(inspection.hasCamera).toBe(scene !== 'no-camera');
        const output = fresh('.exr');
        await expect(session.render({ frame: 1, rect, output }, { signal })).rejects.toEqual(code(expected));
        await expect(stat(output)).rejects.toThrow();
        expect(await session.inspect({ signal })).toEqual(inspection);
      });

      it('the render of another scene in the compositor', async () => {
        await using session = await open('two-scenes');
        const { scene, tile } = await wholeFrame(session, 1);
        expect(scene.unsupported).toHaveLength(1);
        await expect(finish(session, scene, [tile])).rejects.toEqual(code('SCENE_UNSUPPORTED'));
      });

      it('rectangles outside the frame', async () => {
        await using session = await open('plain');
        const outside = { x: 90, y: 0, width: 8, height: 8 };
        const command = { frame: 1, rect: outside, output: fresh('.exr') };
        await expect(session.render(command, { signal })).rejects.toEqual(code('MESSAGE_INVALID'));
      });

      it.each(['plain', 'compressed'])('%s when it is cut off anywhere', async (scene) => {
        const root = fresh('');
        await mkdir(root);
        const path = join(root, 'cut.blend');
        const source = join(scenes(), `${scene}.blend`);
        const { size } = await stat(source);
        // The last bytes of a compressed file are an index for seeking; without it nothing is lost.
        const lengths = [0, 1000, size >> 1, Math.floor(size * 0.95)];
        if (scene === 'plain') lengths.push(size - 20);
        for (const length of lengths) {
          await copyFile(source, path);
          await truncate(path, length);
          await expect(open('cut', root), `${length} of ${size}`).rejects.toEqual(code('SCENE_UNREADABLE'));
        }
        await expect(open('absent', root)).rejects.toEqual(code('SCENE_NOT_FOUND'));
      });

      it('a file of noise with the right first bytes', async () => {
        const root = fresh('');
        await mkdir(root);
        const bytes = await readFile(join(scenes(), 'plain.blend'));
        for (let index = 2000; index < bytes.length; index += 97) bytes[index] = (index * 31) & 255;
        await writeFile(join(root, 'noise.blend'), bytes);
        await expect(open('noise', root)).rejects.toEqual(code('SCENE_UNREADABLE'));
      });

      it('tiles that do not cover the region exactly once, or are not what they say', async () => {
        await using session = await open('plain');
        const scene = await session.inspect({ signal });
        const tiles = await renderTiles(session, scene.region, [2, 1]);
        const [left, right] = tiles;
        if (left === undefined || right === undefined) throw new Error('two tiles');
        const outcome = (use: { rect: Rect; path: string }[]) => finish(session, scene, use);
        await expect(outcome([left])).rejects.toEqual(code('MESSAGE_INVALID'));
        await expect(outcome([left, left, right])).rejects.toEqual(code('MESSAGE_INVALID'));
        await expect(outcome([])).rejects.toEqual(code('MESSAGE_INVALID'));
        await expect(outcome([left, { ...right, path: left.path }])).rejects.toMatchObject({
          code: 'RENDER_FAILED',
          details: { exr: left.path, invalidExr: true },
        });
        await using other = await open('composite');
        const [, foreign] = await renderTiles(other, scene.region, [2, 1]);
        await expect(outcome([left, foreign ?? right])).rejects.toMatchObject({
          details: { exr: foreign?.path, invalidExr: true },
        });
        await expect(outcome(tiles)).resolves.toBeDefined();
      });

      it('files that are no EXR, broken ones and bombs, without losing the session', async () => {
        await using session = await open('plain');
        const { tile } = await wholeFrame(session, 1);
        const bytes = await readFile(tile.path);
        const window = bytes.indexOf('dataWindow\0box2i\0') + 'dataWindow\0box2i\0'.length + 4;
        const bomb = Buffer.from(bytes);
        bomb.writeInt32LE(16_000, window + 8);
        bomb.writeInt32LE(16_000, window + 12);
        const huge = Buffer.from(bytes);
        huge.writeInt32LE(2 ** 31 - 2, window + 8);
        const broken = Buffer.from(bytes);
        broken.fill(0xab, bytes.length >> 1);
        const hostile = [
          Buffer.from('not an image'),
          Buffer.alloc(0),
          bytes.subarray(0, 300),
          bomb,
          huge,
          broken,
        ];
        for (const [index, content] of hostile.entries()) {
          const exr = fresh('.exr');
          await writeFile(exr, content);
          await expect(
            session.readPixels({ exr, output: fresh('.raw') }, { signal }),
            `number ${index}`,
          ).rejects.toHaveProperty('code', expect.stringMatching(/RENDER_FAILED|TOO_LARGE/));
        }
        const sound = await session.readPixels({ exr: tile.path, output: fresh('.raw') }, { signal });
        expect(sound.pixelDigest).toBe(tile.pixelDigest);
      });
    });

    describe('ending', () => {
      const long = { frame: 1, rect: { x: 0, y: 0, width: 97, height: 55 }, samples: 60_000 };

      it('on abort, within two seconds, leaving nothing', async () => {
        const session = await open('plain');
        const stop = new AbortController();
        const work = session.render({ ...long, output: fresh('.exr') }, { signal: stop.signal });
        const failed = expect(work).rejects.toEqual(code('INTERRUPTED'));
        await sleep(500);
        const started = performance.now();
        stop.abort();
        await failed;
        expect(await session.closed).toMatchObject({ reason: 'aborted' });
        expect(performance.now() - started).toBeLessThan(2000);
        await expect(session.inspect({ signal })).rejects.toEqual(code('INTERRUPTED'));
        expect(await readdir(exchange())).toEqual([]);
      });

      it('on time-out', async () => {
        const session = await open('plain');
        const work = session.render({ ...long, output: fresh('.exr') }, { signal, timeoutMs: 700 });
        await expect(work).rejects.toEqual(code('RENDER_TIMEOUT'));
        expect(await session.closed).toMatchObject({ reason: 'timeout' });
      });

      it('while it opens, on abort and on time-out', async () => {
        const stop = new AbortController();
        const opening = expect(open('plain', scenes(), { signal: stop.signal })).rejects.toEqual(
          code('INTERRUPTED'),
        );
        setTimeout(() => stop.abort(), 150);
        await opening;
        const scene = { root: scenes(), main: 'plain.blend' };
        const late = runtime.open(scene, { signal, threads: 2, loadTimeoutMs: 50 });
        await expect(late).rejects.toEqual(code('RENDER_TIMEOUT'));
        expect(await readdir(exchange())).toEqual([]);
      });

      it('on close, twice, with a command under way and one that waits', async () => {
        const session = await open('plain');
        const running = session.render({ ...long, output: fresh('.exr') }, { signal });
        const waiting = session.inspect({ signal });
        const failed = Promise.all([
          expect(running).rejects.toEqual(code('INTERRUPTED')),
          expect(waiting).rejects.toEqual(code('INTERRUPTED')),
        ]);
        await sleep(300);
        await session.close();
        await session.close();
        await failed;
        expect(await session.closed).toMatchObject({ reason: 'closed' });
        expect(await readdir(exchange())).toEqual([]);
      });
    });

    it('runs nothing that the scene brings along', async () => {
      await using session = await open('hostile');
      const { warnings } = await session.inspect({ signal });
      expect(warnings).toHaveLength(2);
      const { scene, tile } = await wholeFrame(session, 3);
      await finish(session, scene, [tile], 3);
      const entries = await readdir(exchange(), { recursive: true });
      expect(entries.length).toBeGreaterThan(0);
      expect(entries.filter((entry) => entry.includes('evil'))).toEqual([]);
    });
  });
}
