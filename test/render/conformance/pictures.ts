/** Finished pictures against what Blender alone writes. */
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { referencePictures } from '../references.ts';
import { type BareBlender, differingValues } from '../support.ts';
import { type Bench, FRAME } from './bench.ts';

/** One piece and many: the one in the middle shares all of its borders. */
const GRIDS = [
  [1, 1],
  [3, 3],
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
  const { open, scenes, inspectFirst, renderTiles, finish } = bench;
  let rendered: Promise<string[]> | undefined;

  /** What bare Blender writes; the first to ask has all of them rendered. */
  async function reference(scene: string): Promise<string> {
    const names = PICTURES.map(([name]) => name);
    const wanted = names.map((name) => ({ scene: join(scenes(), `${name}.blend`), frame: FRAME }));
    rendered ??= referencePictures(bare, wanted, bench.folder());
    const path = (await rendered)[names.findIndex((name) => name === scene)];
    if (path === undefined) throw new Error(`no reference of ${scene}`);
    return path;
  }

  describe('pictures are what Blender alone writes, value for value', () => {
    it.each(PICTURES)('%s (%i x %i)', async (scene, width, height) => {
      const expected = await reference(scene);
      await using session = await open(scene);
      const inspection = await inspectFirst(scene, session);
      expect(inspection.picture).toMatchObject({ width, height });
      const digests = new Set<string>();
      for (const grid of GRIDS) {
        const tiles = await renderTiles(session, inspection.region, grid);
        const finished = await finish(session, inspection, tiles);
        expect(await differingValues(expected, finished.picturePath), `grid ${grid.join('x')}`).toMatchObject(
          {
            differing: 0,
          },
        );
        expect(finished).toMatchObject({ width, height });
        digests.add(finished.pixelDigest);
      }
      expect(digests.size).toBe(1);
    });
  });
}
