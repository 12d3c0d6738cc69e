/** What Blender writes into a tile, and that a session of it does not grow. */
import { readFile } from 'node:fs/promises';
import { describe, expect, it } from 'vitest';
import { compareCrops } from '../../../proof/compare.ts';
import { meanOfHalves } from '../../../proof/halves.ts';
import { noiseVarianceOfHalves } from '../../../proof/pixel-match.ts';
import { type PixelImage, readRawPixels } from '../../../proof/pixels.ts';
import { type Bench, FRAME } from './bench.ts';

/** As the scene has them. */
const SAMPLES = 8;

export function renderConformance(bench: Bench): void {
  const { signal, open, shared, fresh, finish, wholeFrame } = bench;

  describe('Blender', () => {
    it('writes every pass, and no date into a finished frame', async () => {
      const session = await shared('composite');
      const { scene, tile } = await wholeFrame(session, 1);
      const pixels = await session.readPixels({ exr: tile.path, output: fresh('.raw') }, { signal });
      expect(pixels.channels).toContain('ViewLayer.Depth.Z');
      const finished = await finish(session, scene, [tile], 1);
      // Two files of one second would be equal with the clock in them too.
      expect(await readFile(finished.exrPath, 'latin1')).toContain('1970:01:01 00:00:00');
    });

    it('renders halves whose mean is the whole, and whose difference is its noise', async () => {
      await using session = await open('steady');
      const rect = { x: 20, y: 8, width: 60, height: 40 };
      const render = async (samples: number, sampleOffset: number): Promise<PixelImage> => {
        const output = fresh('.exr');
        await session.render({ frame: FRAME, rect, samples, sampleOffset, output }, { signal });
        const raw = { exr: output, output: fresh('.raw') };
        return readRawPixels(await readFile((await session.readPixels(raw, { signal })).rawPath));
      };
      const [first, second] = [await render(SAMPLES / 2, 0), await render(SAMPLES / 2, SAMPLES / 2)];
      const whole = await render(SAMPLES, 0);
      const mean = meanOfHalves(first, second);
      // A few steps of a 32-bit float.
      const rounding = (value: number): number => 1e-6 * Math.max(1, Math.abs(value));
      const apart = whole.data.filter(
        (value, i) => Math.abs(value - (mean.data[i] as number)) > rounding(value),
      );
      expect(apart).toHaveLength(0);
      // Not the same samples twice: as far from the whole as half of its samples are.
      const noiseVariance = noiseVarianceOfHalves(first, second);
      expect(compareCrops(whole, first, { noiseVariance }).noiseRatio).toBeCloseTo(1, 3);
      expect(compareCrops(whole, mean, { noiseVariance }).noiseRatio).toBeLessThan(1e-6);
    });

    it('keeps its memory over 30 commands', async () => {
      await using session = await open('composite');
      const scene = await session.inspect({ signal });
      const peaks: number[] = [];
      for (let index = 0; index < 15; index++) {
        const output = fresh('.exr');
        const tile = await session.render({ frame: 1 + (index % 5), rect: scene.region, output }, { signal });
        await finish(session, scene, [{ rect: scene.region, path: output }], 1 + (index % 5));
        peaks.push(tile.peakMemoryBytes);
      }
      expect(peaks[0]).toBeGreaterThan(10 * 2 ** 20);
      // The first rounds fill caches that stay.
      expect(peaks.at(-1)).toBeLessThan((peaks[4] ?? 0) * 1.1);
    });
  });
}
