/** Tiles: their pixels, their digests, and a session that stays exact. */
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { describe, expect, it } from 'vitest';
import { pixelDigest, readRawPixels } from '../../../../proof/pixels.ts';
import { cut, differingValues } from '../../support.ts';
import { type Bench, code, FRAME } from '../bench.ts';

async function fileDigest(path: string): Promise<string> {
  return createHash('sha256')
    .update(await readFile(path))
    .digest('hex');
}

export function renderContract(bench: Bench): void {
  const { signal, open, shared, fresh, renderTiles, finish, wholeFrame } = bench;

  describe('render', () => {
    it('gives the pixels of the whole frame, and digests them canonically', async () => {
      const session = await shared('composite');
      const { scene, tile } = await wholeFrame(session, FRAME);
      const whole = await session.readPixels({ exr: tile.path, output: fresh('.raw') }, { signal });
      expect(whole.pixelDigest).toBe(tile.pixelDigest);
      const image = readRawPixels(await readFile(whole.rawPath));
      expect(pixelDigest(image)).toBe(tile.pixelDigest);
      expect(image.channels).toEqual(whole.channels);
      for (const part of await renderTiles(session, scene.region, [3, 2])) {
        const crop = { exr: tile.path, crop: part.rect, output: fresh('.raw') };
        const cropped = await session.readPixels(crop, { signal });
        expect(cropped).toMatchObject({ width: part.rect.width, height: part.rect.height });
        expect(cropped.pixelDigest).toBe(tile.pixelDigest);
        expect(pixelDigest(readRawPixels(await readFile(cropped.rawPath)))).toBe(part.pixelDigest);
      }
    });

    it('takes a single pixel, in every corner', async () => {
      const session = await shared('plain');
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
      const session = await shared('plain');
      const rect = { x: 10, y: 10, width: 30, height: 20 };
      const render = (samples?: number) =>
        session.render({ frame: FRAME, rect, samples, output: fresh('.exr') }, { signal });
      const [first, fewer, again] = [await render(), await render(3), await render()];
      expect([first.samples, fewer.samples, again.samples]).toEqual([8, 3, 8]);
      expect(fewer.pixelDigest).not.toBe(first.pixelDigest);
      expect(again.pixelDigest).toBe(first.pixelDigest);
      expect(first.renderMs).toBeGreaterThan(0);
    });

    it('skips samples for one command only, and refuses to skip what no renderer can', async () => {
      const session = await shared('plain');
      const rect = { x: 10, y: 10, width: 30, height: 20 };
      const render = async (sampleOffset?: number) => {
        const command = { frame: FRAME, rect, samples: 4, sampleOffset, output: fresh('.exr') };
        return (await session.render(command, { signal })).pixelDigest;
      };
      const [first, later, again, none] = [await render(), await render(4), await render(), await render(0)];
      expect(later).not.toBe(first);
      expect([again, none]).toEqual([first, first]);
      expect(await render(4)).toBe(later);
      for (const offset of [-1, 0.5, 2 ** 24 + 1, Number.NaN])
        await expect(render(offset)).rejects.toEqual(code('MESSAGE_INVALID'));
      expect(await render()).toBe(first);
    });

    it('reports progress', async () => {
      const session = await shared('plain');
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
      expect(await session.inspect({ signal })).toEqual(scene);
      await using other = await open('composite-crop');
      expect((await wholeFrame(other, 4)).tile.pixelDigest).toBe(later.tile.pixelDigest);
      expect(later.tile.pixelDigest).not.toBe(tile.pixelDigest);
    });

    it('queues calls that come at once', async () => {
      const session = await shared('plain');
      const rects = cut({ x: 0, y: 0, width: 97, height: 55 }, 2, 2);
      const tiles = await Promise.all(
        rects.map((rect) => session.render({ frame: 1, rect, output: fresh('.exr') }, { signal })),
      );
      expect(new Set(tiles.map((tile) => tile.pixelDigest)).size).toBe(4);
    });
  });
}
