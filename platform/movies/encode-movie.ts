/** Finished frames become a movie: checked, cut into pieces, encoded side by side, joined. */
import { copyFile, link, lstat, mkdir, mkdtemp, realpath, rename, rm, writeFile } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { dirname, join } from 'node:path';
import { FarmError } from '../../protocol/errors.ts';
import type { FrameRate } from '../../protocol/job.ts';
import { diskError } from '../files.ts';
import { badFrameError } from './bad-frame.ts';
import { type Ffmpeg, findFfmpeg, INPUT, OUTPUT, runFfmpeg } from './ffmpeg.ts';
import { checkFootage, type MovieFrame } from './footage.ts';
import {
  encodeArguments,
  extensionOf,
  type Footage,
  inputArguments,
  inputFile,
  joinArguments,
  type MovieFormat,
  movieShape,
  pieceExtensionOf,
  piecesAtATime,
} from './formats.ts';
import { rateText, startMicroseconds } from './frame-rate.ts';
import { groupFramesOf, planSegments, type Segment } from './segments.ts';

export type MovieOptions = {
  /** In the order in which they are shown. */
  frames: readonly MovieFrame[];
  format: MovieFormat;
  rate: FrameRate;
  /** Where the movie goes; its folder exists, a file there is replaced. */
  output: string;
  signal: AbortSignal;
  onFrames?: (done: number, total: number) => void;
  /** Pieces at a time; what the processors can use when left out. */
  parallel?: number;
  /** Frames from one key frame to the next; two seconds of them when left out. */
  groupFrames?: number;
  /** Where programs are looked for, in place of the usual folders. */
  programFolders?: readonly string[];
};

export type Movie = {
  path: string;
  format: MovieFormat;
  frames: number;
  width: number;
  height: number;
  /** `24000/1001`. */
  framesPerSecond: string;
  seconds: number;
  /** In how many pieces it was encoded. */
  pieces: number;
  /** What a person should know about it. */
  notes: string[];
};

const JOIN_LIST = 'join.txt';
const GIB = 2 ** 30;
/** x264 keeps some tens of frames with their motion data; reserved stacks of threads come on top. */
const BASE_ADDRESS_BYTES = 4 * GIB;
const ADDRESS_BYTES_PER_PIXEL = 1_000;
/** No encoder here writes more than the raw pixels (16-bit RGBA). */
const BYTES_PER_PIXEL = 8;
const CONTAINER_BYTES = 16 * 2 ** 20;

type Work = Required<Pick<MovieOptions, 'format' | 'rate' | 'signal'>> & {
  tools: Ffmpeg;
  frames: readonly MovieFrame[];
  footage: Footage;
  groupFrames: number;
  threads: number;
  folders: { frames: string; pieces: string; movie: string };
  limits: { fileBytes: number; addressSpaceBytes: number };
};

/**
 * Throws FFMPEG_NOT_FOUND, SANDBOX_NOT_FOUND, PICTURE_UNREADABLE, TOO_LARGE, FRAMES_DIFFER, MOVIE_FAILED, DISK_FULL or
 * INTERRUPTED; the frames are left as they are, and what was at `output` stays unless there is a whole new movie.
 */
export async function encodeMovie(options: MovieOptions): Promise<Movie> {
  const { frames, format, rate, output, signal } = options;
  const tools = await findFfmpeg(options.programFolders);
  const footage = await checkFootage(frames, signal);
  const cores = availableParallelism();
  const { parallel = piecesAtATime(format, cores), groupFrames = groupFramesOf(rate) } = options;
  const segments = planSegments({ frames: frames.length, groupFrames, parallel });
  const shape = movieShape(format, footage);
  const pixels = shape.width * shape.height;
  // Beside the movie: it is moved there at the end, and what does not fit there is better known early.
  const root = await mkdtemp(join(dirname(output), '.tessera-movie-')).catch((error: unknown) => {
    throw diskError(error, output);
  });
  const folders = { frames: join(root, 'frames'), pieces: join(root, 'pieces'), movie: join(root, 'movie') };
  const work: Work = {
    ...{ tools, frames, format, rate, signal, footage, groupFrames, folders },
    threads: Math.max(1, Math.floor(cores / segments.length)),
    limits: {
      fileBytes: frames.length * pixels * BYTES_PER_PIXEL + CONTAINER_BYTES,
      addressSpaceBytes: BASE_ADDRESS_BYTES + pixels * ADDRESS_BYTES_PER_PIXEL,
    },
  };
  try {
    for (const folder of Object.values(folders)) await mkdir(folder);
    await linkFrames(work);
    const made = await encodeAll(work, segments, options.onFrames);
    await moveOut(made, output);
  } catch (error) {
    throw diskError(error, output);
  } finally {
    await rm(root, { recursive: true, force: true, maxRetries: 3 });
  }
  const seconds = (frames.length * rate.denominator) / rate.numerator;
  const { width, height } = shape;
  const notes = notesOn(format, footage, shape);
  return {
    ...{ path: output, format, frames: frames.length, width, height },
    ...{ framesPerSecond: rateText(rate), seconds, pieces: segments.length, notes },
  };
}

function notesOn(
  format: MovieFormat,
  footage: Footage,
  shape: { width: number; height: number; keepsAlpha: boolean },
): string[] {
  const notes: string[] = [];
  if (shape.width !== footage.width || shape.height !== footage.height) {
    notes.push(
      `${format} needs even sides: ${footage.width}x${footage.height} became ${shape.width}x${shape.height}, the last column or row is there twice`,
    );
  }
  if (footage.hasAlpha && !shape.keepsAlpha) {
    notes.push(`${format} has no transparency here: the frames lie over black (prores keeps it)`);
  }
  if (footage.format === 'exr') {
    notes.push('EXR frames are shown with the sRGB curve, not with the view transform of the scene');
  }
  return notes;
}

/** Numbered names without gaps, which is what ffmpeg reads. A hard link costs nothing. */
async function linkFrames({ frames, footage, folders, signal }: Work): Promise<void> {
  for (const [index, { path }] of frames.entries()) {
    if (signal.aborted) throw new FarmError('INTERRUPTED', 'stopped before encoding');
    const source = await realpath(path);
    const name = join(folders.frames, inputFile(index, footage.format));
    await link(source, name).catch(() => copyFile(source, name));
  }
}

/** Encodes the pieces side by side and joins them; gives the path of the movie. The first failure ends the others. */
async function encodeAll(
  work: Work,
  segments: Segment[],
  onFrames: MovieOptions['onFrames'],
): Promise<string> {
  const name = `movie.${extensionOf(work.format)}`;
  const { movie, pieces } = work.folders;
  const [whole] = segments;
  const done = segments.map(() => 0);
  const tell = (index: number) => (count: number) => {
    done[index] = count;
    onFrames?.(
      done.reduce((sum, one) => sum + one, 0),
      work.frames.length,
    );
  };
  if (segments.length === 1 && whole !== undefined) {
    await encodeSegment(work, whole, movie, name, tell(0));
    return join(movie, name);
  }
  const failing = new AbortController();
  const signal = AbortSignal.any([work.signal, failing.signal]);
  const names = segments.map(
    (_, index) => `${String(index).padStart(4, '0')}.${pieceExtensionOf(work.format)}`,
  );
  const results = await Promise.allSettled(
    segments.map((segment, index) =>
      encodeSegment({ ...work, signal }, segment, pieces, names[index] ?? '', tell(index)).catch(
        (error: unknown) => {
          if (!failing.signal.aborted) failing.abort(error);
          throw error;
        },
      ),
    ),
  );
  // The abort's reason is what failed first; the others were only stopped by it.
  if (failing.signal.aborted) throw failing.signal.reason;
  const failed = results.find((result) => result.status === 'rejected');
  if (failed !== undefined) throw failed.reason;
  await joinPieces(work, segments, names, name);
  return join(movie, name);
}

async function encodeSegment(
  work: Work,
  { first, count }: Segment,
  folder: string,
  name: string,
  onFrames: (count: number) => void,
): Promise<void> {
  const { tools, footage, format, rate, groupFrames, threads, folders, limits, signal } = work;
  const input = inputArguments({ footage, rate, first, folder: INPUT });
  const output = `${OUTPUT}/${name}`;
  const result = await runFfmpeg(tools, {
    ...{ input: folders.frames, output: folder, limits, signal, onFrames },
    parameters: [
      ...input,
      ...encodeArguments({ footage, format, rate, frames: count, groupFrames, threads, output }),
    ],
  });
  if (result.ok && result.frames === count) return;
  if (/Unknown encoder/i.test(result.words)) {
    throw new FarmError('FFMPEG_NOT_FOUND', `this ffmpeg cannot write ${format}: ${result.words}`);
  }
  throw await badFrameError({ ...work, first, count, words: result.words });
}

/** The durations are given, not read from the pieces: theirs are rounded, and every piece would come a little later. */
async function joinPieces(work: Work, segments: Segment[], names: string[], name: string): Promise<void> {
  const { tools, folders, limits, signal, rate, frames } = work;
  const lines = ['ffconcat version 1.0'];
  for (const [index, { first, count }] of segments.entries()) {
    const microseconds = startMicroseconds(first + count, rate) - startMicroseconds(first, rate);
    lines.push(`file ${INPUT}/${names[index]}`, `duration ${(microseconds / 1e6).toFixed(6)}`);
  }
  // No encoder could write to this folder: a link planted there would lead our pen elsewhere.
  await writeFile(join(folders.movie, JOIN_LIST), `${lines.join('\n')}\n`);
  const result = await runFfmpeg(tools, {
    ...{ input: folders.pieces, output: folders.movie, limits, signal },
    parameters: joinArguments(`${OUTPUT}/${JOIN_LIST}`, `${OUTPUT}/${name}`),
  });
  if (result.ok && result.frames === frames.length) return;
  throw new FarmError('MOVIE_FAILED', `the pieces could not be joined: ${result.words}`);
}

/** What was written in a bubble is looked at after it is out of reach: only a plain file is handed on. */
async function moveOut(made: string, output: string): Promise<void> {
  const status = await lstat(made).catch(() => undefined);
  if (!status?.isFile() || status.nlink !== 1)
    throw new FarmError('MOVIE_FAILED', 'ffmpeg wrote no plain file');
  await rename(made, output);
}
