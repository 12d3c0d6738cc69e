/** How a movie is cut into pieces that are encoded side by side. Pure. */
import type { FrameRate } from '../../protocol/job.ts';

/** Frames `first` to `first + count - 1` of the movie, counted from 0. */
export type Segment = { first: number; count: number };

export type SegmentPlanOptions = {
  frames: number;
  /** Frames from one key frame to the next. */
  groupFrames: number;
  /** Pieces at a time. */
  parallel: number;
};

/** Seconds from one key frame to the next: a player finds any frame by decoding at most this much. */
const GROUP_SECONDS = 2;
/** ffmpeg takes a tenth of a second to start, and its encoder looks ahead as far as one group. */
const LEAST_GROUPS = 2;
/** x264's own largest distance; slideshows of one frame a minute need no more either. */
const MAX_GROUP_FRAMES = 250;

export function groupFramesOf({ numerator, denominator }: FrameRate): number {
  return Math.min(MAX_GROUP_FRAMES, Math.max(1, Math.round((GROUP_SECONDS * numerator) / denominator)));
}

/**
 * Covers all frames once and in order. Every piece begins where the movie in one piece would have a key frame, so
 * cutting costs no quality and no size; pieces differ by at most one group (and the last one by what is missing of
 * its last group).
 */
export function planSegments(options: SegmentPlanOptions): Segment[] {
  const { frames, groupFrames, parallel } = options;
  const groups = Math.ceil(frames / groupFrames);
  const pieces = Math.max(1, Math.min(parallel, Math.floor(groups / LEAST_GROUPS)));
  const start = (piece: number): number =>
    Math.min(frames, Math.floor((groups * piece) / pieces) * groupFrames);
  return Array.from({ length: pieces }, (_, piece) => ({
    first: start(piece),
    count: start(piece + 1) - start(piece),
  }));
}
