/** Tiles as the coordinator cuts them and as Blender renders them are the same pixels, at every size. */
import { execFile } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { finestGrid, tileRects } from '../../coordinator/splitting/tile-grid.ts';
import { MAX_SIDE_PX, type Rect, type Size } from '../../protocol/rect.ts';
import { temporaryFolder } from './support.ts';

const run = promisify(execFile);
const HERE = dirname(fileURLToPath(import.meta.url));
/** Of the Python: more pixels than this nobody renders. */
const MAX_PIXELS = 2 ** 28;
const RUNS = 600;

type Vector = { width: number; height: number; percentage: number; rects: Rect[] };
type Answer = Size & { rects: Rect[] };

const side = fc.oneof(
  fc.integer({ min: 4, max: 64 }),
  fc.integer({ min: 4, max: 4096 }),
  fc.integer({ min: 4, max: MAX_SIDE_PX }),
);

/** A frame, a region in it, a grid over that, and single pixels in the corners. */
const vector: fc.Arbitrary<Vector> = fc
  .record({ width: side, height: side, percentage: fc.integer({ min: 1, max: 100 }) })
  .map((frame) => ({ ...frame, full: { width: scaled(frame, 'width'), height: scaled(frame, 'height') } }))
  .filter(({ full }) => full.width >= 1 && full.height >= 1 && full.width * full.height <= MAX_PIXELS)
  .chain(({ full, ...frame }) =>
    fc
      .record({
        x: fc.integer({ min: 0, max: full.width - 1 }),
        y: fc.integer({ min: 0, max: full.height - 1 }),
      })
      .chain(({ x, y }) =>
        fc.record({
          x: fc.constant(x),
          y: fc.constant(y),
          width: fc.integer({ min: 1, max: full.width - x }),
          height: fc.integer({ min: 1, max: full.height - y }),
        }),
      )
      .chain((region) => {
        const most = finestGrid(region);
        return fc
          .record({
            columns: fc.integer({ min: 1, max: Math.min(8, most.columns) }),
            rows: fc.integer({ min: 1, max: Math.min(8, most.rows) }),
          })
          .map((grid) => ({ ...frame, rects: [...tileRects(region, grid), ...corners(region)] }));
      }),
  );

/** As Blender does it: whole numbers, cut off. */
function scaled(frame: Omit<Vector, 'rects'>, name: 'width' | 'height'): number {
  return Math.floor((frame[name] * frame.percentage) / 100);
}

function corners({ x, y, width, height }: Rect): Rect[] {
  const pixel = { width: 1, height: 1 };
  return [
    { x, y, ...pixel },
    { x: x + width - 1, y, ...pixel },
    { x, y: y + height - 1, ...pixel },
    { x: x + width - 1, y: y + height - 1, ...pixel },
  ];
}

describe('tiles as render borders', () => {
  it(`come back as the rectangles they were, for ${RUNS} frames at random`, async () => {
    await using folder = await temporaryFolder();
    const [source, target] = [join(folder.path, 'in.json'), join(folder.path, 'out.json')];
    const seed = Date.now() & 0x7fffffff;
    const vectors = fc.sample(vector, { numRuns: RUNS, seed });
    await writeFile(source, JSON.stringify(vectors));
    const script = join(HERE, 'check-borders.py');
    await run('blender', [
      ...['-b', '--factory-startup', '--python-exit-code', '1', '--python', script, '--', source, target],
    ]);
    const answers: Answer[] = JSON.parse(await readFile(target, 'utf8'));
    expect(answers).toHaveLength(RUNS);
    for (const [index, answer] of answers.entries()) {
      const asked = vectors[index] as Vector;
      const message = `seed ${seed}, frame ${JSON.stringify({ ...asked, rects: undefined })}`;
      expect([answer.width, answer.height], message).toEqual([
        scaled(asked, 'width'),
        scaled(asked, 'height'),
      ]);
      expect(answer.rects, message).toEqual(asked.rects);
    }
  });
});
