/** Which frame ffmpeg stumbled over: it does not say, so the frames are decoded again in ever smaller halves. */
import { FarmError } from '../../protocol/errors.ts';
import type { FrameRate } from '../../protocol/job.ts';
import { type Ffmpeg, INPUT, runFfmpeg } from './ffmpeg.ts';
import type { MovieFrame } from './footage.ts';
import { type Footage, inputArguments } from './formats.ts';

export type BadFrameSearch = {
  tools: Ffmpeg;
  frames: readonly MovieFrame[];
  footage: Footage;
  rate: FrameRate;
  folders: { frames: string };
  limits: { fileBytes: number; addressSpaceBytes: number };
  signal: AbortSignal;
  /** The part that failed, counted from 0. */
  first: number;
  count: number;
  /** What ffmpeg said. */
  words: string;
};

/** More frames than any ffmpeg has in flight between reading and showing. */
const AHEAD = 64;

/** PICTURE_UNREADABLE with the first frame that cannot be decoded, or MOVIE_FAILED when all can. */
export async function badFrameError(search: BadFrameSearch): Promise<FarmError> {
  const { frames, first, count, words } = search;
  const kept = 'no movie was made; the frames are as they were';
  if ((await decode(search, first, count)).whole)
    return new FarmError('MOVIE_FAILED', `ffmpeg: ${words}`, { kept });
  let [start, length] = [first, count];
  while (length > 1) {
    const half = Math.floor(length / 2);
    if ((await decode(search, start, half)).whole) [start, length] = [start + half, length - half];
    else length = half;
  }
  // ffmpeg decodes a little ahead of what it was asked for, so the frame is this one or one soon after it.
  for (const [offset, bad] of frames.slice(start, start + AHEAD).entries()) {
    const { whole, words: why } = await decode(search, start + offset, 1);
    if (whole) continue;
    return new FarmError('PICTURE_UNREADABLE', `frame ${bad.frame} (${bad.path}) cannot be decoded: ${why}`, {
      kept,
    });
  }
  return new FarmError('MOVIE_FAILED', `ffmpeg: ${words}`, { kept });
}

async function decode(
  search: BadFrameSearch,
  first: number,
  count: number,
): Promise<{ whole: boolean; words: string }> {
  const { tools, footage, rate, folders, limits, signal } = search;
  const input = inputArguments({ footage, rate, first, folder: INPUT, one: count === 1 });
  const result = await runFfmpeg(tools, {
    ...{ input: folders.frames, limits, signal },
    parameters: [...input, '-frames:v', String(count), '-f', 'null', '-'],
  });
  return { whole: result.ok && result.frames === count, words: result.words };
}
