/** What Blender writes into a tile, and that a session of it does not grow. */
import { readFile } from 'node:fs/promises';
import { describe, expect, it } from 'vitest';
import type { Bench } from './bench.ts';

export function renderConformance(bench: Bench): void {
  const { signal, open, fresh, finish, wholeFrame } = bench;

  describe('Blender', () => {
    it('writes every pass, and no date into a finished frame', async () => {
      await using session = await open('composite');
      const { scene, tile } = await wholeFrame(session, 1);
      const pixels = await session.readPixels({ exr: tile.path, output: fresh('.raw') }, { signal });
      expect(pixels.channels).toContain('ViewLayer.Depth.Z');
      const finished = await finish(session, scene, [tile], 1);
      // Two files of one second would be equal with the clock in them too.
      expect(await readFile(finished.exrPath, 'latin1')).toContain('1970:01:01 00:00:00');
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
