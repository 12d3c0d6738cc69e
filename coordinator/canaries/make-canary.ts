/** Renders what a canary claims, as a node would, and stores the files. */
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { BlobStore } from '../../platform/blobs/blob-store.ts';
import type { RenderRuntime, RenderSession, SceneFolder } from '../../platform/render/runtime.ts';
import type { JobSpec } from '../../protocol/job.ts';
import type { Receipt } from '../../protocol/receipt.ts';
import type { CanaryTask } from './plan-canary.ts';

/** A task with the files that its receipt names. */
export type MadeTask = CanaryTask & Pick<Receipt, 'exrDigest' | 'pixelDigest' | 'pictureDigest'>;

export type MakeOptions = {
  runtime: RenderRuntime;
  folder: SceneFolder;
  /** A folder of this canary, made and removed here. */
  workFolder: string;
  threads: number;
  niceness: number | undefined;
  blobs: BlobStore;
  signal: AbortSignal;
};

export async function makeCanary(
  tasks: readonly CanaryTask[],
  spec: Pick<JobSpec, 'output' | 'precision' | 'picture'>,
  { runtime, folder, workFolder, threads, niceness, blobs, signal }: MakeOptions,
): Promise<MadeTask[]> {
  await mkdir(workFolder, { recursive: true, mode: 0o700 });
  try {
    await using session = await runtime.open(folder, { signal, threads, niceness });
    const made: MadeTask[] = [];
    for (const task of tasks) made.push(await makeTask(task, spec, session, workFolder, blobs, signal));
    return made;
  } finally {
    await rm(workFolder, { recursive: true, force: true });
  }
}

async function makeTask(
  task: CanaryTask,
  { output, precision, picture }: Pick<JobSpec, 'output' | 'precision' | 'picture'>,
  session: RenderSession,
  workFolder: string,
  blobs: BlobStore,
  signal: AbortSignal,
): Promise<MadeTask> {
  const { rect, rendered } = task;
  const exr = join(workFolder, 'canary.exr');
  if (task.kind === 'render') {
    const command = { ...rendered, rect, precision, output: exr };
    const { exrPath, pixelDigest } = await session.render(command, { signal });
    return { ...task, pixelDigest, exrDigest: (await blobs.putFile(exrPath)).digest, pictureDigest: null };
  }
  const pictureOutput = join(workFolder, 'canary.picture');
  const command = { ...rendered, region: rect, picture, precision, output, exrOutput: exr, pictureOutput };
  const { exrPath, picturePath, pixelDigest } = await session.renderFrame(command, { signal });
  const pictureDigest = (await blobs.putFile(picturePath)).digest;
  return { ...task, pixelDigest, exrDigest: (await blobs.putFile(exrPath)).digest, pictureDigest };
}
