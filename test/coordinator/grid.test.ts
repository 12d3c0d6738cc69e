import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { frameAt, framesOfRuns, placeOf, runsOfFrames } from '../../coordinator/splitting/frame-runs.ts';
import { frameOf, gridOf, gridPrice, previewPlace } from '../../coordinator/splitting/grid.ts';

const frameLists = fc.uniqueArray(fc.integer({ min: -1_000, max: 1_000 }), { minLength: 1, maxLength: 60 });

describe('a list of frames as runs', () => {
  it('is the same list again, whole or one by one, in any order', () => {
    fc.assert(
      fc.property(frameLists, (frames) => {
        const runs = runsOfFrames(frames);
        expect(framesOfRuns(runs)).toEqual(frames);
        expect(frames.map((_, place) => frameAt(runs, place))).toEqual(frames);
        expect(frames.map((frame) => placeOf(runs, frame))).toEqual(frames.map((_, place) => place));
        const other = Math.max(...frames) + 1;
        expect(placeOf(runs, other)).toBeNull();
        expect(() => frameAt(runs, frames.length)).toThrow(RangeError);
      }),
    );
  });

  it('is short where it is regular', () => {
    const every = (step: number): number[] => Array.from({ length: 100_000 }, (_, index) => 1 + index * step);
    expect(runsOfFrames(every(1))).toEqual([[1, 100_000, 1]]);
    expect(runsOfFrames(every(1).reverse())).toEqual([[100_000, 100_000, -1]]);
    expect(runsOfFrames([...every(10), 7, 8])).toEqual([
      [1, 100_000, 10],
      [7, 2, 1],
    ]);
  });
});

describe('a grid', () => {
  const region = { x: 0, y: 0, width: 640, height: 360 };
  const gridFor = (frames: readonly number[], columns: number, previewFirst = false) =>
    gridOf(
      { region, tiles: { columns, rows: 1 }, samples: 16 },
      { runs: runsOfFrames(frames), framesTotal: frames.length, previewFirst },
    );

  it('gives every tile of every frame once, in the wanted order, however it is cut into windows', () => {
    fc.assert(
      fc.property(
        frameLists,
        fc.integer({ min: 1, max: 4 }),
        fc.boolean(),
        fc.array(fc.integer({ min: 1, max: 7 }), { minLength: 60, maxLength: 60 }),
        (frames, columns, previewFirst, windows) => {
          const grid = gridFor(frames, columns, previewFirst);
          const tasks: ReturnType<typeof frameOf>['tasks'] = [];
          let begun = 0;
          for (const window of windows) {
            const until = Math.min(frames.length, begun + window);
            for (; begun < until; begun++) tasks.push(...frameOf(grid, begun).tasks);
          }
          expect(tasks.map(({ position }) => position)).toEqual(tasks.map((_, index) => index));
          const order = previewFirst
            ? frames.map((_, turn) => frames[previewPlace(turn, frames.length)])
            : frames;
          const kinds =
            columns === 1 ? ['frame 0'] : [...Array(columns).keys()].map((tile) => `render ${tile}`);
          if (columns > 1) kinds.push('finish 0');
          const wanted = order.flatMap((frame) => kinds.map((kind) => `${frame} ${kind}`));
          expect(tasks.map(({ frame, kind, tile }) => `${frame} ${kind} ${tile}`)).toEqual(wanted);
          expect(tasks.reduce((sum, { price }) => sum + price, 0n)).toBe(gridPrice(grid));
        },
      ),
    );
  });

  it('shows the first, the last and the middle frame before the others, each once', () => {
    const order = (total: number): number[] =>
      Array.from({ length: total }, (_, turn) => previewPlace(turn, total));
    expect(order(1)).toEqual([0]);
    expect(order(2)).toEqual([0, 1]);
    expect(order(3)).toEqual([0, 2, 1]);
    expect(order(4)).toEqual([0, 3, 1, 2]);
    expect(order(9)).toEqual([0, 8, 4, 1, 2, 3, 5, 6, 7]);
    for (let total = 1; total < 200; total++) expect(new Set(order(total)).size).toBe(total);
    for (let total = 1; total < 200; total++) expect(Math.max(...order(total))).toBe(total - 1);
  });
});
