/** Finished frames: the same from tiles and in one piece. */
import { describe, expect, it } from 'vitest';
import { differingValues } from '../../support.ts';
import { type Bench, FRAME } from '../bench.ts';

export function finishContract(bench: Bench): void {
  const { signal, open, shared, fresh, renderTiles, finish } = bench;

  describe('finish', () => {
    it('gives from tiles what the whole frame gives at once, with the empty rest around the region', async () => {
      await using session = await open('border');
      const scene = await session.inspect({ signal });
      const { region, picture } = scene;
      expect(region).not.toEqual(picture);
      const merged = await finish(session, scene, await renderTiles(session, region, [3, 2]));
      const outputs = { exrOutput: fresh('.exr'), pictureOutput: fresh('.png') };
      const whole = await session.renderFrame({ frame: FRAME, region, picture, ...outputs }, { signal });
      expect(whole.pixelDigest).toBe(merged.pixelDigest);
      const size = { width: picture.width, height: picture.height };
      for (const frame of [merged, whole]) expect(frame).toMatchObject(size);
      expect(await differingValues(merged.picturePath, whole.picturePath)).toMatchObject({ differing: 0 });
    });

    it('previews a frame no larger than was asked for', async () => {
      const session = await shared('plain');
      const preview = await session.preview(
        { frame: FRAME, longSide: 40, output: fresh('.png') },
        { signal },
      );
      expect(preview).toMatchObject({ width: 40, height: expect.closeTo((40 * 55) / 97, 0) });
    });
  });
}
