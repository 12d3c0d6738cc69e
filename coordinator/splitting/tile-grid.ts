/** Cutting a picture into tiles: exact, without gap and without overlap, at every size. */
import { FarmError } from '../../protocol/errors.ts';
import type { TileGrid } from '../../protocol/job.ts';
import type { Rect } from '../../protocol/rect.ts';

/**
 * Below this a tile costs more to lease, deliver and check than to render, and a crop of it says too little about it.
 */
export const MIN_TILE_PX = 16;

/** As in the schema of a grid (protocol/job.ts). */
const MAX_GRID = 64;

/**
 * The rectangles of a grid over `region`, row by row from the top left. Border i lies at floor(i * size / count), so
 * neighbours share a border by construction and sizes differ by one pixel at most.
 * Throws TILES_INVALID when a tile would be smaller than {@link MIN_TILE_PX} (a single tile is always allowed).
 */
export function tileRects(region: Rect, grid: TileGrid): Rect[] {
  const most = finestGrid(region);
  if (grid.columns > most.columns || grid.rows > most.rows) {
    throw new FarmError(
      'TILES_INVALID',
      `${grid.columns}x${grid.rows} tiles of a ${region.width}x${region.height} picture would be smaller than ${MIN_TILE_PX} pixels or more than ${MAX_GRID} a side; the finest grid is ${most.columns}x${most.rows}`,
      { kept: 'nothing was submitted', details: { finest: most } },
    );
  }
  const border = (index: number, count: number, size: number): number => Math.floor((index * size) / count);
  const rects: Rect[] = [];
  for (let row = 0; row < grid.rows; row++) {
    const top = border(row, grid.rows, region.height);
    const bottom = border(row + 1, grid.rows, region.height);
    for (let column = 0; column < grid.columns; column++) {
      const left = border(column, grid.columns, region.width);
      const right = border(column + 1, grid.columns, region.width);
      rects.push({ x: region.x + left, y: region.y + top, width: right - left, height: bottom - top });
    }
  }
  return rects;
}

/** The most columns and rows that keep every tile at {@link MIN_TILE_PX} or more. */
export function finestGrid(region: Rect): TileGrid {
  const most = (size: number): number => Math.min(MAX_GRID, Math.max(1, Math.floor(size / MIN_TILE_PX)));
  return { columns: most(region.width), rows: most(region.height) };
}

/**
 * Pixel samples that one node should have in one task: about ten seconds on one CPU core at the speed of the sample
 * scenes, so that the fixed cost of a task (a few tenths of a second) stays in the per cents and a lost task is cheap.
 */
const SAMPLES_PER_TASK = 4_000_000;

/**
 * A grid for `--tiles auto`. One still is cut so that several nodes share it; in an animation the frames already give
 * every node something to do, so a frame stays whole unless it alone is too much work for one task.
 */
export function autoGrid(region: Rect, samples: number, frameCount: number): TileGrid {
  const work = region.width * region.height * samples;
  const share = frameCount >= 8 ? 8 * SAMPLES_PER_TASK : SAMPLES_PER_TASK;
  const tiles = Math.min(MAX_GRID, Math.max(1, Math.ceil(work / share)));
  const columns = Math.max(1, Math.round(Math.sqrt((tiles * region.width) / region.height)));
  const most = finestGrid(region);
  return {
    columns: Math.min(columns, most.columns),
    rows: Math.min(Math.max(1, Math.ceil(tiles / columns)), most.rows),
  };
}
