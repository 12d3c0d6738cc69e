/** A job as a grid of frames and tiles: any part of its tasks can be made from it at any time, always the same. Pure. */
import type { JobSpec } from '../../protocol/job.ts';
import type { TaskKind } from '../../protocol/receipt.ts';
import type { Rect } from '../../protocol/rect.ts';
import { taskPrice } from '../submission/quote.ts';
import { type FrameRun, frameAt } from './frame-runs.ts';
import { tileRects } from './tile-grid.ts';

export type PlannedTask = {
  kind: TaskKind;
  frame: number;
  /** Order of work inside the job. */
  position: number;
  tile: number;
  rect: Rect;
  samples: number;
  price: bigint;
};

export type Grid = {
  runs: readonly FrameRun[];
  framesTotal: number;
  /** The tasks of any frame, in order: its tiles and then its finish, or one for all. */
  perFrame: readonly Omit<PlannedTask, 'frame' | 'position'>[];
  tilesPerFrame: number;
  previewFirst: boolean;
};

export function gridOf(
  { region, tiles, samples }: Pick<JobSpec, 'region' | 'tiles' | 'samples'>,
  frames: { runs: readonly FrameRun[]; framesTotal: number; previewFirst: boolean },
): Grid {
  const rects = tileRects(region, tiles);
  const task = (kind: TaskKind, tile: number, rect: Rect) => {
    return { kind, tile, rect, samples, price: taskPrice(kind, rect, samples) };
  };
  // The node that renders a whole frame finishes it too: nothing of it has to travel to be merged.
  const perFrame =
    rects.length === 1
      ? [task('frame', 0, region)]
      : [...rects.map((rect, tile) => task('render', tile, rect)), task('finish', 0, region)];
  return { ...frames, perFrame, tilesPerFrame: rects.length };
}

/** One frame's tasks; `turn` 0 is the frame that is begun first. `place`: where it stands in the list that was asked for. */
export function frameOf(grid: Grid, turn: number): { frame: number; place: number; tasks: PlannedTask[] } {
  const place = grid.previewFirst ? previewPlace(turn, grid.framesTotal) : turn;
  const frame = frameAt(grid.runs, place);
  const first = turn * grid.perFrame.length;
  const tasks = grid.perFrame.map((task, index) => ({ ...task, frame, position: first + index }));
  return { frame, place, tasks };
}

/** What the whole job costs. */
export function gridPrice(grid: Grid): bigint {
  return BigInt(grid.framesTotal) * grid.perFrame.reduce((sum, { price }) => sum + price, 0n);
}

/** First, last and middle of the list, then the others in order. */
export function previewPlace(turn: number, total: number): number {
  if (total <= 2) return turn;
  const middle = Math.floor((total - 1) / 2);
  const early = [0, total - 1, middle];
  const first = early[turn];
  if (first !== undefined) return first;
  // The others begin at 1 and leave out the middle.
  const place = turn - early.length + 1;
  return place < middle ? place : place + 1;
}
