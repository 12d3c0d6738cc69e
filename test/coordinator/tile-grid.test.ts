import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { autoGrid, finestGrid, MIN_TILE_PX, tileRects } from '../../coordinator/splitting/tile-grid.ts';
import { FarmError } from '../../protocol/errors.ts';
import { tileGridSchema } from '../../protocol/job.ts';
import type { Rect } from '../../protocol/rect.ts';

const region = fc.record({
  x: fc.integer({ min: 0, max: 5_000 }),
  y: fc.integer({ min: 0, max: 5_000 }),
  width: fc.integer({ min: 1, max: 8_192 }),
  height: fc.integer({ min: 1, max: 8_192 }),
});

/** A region and a grid that fits it. */
const fitting = region.chain((rect) => {
  const most = finestGrid(rect);
  return fc.record({
    rect: fc.constant(rect),
    grid: fc.record({
      columns: fc.integer({ min: 1, max: Math.min(most.columns, 16) }),
      rows: fc.integer({ min: 1, max: Math.min(most.rows, 16) }),
    }),
  });
});

function overlaps(a: Rect, b: Rect): boolean {
  return a.x < b.x + b.width && b.x < a.x + a.width && a.y < b.y + b.height && b.y < a.y + a.height;
}

function isInside(tile: Rect, rect: Rect): boolean {
  return (
    tile.x >= rect.x &&
    tile.y >= rect.y &&
    tile.x + tile.width <= rect.x + rect.width &&
    tile.y + tile.height <= rect.y + rect.height
  );
}

describe('cutting a region into tiles', () => {
  it('covers every pixel exactly once, whatever the region and the grid', () => {
    fc.assert(
      fc.property(fitting, ({ rect, grid }) => {
        const tiles = tileRects(rect, grid);
        expect(tiles).toHaveLength(grid.columns * grid.rows);
        // All inside, none overlapping, and as many pixels as the region has: then none is left out.
        expect(tiles.filter((tile) => !isInside(tile, rect))).toEqual([]);
        expect(tiles.filter((a, i) => tiles.some((b, j) => j > i && overlaps(a, b)))).toEqual([]);
        expect(tiles.reduce((sum, tile) => sum + tile.width * tile.height, 0)).toBe(rect.width * rect.height);
      }),
      { numRuns: 60 },
    );
  });

  it('makes tiles whose sides differ by one pixel at most', () => {
    fc.assert(
      fc.property(fitting, ({ rect, grid }) => {
        const tiles = tileRects(rect, grid);
        for (const side of ['width', 'height'] as const) {
          const sizes = tiles.map((tile) => tile[side]);
          expect(Math.max(...sizes) - Math.min(...sizes)).toBeLessThanOrEqual(1);
        }
      }),
      { numRuns: 100 },
    );
  });

  it('orders tiles row by row from the top left', () => {
    const tiles = tileRects({ x: 10, y: 20, width: 64, height: 32 }, { columns: 2, rows: 2 });
    expect(tiles.map(({ x, y }) => [x, y])).toEqual([
      [10, 20],
      [42, 20],
      [10, 36],
      [42, 36],
    ]);
  });

  it('refuses a grid that is too fine and names the finest one, which then works', () => {
    const tooFine = region.chain((rect) => {
      const most = finestGrid(rect);
      return fc.record({
        rect: fc.constant(rect),
        grid: fc.oneof(
          fc.record({ columns: fc.integer({ min: most.columns + 1, max: 600 }), rows: fc.constant(1) }),
          fc.record({ columns: fc.constant(1), rows: fc.integer({ min: most.rows + 1, max: 600 }) }),
        ),
      });
    });
    fc.assert(
      fc.property(tooFine, ({ rect, grid }) => {
        let refusal: unknown;
        try {
          tileRects(rect, grid);
        } catch (error) {
          refusal = error;
        }
        expect(refusal).toBeInstanceOf(FarmError);
        if (!(refusal instanceof FarmError)) return;
        expect(refusal.code).toBe('TILES_INVALID');
        const named = /the finest grid is (\d+)x(\d+)$/.exec(refusal.message);
        const finest = { columns: Number(named?.[1]), rows: Number(named?.[2]) };
        expect(refusal.details?.['finest']).toEqual(finest);
        expect(tileRects(rect, finest)).toHaveLength(finest.columns * finest.rows);
      }),
      { numRuns: 60 },
    );
  });

  it('keeps every tile of the finest grid at the smallest size or more, unless it is the only one', () => {
    fc.assert(
      fc.property(region, (rect) => {
        const finest = finestGrid(rect);
        const tiles = tileRects(rect, finest);
        const least = (count: number, sizes: number[]) => (count > 1 ? Math.min(...sizes) : MIN_TILE_PX);
        expect(
          least(
            finest.columns,
            tiles.slice(0, finest.columns).map((tile) => tile.width),
          ),
        ).toBeGreaterThanOrEqual(MIN_TILE_PX);
        const firstColumn = tiles.filter((_tile, index) => index % finest.columns === 0);
        expect(
          least(
            finest.rows,
            firstColumn.map((tile) => tile.height),
          ),
        ).toBeGreaterThanOrEqual(MIN_TILE_PX);
      }),
      { numRuns: 25 },
    );
  });

  it('leaves a picture of one pixel whole', () => {
    const rect = { x: 3, y: 4, width: 1, height: 1 };
    expect(tileRects(rect, { columns: 1, rows: 1 })).toEqual([rect]);
  });
});

describe('choosing a grid', () => {
  it('always chooses one that fits the region and the protocol', () => {
    const anyRegion = fc.record({
      x: fc.constant(0),
      y: fc.constant(0),
      width: fc.integer({ min: 1, max: 65_536 }),
      height: fc.integer({ min: 1, max: 65_536 }),
    });
    fc.assert(
      fc.property(
        anyRegion,
        fc.integer({ min: 1, max: 65_536 }),
        fc.integer({ min: 1, max: 100_000 }),
        (rect, samples, frames) => {
          const grid = autoGrid(rect, samples, frames);
          expect(tileGridSchema.safeParse(grid).success).toBe(true);
          expect(tileRects(rect, grid)).toHaveLength(grid.columns * grid.rows);
        },
      ),
      { numRuns: 300 },
    );
  });

  it('leaves a picture whole that is little work', () => {
    expect(autoGrid({ x: 0, y: 0, width: 320, height: 180 }, 16, 1)).toEqual({ columns: 1, rows: 1 });
  });

  it('cuts a still finer than a frame of an animation, which shares the nodes with other frames', () => {
    const rect = { x: 0, y: 0, width: 1920, height: 1080 };
    const still = autoGrid(rect, 64, 1);
    const frame = autoGrid(rect, 64, 24);
    expect(still.columns * still.rows).toBeGreaterThan(frame.columns * frame.rows);
  });
});
