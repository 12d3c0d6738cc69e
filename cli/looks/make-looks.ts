/** Movies and contact sheets of frames on this disk, with a line about each. */
import { mkdir } from 'node:fs/promises';
import { basename, dirname, join, relative } from 'node:path';
import { diskError } from '../../platform/files.ts';
import { type ContactSheet, makeContactSheet } from '../../platform/looks/contact-sheet.ts';
import { encodeMovie, type Movie } from '../../platform/movies/encode-movie.ts';
import { extensionOf, MOVIE_FORMATS, type MovieFormat } from '../../platform/movies/formats.ts';
import { rateText } from '../../platform/movies/frame-rate.ts';
import { FarmError } from '../../protocol/errors.ts';
import type { FrameRate } from '../../protocol/job.ts';
import { ProgressLine } from '../progress-line.ts';
import type { Terminal } from '../terminal.ts';
import { frameOfFile } from './frame-sequence.ts';

export type LooksFrame = { frame: number; path: string };

/** What scenes have that say nothing else. */
export const DEFAULT_RATE: FrameRate = { numerator: 24, denominator: 1 };

/** Throws USAGE for a format that there is not. */
export function parseMovieFormat(text: string): MovieFormat {
  const format = MOVIE_FORMATS.find((one) => one === text);
  if (format === undefined) {
    throw new FarmError('USAGE', `"${text}" is no kind of movie: it is one of ${MOVIE_FORMATS.join(', ')}`);
  }
  return format;
}

/** A path for the result: the one that was asked for, whose ending must fit, or one beside the frames. */
export function outputPath(asked: string | undefined, folder: string, file: string): string {
  if (asked === undefined) return join(folder, file);
  const ending = file.slice(file.lastIndexOf('.'));
  if (asked.toLowerCase().endsWith(ending)) return asked;
  throw new FarmError('USAGE', `--out ${asked}: the name of this file ends in ${ending}`);
}

export const movieFile = (name: string, format: MovieFormat): string => `${name}.${extensionOf(format)}`;
export const sheetFile = (name: string): string => `${name}-contact-sheet.png`;

type Looks = { frames: readonly LooksFrame[]; output: string; rate: FrameRate | undefined };

export async function makeMovie(
  { frames, output, format, rate = DEFAULT_RATE }: Looks & { format: MovieFormat },
  terminal: Terminal,
): Promise<Movie> {
  const progress = new ProgressLine(terminal.err, terminal.now);
  await makeFolderOf(output);
  try {
    const movie = await encodeMovie({
      ...{ frames, format, rate, output, signal: terminal.signal },
      onFrames: (done, total) => progress.show(shareText(`encoding ${format}`, done, total)),
    });
    progress.clear();
    const { width, height, framesPerSecond, seconds } = movie;
    const length = `${frames.length} frame(s) of ${width}x${height} at ${framesPerSecond} fps, ${seconds.toFixed(1)} s`;
    terminal.say(`movie ${shown(output)}: ${length}`);
    for (const note of movie.notes) terminal.say(`  note: ${note}`);
    return movie;
  } finally {
    progress.clear();
  }
}

export async function makeSheet({ frames, output, rate }: Looks, terminal: Terminal): Promise<ContactSheet> {
  const progress = new ProgressLine(terminal.err, terminal.now);
  await makeFolderOf(output);
  try {
    const title = frameOfFile(basename(frames[0]?.path ?? ''))?.name ?? 'frames';
    const sheet = await makeContactSheet({
      ...{ frames, title, output, signal: terminal.signal },
      notes: rate === undefined ? [] : [`${rateText(rate)} fps`],
      onFrames: (done, total) => progress.show(shareText('drawing the contact sheet', done, total)),
    });
    progress.clear();
    const count =
      sheet.framesShown < sheet.frames ? `${sheet.framesShown} of ${sheet.frames}` : String(sheet.frames);
    terminal.say(`contact sheet ${shown(output)}: ${count} frame(s)`);
    return sheet;
  } finally {
    progress.clear();
  }
}

/** `encoding mp4  frames 12/48  25 %` */
function shareText(what: string, done: number, total: number): string {
  return `${what}  frames ${done}/${total}  ${Math.floor((100 * done) / total)} %`;
}

/** The shorter of the two ways to write a path. */
function shown(path: string): string {
  const near = relative(process.cwd(), path);
  return near.startsWith('..') ? path : near;
}

async function makeFolderOf(path: string): Promise<void> {
  try {
    await mkdir(dirname(path), { recursive: true });
  } catch (error) {
    throw diskError(error, path);
  }
}
