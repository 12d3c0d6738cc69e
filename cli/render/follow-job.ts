/** Watches a job to its end and fetches frames as they come, and again should a check have failed them. */
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { HttpBlobs } from '../../platform/blobs/http-blobs.ts';
import { diskError } from '../../platform/files.ts';
import { pause } from '../../platform/wait.ts';
import { FarmError } from '../../protocol/errors.ts';
import type { Digest, JobId } from '../../protocol/ids.ts';
import type { FrameView, JobView } from '../../protocol/job.ts';
import { PICTURE_EXTENSIONS } from '../../protocol/output.ts';
import type { FarmClient } from '../farm-client.ts';
import { type ProgressLine, progressText } from '../progress-line.ts';

/** Fast enough that a short job does not wait for it, slow enough to cost nothing. */
const LOOK_MS = 200;

/** `exr` is null where the job was not asked for EXRs. */
export type FrameFiles = { frame: number; picture: string; exr: string | null };

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
  const files = new Map<number, FrameFiles & { digest: Digest }>();
  for (;;) {
    const job = await client.job(id, signal);
    progress.show(progressText(job, options.now()));
    if (files.size < job.spec.frames.length || job.escrow === 'closed') {
      for (const frame of await client.frames(id, signal)) {
        const here = files.get(frame.frame);
        if (frame.picture === null) {
          if (here !== undefined) await removeFiles(here);
          files.delete(frame.frame);
          continue;
        }
        if (isHere(frame, here)) continue;
        files.set(frame.frame, { ...(await download(job, frame, options)), digest: frame.picture });
        options.onFrame?.(frame.frame);
      }
    }
    if (job.escrow === 'closed' && files.size >= job.framesDone) {
      progress.clear();
      if (job.state === 'completed') return { job, files: sorted(files) };
      throw new FarmError('JOB_FAILED', `job ${id} ${job.state}: ${job.reason ?? 'no reason was given'}`, {
        kept: `${files.size} frame(s) in ${options.outFolder}; ${job.refunded} of ${job.quote} units are back`,
        details: { jobId: id, refunded: job.refunded.toString() },
      });
    }
    await pause(LOOK_MS, signal);
    if (signal.aborted)
      throw new FarmError('INTERRUPTED', `stopped watching job ${id}; the farm goes on with it`);
  }
}

/** Whether what is on this disk is what the farm has now: a picture that failed its check is made again. */
function isHere(frame: FrameView, here: (FrameFiles & { digest: Digest }) | undefined): boolean {
  return here !== undefined && here.digest === frame.picture && (here.exr !== null || frame.exr === null);
}

/** Of a picture that failed its check: a wrong picture must not be taken for a result. */
async function removeFiles({ picture, exr }: FrameFiles): Promise<void> {
  for (const path of [picture, exr]) if (path !== null) await rm(path, { force: true });
}

function sorted(files: ReadonlyMap<number, FrameFiles>): FrameFiles[] {
  return [...files.values()]
    .sort((a, b) => a.frame - b.frame)
    .map(({ frame, picture, exr }) => ({ frame, picture, exr }));
}

async function download(job: JobView, frame: FrameView, options: FollowOptions): Promise<FrameFiles> {
  const blobs = new HttpBlobs(options.client.address);
  const extension = PICTURE_EXTENSIONS[job.spec.output.format];
  const stem = join(options.outFolder, `${fileStem(job.name)}_${frameNumber(frame.frame)}`);
  const fetch = async (digest: Digest | null, path: string): Promise<string> => {
    if (digest === null) throw new FarmError('INTERNAL', `frame ${frame.frame} is done without a file`);
    await blobs.fetchTo(digest, path, options.signal);
    return path;
  };
  try {
    await mkdir(options.outFolder, { recursive: true });
  } catch (error) {
    throw diskError(error, stem);
  }
  return {
    frame: frame.frame,
    picture: await fetch(frame.picture, `${stem}${extension}`),
    // The picture keeps its name where it is an EXR itself.
    exr:
      frame.exr === null
        ? null
        : await fetch(frame.exr, extension === '.exr' ? `${stem}_layers.exr` : `${stem}.exr`),
  };
}

/** Blender's own spelling: four digits at least. */
function frameNumber(frame: number): string {
  return `${frame < 0 ? '-' : ''}${String(Math.abs(frame)).padStart(4, '0')}`;
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
