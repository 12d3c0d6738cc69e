/** What any session has to say no to, and to live on after. */
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { Rect } from '../../../../protocol/rect.ts';
import { type Bench, code } from '../bench.ts';

export function refusalContract(bench: Bench): void {
  const { signal, open, shared, fresh, renderTiles, finish, wholeFrame } = bench;

  describe('refuses', () => {
    it('rectangles outside the frame', async () => {
      const session = await shared('plain');
      const outside = { x: 90, y: 0, width: 8, height: 8 };
      const command = { frame: 1, rect: outside, output: fresh('.exr') };
      await expect(session.render(command, { signal })).rejects.toEqual(code('MESSAGE_INVALID'));
    });

    it('scenes that are not there, or empty', async () => {
      const root = fresh('');
      await mkdir(root);
      await expect(open('absent', root)).rejects.toEqual(code('SCENE_NOT_FOUND'));
      await writeFile(join(root, 'empty.blend'), '');
      await expect(open('empty', root)).rejects.toEqual(code('SCENE_UNREADABLE'));
    });

    it('tiles that do not cover the region exactly once, or are not what they say', async () => {
      const session = await shared('plain');
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
      await expect(outcome(tiles)).resolves.toBeDefined();
    });

    it('files that hold no pixels, without losing the session', async () => {
      const session = await shared('plain');
      const { tile } = await wholeFrame(session, 1);
      const bytes = await readFile(tile.path);
      const broken = [Buffer.from('not an image'), Buffer.alloc(0), bytes.subarray(0, 300)];
      for (const [index, content] of broken.entries()) {
        const exr = fresh('.exr');
        await writeFile(exr, content);
        await expect(
          session.readPixels({ exr, output: fresh('.raw') }, { signal }),
          `number ${index}`,
        ).rejects.toMatchObject({ code: 'RENDER_FAILED', details: { exr, invalidExr: true } });
      }
      const sound = await session.readPixels({ exr: tile.path, output: fresh('.raw') }, { signal });
      expect(sound.pixelDigest).toBe(tile.pixelDigest);
    });

    it('one broken file of several, and only that one', async () => {
      const session = await shared('plain');
      const { tile } = await wholeFrame(session, 1);
      const none = fresh('.exr');
      await writeFile(none, 'not an image');
      const found = await session.digestPixels([tile.path, none, tile.path], { signal });
      const { pixelDigest, rect } = tile;
      const { width, height } = rect;
      expect(found[0]).toMatchObject({ pixelDigest, width, height, channels: expect.any(Array) });
      expect(found[1]).toMatchObject({ code: 'RENDER_FAILED', details: { exr: none, invalidExr: true } });
      expect(found[2]).toEqual(found[0]);
      await expect(session.digestPixels([], { signal })).resolves.toEqual([]);
    });
  });
}
