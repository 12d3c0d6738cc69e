/** `tessera movie` and `tessera contact-sheet`. */
import { resolve } from 'node:path';
import { toJson } from '../../platform/json.ts';
import { findFfmpeg } from '../../platform/movies/ffmpeg.ts';
import { requireFrames } from '../../platform/movies/footage.ts';
import { parseFrameRate } from '../../platform/movies/frame-rate.ts';
import type { JobView } from '../../protocol/job.ts';
import type { FrameFiles } from '../render/follow-job.ts';
import type { Terminal } from '../terminal.ts';
import { type FindOptions, findFootage, type OpenFarm, ofJob } from './find-footage.ts';
import { makeMovie, makeSheet, movieFile, outputPath, parseMovieFormat, sheetFile } from './make-looks.ts';

export type SheetOptions = FindOptions & { out?: string; json?: boolean };
export type MovieCommandOptions = SheetOptions & { format: string; fps?: string };

export async function movieCommand(
  source: string,
  options: MovieCommandOptions,
  openFarm: OpenFarm,
  terminal: Terminal,
): Promise<void> {
  const format = parseMovieFormat(options.format);
  const fps = options.fps === undefined ? undefined : parseFrameRate(options.fps);
  const asked = options.out === undefined ? undefined : resolve(options.out);
  outputPath(asked, '', movieFile('', format));
  // Before a job is waited for through the night.
  await findFfmpeg();
  const { name, folder, frames, expected, rate } = await findFootage(source, options, openFarm, terminal);
  requireFrames(expected, new Set(frames.map(({ frame }) => frame)));
  const output = outputPath(asked, folder, movieFile(name, format));
  const movie = await makeMovie({ frames, output, format, rate: fps ?? rate }, terminal);
  if (options.json) terminal.result(toJson({ movie }));
}

export async function contactSheetCommand(
  source: string,
  options: SheetOptions,
  openFarm: OpenFarm,
  terminal: Terminal,
): Promise<void> {
  const asked = options.out === undefined ? undefined : resolve(options.out);
  outputPath(asked, '', sheetFile(''));
  const { name, folder, frames, expected, rate } = await findFootage(source, options, openFarm, terminal);
  // A sheet shows what is there; only frames that were asked for by number have to be.
  if (options.frames !== undefined) requireFrames(expected, new Set(frames.map(({ frame }) => frame)));
  const output = outputPath(asked, folder, sheetFile(name));
  const contactSheet = await makeSheet({ frames, output, rate }, terminal);
  if (options.json) terminal.result(toJson({ contactSheet }));
}

/** What `tessera render` makes of the frames it has fetched. */
export type RenderLooks = { movie?: string; contactSheet?: boolean };

/** Refuses before a farm is started what could not be made afterwards. */
export async function requireLooks({ movie }: RenderLooks): Promise<void> {
  if (movie === undefined) return;
  parseMovieFormat(movie);
  await findFfmpeg();
}

export async function looksOfJob(
  { job, files }: { job: JobView; files: readonly FrameFiles[] },
  wanted: RenderLooks,
  terminal: Terminal,
) {
  const { name, folder, frames, expected, rate } = ofJob(job, files);
  const contactSheet = wanted.contactSheet
    ? await makeSheet({ frames, rate, output: outputPath(undefined, folder, sheetFile(name)) }, terminal)
    : undefined;
  if (wanted.movie === undefined) return { contactSheet };
  requireFrames(expected, new Set(frames.map(({ frame }) => frame)));
  const format = parseMovieFormat(wanted.movie);
  const output = outputPath(undefined, folder, movieFile(name, format));
  return { contactSheet, movie: await makeMovie({ frames, rate, output, format }, terminal) };
}
