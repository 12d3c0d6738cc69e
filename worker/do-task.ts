/** One task, from lease to files: fetch, render or finish, deliver. */
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { HttpBlobs } from '../platform/blobs/http-blobs.ts';
import type { RenderSession } from '../platform/render/runtime.ts';
import { whileUnreachable } from '../platform/retry.ts';
import type { Digest } from '../protocol/ids.ts';
import type { LeaseGrant } from '../protocol/messages.ts';

export type TaskResult = {
  exrDigest: Digest;
  pixelDigest: Digest;
  pictureDigest: Digest | null;
  renderMs: number;
  peakMemoryBytes: number;
};

/** Longer than a restart of the farm takes; a task that is done is worth waiting for. */
const PATIENCE_MS = 120_000;

type TaskTools = { session: RenderSession; blobs: HttpBlobs; workFolder: string };

/** Renders or finishes what the grant says and delivers the files; nothing stays behind in `workFolder`. */
export async function doTask(
  grant: LeaseGrant,
  tools: TaskTools,
  onProgress: (fraction: number) => void,
  signal: AbortSignal,
): Promise<TaskResult> {
  const folder = join(tools.workFolder, grant.taskId);
  await mkdir(folder, { recursive: true });
  try {
    return grant.kind === 'render'
      ? await renderTile(grant, tools, folder, onProgress, signal)
      : await finishFrame(grant, tools, folder, onProgress, signal);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function renderTile(
  grant: LeaseGrant,
  { session, blobs }: TaskTools,
  folder: string,
  onProgress: (fraction: number) => void,
  signal: AbortSignal,
): Promise<TaskResult> {
  const { frame, rect, samples, precision, timeoutMs } = grant;
  const tile = await session.render(
    { frame, rect, samples, precision, output: join(folder, 'tile.exr') },
    { signal, timeoutMs, onProgress: ({ fraction }) => onProgress(fraction) },
  );
  const { digest } = await put(blobs, tile.exrPath, signal);
  return {
    exrDigest: digest,
    pixelDigest: tile.pixelDigest,
    pictureDigest: null,
    renderMs: tile.renderMs,
    peakMemoryBytes: tile.peakMemoryBytes,
  };
}

async function finishFrame(
  grant: LeaseGrant,
  { session, blobs }: TaskTools,
  folder: string,
  onProgress: (fraction: number) => void,
  signal: AbortSignal,
): Promise<TaskResult> {
  const tiles = await Promise.all(
    grant.inputs.map(async (input, index) => {
      const path = join(folder, `tile-${index}.exr`);
      await whileUnreachable(() => blobs.fetchTo(input.exr, path, signal), signal, PATIENCE_MS);
      return { rect: input.rect, path };
    }),
  );
  const finished = await session.finish(
    {
      frame: grant.frame,
      region: grant.rect,
      picture: grant.picture,
      tiles,
      output: grant.output,
      exrOutput: join(folder, 'frame.exr'),
      pictureOutput: join(folder, 'frame.picture'),
    },
    { signal, timeoutMs: grant.timeoutMs, onProgress: ({ fraction }) => onProgress(fraction) },
  );
  const exr = await put(blobs, finished.exrPath, signal);
  const picture = await put(blobs, finished.picturePath, signal);
  return {
    exrDigest: exr.digest,
    pixelDigest: finished.pixelDigest,
    pictureDigest: picture.digest,
    renderMs: finished.finishMs,
    peakMemoryBytes: 0,
  };
}

function put(blobs: HttpBlobs, path: string, signal: AbortSignal): ReturnType<HttpBlobs['putFile']> {
  return whileUnreachable(() => blobs.putFile(path, signal), signal, PATIENCE_MS);
}
