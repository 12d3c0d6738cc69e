/** The frames that a movie or a contact sheet is made of: a folder's, or a job's, which are fetched first. */
import { readdir } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { errorCode } from '../../platform/files.ts';
import { FarmError } from '../../protocol/errors.ts';
import { jobIdSchema } from '../../protocol/ids.ts';
import type { FrameRate, JobView } from '../../protocol/job.ts';
import type { FarmClient } from '../farm-client.ts';
import { ProgressLine } from '../progress-line.ts';
import { type FrameFiles, followJob } from '../render/follow-job.ts';
import { parseFrames } from '../render/parse-frames.ts';
import type { Terminal } from '../terminal.ts';
import { findSequence, frameOfFile, wholeRange } from './frame-sequence.ts';
import type { LooksFrame } from './make-looks.ts';

export type Found = {
  /** What the frames are called. */
  name: string;
  folder: string;
  frames: LooksFrame[];
  /** All frames there should be. */
  expected: number[];
  /** The scene's; a folder does not say. */
  rate: FrameRate | undefined;
};

export type FindOptions = { name?: string; frames?: string };
/** Opens the farm only where the source is a job. */
export type OpenFarm = () => Promise<{ client: FarmClient } & AsyncDisposable>;

export async function findFootage(
  source: string,
  options: FindOptions,
  openFarm: OpenFarm,
  terminal: Terminal,
): Promise<Found> {
  const wanted = options.frames === undefined ? undefined : parseFrames(options.frames);
  const id = jobIdSchema.safeParse(source);
  if (!id.success) return await inFolder(resolve(source), options.name, wanted);
  await using farm = await openFarm();
  const progress = new ProgressLine(terminal.err, terminal.now);
  const outFolder = resolve(source);
  const { client } = farm;
  const done = await followJob(id.data, {
    client,
    outFolder,
    progress,
    now: terminal.now,
    signal: terminal.signal,
  });
  return ofJob(done.job, done.files, wanted);
}

/** The frames of a job that was followed to its end. */
export function ofJob(job: JobView, files: readonly FrameFiles[], wanted?: readonly number[]): Found {
  const first = files[0]?.picture ?? '';
  const expected = [...(wanted ?? job.spec.frames)].sort((a, b) => a - b);
  const asked = new Set(expected);
  return {
    name: frameOfFile(basename(first))?.name ?? 'frames',
    folder: dirname(resolve(first)),
    frames: files
      .filter(({ frame }) => asked.has(frame))
      .map(({ frame, picture }) => ({ frame, path: picture })),
    expected,
    rate: job.spec.frameRate,
  };
}

async function inFolder(folder: string, wantedName: string | undefined, wanted?: number[]): Promise<Found> {
  const files = await readdir(folder).catch((error: unknown) => {
    if (!['ENOENT', 'ENOTDIR', 'EACCES'].includes(errorCode(error) ?? '')) throw error;
    throw new FarmError('FRAMES_MISSING', `there is no folder ${folder} that can be read, and no such job`, {
      cause: error,
    });
  });
  const { name, frames: all } = findSequence(files, wantedName, folder);
  const asked = wanted === undefined ? undefined : new Set(wanted);
  const frames = asked === undefined ? all : all.filter(({ frame }) => asked.has(frame));
  const expected = wanted === undefined ? wholeRange(all) : [...wanted].sort((a, b) => a - b);
  return {
    ...{ name, folder, expected, rate: undefined },
    frames: frames.map(({ frame, file }) => ({ frame, path: join(folder, file) })),
  };
}
