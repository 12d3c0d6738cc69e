/** Finished pictures against what Blender alone writes. */
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { type BareBlender, differingValues, referencePicture, temporaryFolder } from '../support.ts';
import { type Bench, FRAME } from './bench.ts';

/** One piece and many: what lies between shares its borders with them. */
const GRIDS = [
  [1, 1],
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

export function picturesConformance(bench: Bench, bare: BareBlender): void {
  const { signal, open, scenes, renderTiles, finish } = bench;

  describe('pictures are what Blender alone writes, value for value', () => {
    it.each(PICTURES)('%s (%i x %i)', async (scene, width, height) => {
      await using own = await temporaryFolder();
      const reference = await referencePicture(bare, join(scenes(), `${scene}.blend`), FRAME, own.path);
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
}
