/** Watches a job to its end and fetches frames as they come, and again should a check have failed them. */
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { HttpBlobs } from '../../platform/blobs/http-blobs.ts';
import { diskError } from '../../platform/files.ts';
import { FarmError } from '../../protocol/errors.ts';
import type { Digest, JobId } from '../../protocol/ids.ts';
import type { FrameView, JobView } from '../../protocol/job.ts';
import { PICTURE_EXTENSIONS } from '../../protocol/output.ts';
import type { FarmClient } from '../farm-client.ts';
import { type ProgressLine, progressText } from '../progress-line.ts';
import { ExtraPlaces, frameNumber } from './extra-places.ts';
import { type FetchedExtra, fetchExtraFiles, removeExtraFiles } from './fetch-extra-files.ts';
import { JobNews } from './job-news.ts';

/** `exr` is null where the job was not asked for EXRs. */
export type FrameFiles = { frame: number; picture: string; exr: string | null; extraFiles: FetchedExtra[] };

/** What is on this disk, and what of the farm it is. */
type Here = FrameFiles & { digest: Digest; list: Digest | null };

export type FollowOptions = {
  client: FarmClient;
  outFolder: string;
  progress: ProgressLine;
  now: () => number;
  /** Called when a frame's picture is on this disk, checked or not. */
  onFrame?: (frame: number) => void;
  signal: AbortSignal;
};

/**
 * Resolves when the job's money is settled and every frame is on this disk. Throws JOB_FAILED with the job's reason
 * (frames that were done are kept), or INTERRUPTED.
 */
export async function followJob(
  id: JobId,
  options: FollowOptions,
): Promise<{ job: JobView; files: FrameFiles[] }> {
  const { client, progress, signal } = options;
  const files = new Map<number, Here>();
  await using news = new JobNews({ events: (after, stop) => client.events(id, after, stop) });
  let places: ExtraPlaces | undefined;
  let seen = '';
  for (;;) {
    const job = await client.job(id, signal);
    progress.show(progressText(job, options.now()));
    places ??= new ExtraPlaces(picturesOf(job));
    let counts = JSON.stringify([job.tasks, job.framesDone]);
    // Pictures come, and go when a check fails, with tasks that change their state; the end is looked at whole.
    if (counts !== seen || job.escrow === 'closed') {
      for (const frame of await client.frames(id, signal)) {
        const here = files.get(frame.frame);
        if (frame.picture === null) {
          if (here !== undefined) await removeFiles(here, places);
          files.delete(frame.frame);
          continue;
        }
        if (isHere(frame, here)) continue;
        const extraFiles = await replaceExtraFiles(job, frame, here, places, options);
        // Replaced while it was looked at; the next look has the new one.
        if (extraFiles === null) {
          counts = '';
          continue;
        }
        const fetched = { ...(await download(job, frame, options)), extraFiles };
        files.set(frame.frame, { ...fetched, digest: frame.picture, list: frame.extraFiles });
        options.onFrame?.(frame.frame);
      }
    }
    seen = counts;
    if (job.escrow === 'closed' && files.size >= job.framesDone) {
      progress.clear();
      if (job.state === 'completed') return { job, files: sorted(files) };
      if (job.admission === 'refused')
        throw new FarmError('SCENE_UNVERIFIABLE', job.reason ?? 'the scene does not render the same twice', {
          kept: `nothing was paid; all ${job.refunded} units are back`,
          details: { jobId: id, refunded: job.refunded.toString() },
        });
      throw new FarmError('JOB_FAILED', `job ${id} ${job.state}: ${job.reason ?? 'no reason was given'}`, {
        kept: `${files.size} frame(s) in ${options.outFolder}; ${job.refunded} of ${job.quote} units are back`,
        details: { jobId: id, refunded: job.refunded.toString() },
      });
    }
    await news.next(signal);
    if (signal.aborted)
      throw new FarmError('INTERRUPTED', `stopped watching job ${id}; the farm goes on with it`);
  }
}

/** Whether what is on this disk is what the farm has now: a picture that failed its check is made again. */
function isHere(frame: FrameView, here: Here | undefined): boolean {
  if (here?.digest !== frame.picture || here?.list !== frame.extraFiles) return false;
  return here.exr !== null || frame.exr === null;
}

/** Of a picture that failed its check: a wrong picture must not be taken for a result. */
async function removeFiles(
  { frame, picture, exr, extraFiles }: FrameFiles,
  places: ExtraPlaces,
): Promise<void> {
  for (const path of [picture, exr]) if (path !== null) await rm(path, { force: true });
  await removeExtraFiles(frame, extraFiles, places);
}

/** Takes away what is here of an earlier picture and fetches the frame's own. Null when it changed meanwhile. */
async function replaceExtraFiles(
  job: JobView,
  { frame, extraFiles: list }: FrameView,
  here: Here | undefined,
  places: ExtraPlaces,
  { client, outFolder, signal }: FollowOptions,
): Promise<FetchedExtra[] | null> {
  if (here !== undefined && here.list === list) return here.extraFiles;
  if (here !== undefined) {
    await removeExtraFiles(frame, here.extraFiles, places);
    here.extraFiles = [];
    here.list = null;
  }
  if (list === null) return [];
  const detail = await client.frame(job.id, frame, signal);
  if (detail.extraFiles !== list) return null;
  await makeFolder(outFolder);
  const blobs = new HttpBlobs(client.address);
  return await fetchExtraFiles(frame, detail.files, { blobs, outFolder, places, signal });
}

function sorted(files: ReadonlyMap<number, FrameFiles>): FrameFiles[] {
  return [...files.values()]
    .sort((a, b) => a.frame - b.frame)
    .map(({ frame, picture, exr, extraFiles }) => ({ frame, picture, exr, extraFiles }));
}

async function download(
  job: JobView,
  frame: FrameView,
  options: FollowOptions,
): Promise<Omit<FrameFiles, 'extraFiles'>> {
  const blobs = new HttpBlobs(options.client.address);
  const names = namesOf(job, frame.frame);
  const fetch = async (digest: Digest | null, path: string): Promise<string> => {
    if (digest === null) throw new FarmError('INTERNAL', `frame ${frame.frame} is done without a file`);
    await blobs.fetchTo(digest, path, options.signal);
    return path;
  };
  await makeFolder(options.outFolder);
  return {
    frame: frame.frame,
    picture: await fetch(frame.picture, join(options.outFolder, names.picture)),
    exr: frame.exr === null ? null : await fetch(frame.exr, join(options.outFolder, names.exr)),
  };
}

async function makeFolder(folder: string): Promise<void> {
  try {
    await mkdir(folder, { recursive: true });
  } catch (error) {
    throw diskError(error, join(folder, 'frame'));
  }
}

function namesOf(job: JobView, frame: number): { picture: string; exr: string } {
  const extension = PICTURE_EXTENSIONS[job.spec.output.format];
  const stem = `${fileStem(job.name)}_${frameNumber(frame)}`;
  // The picture keeps its name where it is an EXR itself.
  return { picture: `${stem}${extension}`, exr: extension === '.exr' ? `${stem}_layers.exr` : `${stem}.exr` };
}

/** Every path that the job's pictures and EXRs take, so that no other file gets it. */
function picturesOf(job: JobView): string[] {
  return job.spec.frames.flatMap((frame) => Object.values(namesOf(job, frame)));
}

/** A job's name becomes part of a file name: only plain letters survive. */
function fileStem(name: string): string {
  return (
    name
      .replace(/\.blend$/i, '')
      .replace(/[^A-Za-z0-9._-]+/g, '-')
      .replace(/^[.-]+/, '') || 'frame'
  );
}
