/** What Blender's sessions have to say no to, and to live on after. */
import { copyFile, mkdir, readFile, stat, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { type Bench, code } from './bench.ts';

export function refusalConformance(bench: Bench): void {
  const { signal, open, shared, firstInspection, inspectFirst } = bench;
  const { fresh, scenes, renderTiles, finish, wholeFrame } = bench;

  describe('refuses', () => {
    const rect = { x: 0, y: 0, width: 20, height: 20 };

    it.each([
      ['no-camera', 'SCENE_NO_CAMERA'],
      ['eevee', 'ENGINE_NOT_HEADLESS'],
      ['stereo', 'SCENE_UNSUPPORTED'],
    ] as const)('to render %s, and lives on', async (scene, expected) => {
      await using session = await open(scene);
      const inspection = await inspectFirst(scene, session);
      expect(inspection.hasCamera).toBe(scene !== 'no-camera');
      const output = fresh('.exr');
      await expect(session.render({ frame: 1, rect, output }, { signal })).rejects.toEqual(code(expected));
      const frame = { frame: 1, region: inspection.region, picture: inspection.picture };
      const outputs = { exrOutput: output, pictureOutput: fresh('.png') };
      await expect(session.renderFrame({ ...frame, ...outputs }, { signal })).rejects.toEqual(code(expected));
      await expect(stat(output)).rejects.toThrow();
      expect(await session.inspect({ signal })).toEqual(inspection);
    });

    it('stereo with the way out', async () => {
      const { unsupported, usesMultiview } = await firstInspection('stereo');
      expect(usesMultiview).toBe(true);
      expect(unsupported).toEqual([expect.stringContaining('once per eye')]);
    });

    it('the render of another scene in the compositor', async () => {
      await using session = await open('two-scenes');
      const { scene, tile } = await wholeFrame(session, 1);
      expect(scene.unsupported).toHaveLength(1);
      await expect(finish(session, scene, [tile])).rejects.toEqual(code('SCENE_UNSUPPORTED'));
    });

    it.each(['plain', 'compressed'])('%s when it is cut off anywhere', async (scene) => {
      const root = fresh('');
      await mkdir(root);
      const path = join(root, 'cut.blend');
      const source = join(scenes(), `${scene}.blend`);
      const { size } = await stat(source);
      // The last bytes of a compressed file are an index for seeking; without it nothing is lost.
      const lengths = scene === 'plain' ? [1000, size >> 1, size - 20] : [size >> 1, Math.floor(size * 0.95)];
      for (const length of lengths) {
        await copyFile(source, path);
        await truncate(path, length);
        await expect(open('cut', root), `${length} of ${size}`).rejects.toEqual(code('SCENE_UNREADABLE'));
      }
    });

    it('a file of noise with the right first bytes', async () => {
      const root = fresh('');
      await mkdir(root);
      const bytes = await readFile(join(scenes(), 'plain.blend'));
      for (let index = 2000; index < bytes.length; index += 97) bytes[index] = (index * 31) & 255;
      await writeFile(join(root, 'noise.blend'), bytes);
      await expect(open('noise', root)).rejects.toEqual(code('SCENE_UNREADABLE'));
    });

    it('tiles of another scene', async () => {
      const session = await shared('plain');
      const scene = await session.inspect({ signal });
      const [left] = await renderTiles(session, scene.region, [2, 1]);
      const other = await shared('composite');
      const [, foreign] = await renderTiles(other, scene.region, [2, 1]);
      if (left === undefined || foreign === undefined) throw new Error('two tiles');
      await expect(finish(session, scene, [left, foreign])).rejects.toMatchObject({
        details: { exr: foreign.path, invalidExr: true },
      });
    });

    it('broken EXR files and bombs, without losing the session', async () => {
      const session = await shared('plain');
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
      const hostile = [bomb, huge, broken];
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
}
