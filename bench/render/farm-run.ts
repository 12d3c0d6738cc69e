/** One job on a farm that runs already, timed from handing in the scene to the last picture on this disk. */
import { join } from 'node:path';
import type { Farm } from '../../cli/farm/start-farm.ts';
import { FarmClient } from '../../cli/farm-client.ts';
import { ProgressLine } from '../../cli/progress-line.ts';
import { type FrameFiles, followJob } from '../../cli/render/follow-job.ts';
import { submitScene } from '../../cli/render/submit-scene.ts';
import type { JobRequest } from '../../protocol/job.ts';

export type FarmRun = {
  /** Until the last picture was here: inspection, escrow, queue, fetch, render, digest, upload, merge, compositor. */
  deliveredSeconds: number;
  /** Until every frame was verified, too, and paid. */
  settledSeconds: number;
  files: FrameFiles[];
};

export async function farmRun(
  farm: Farm,
  scene: string,
  choices: Omit<JobRequest, 'scene' | 'name'>,
  outFolder: string,
  signal: AbortSignal,
): Promise<FarmRun> {
  const client = new FarmClient({ apiUrl: farm.apiUrl, credential: farm.apiKey });
  const startedMs = performance.now();
  const seconds = (): number => (performance.now() - startedMs) / 1_000;
  const submitted = await submitScene(client, scene, undefined, signal);
  const job = await client.submitJob({ scene: submitted.scene, name: 'bench', ...choices }, signal);
  let deliveredSeconds = 0;
  const { files } = await followJob(job.id, {
    client,
    outFolder: join(outFolder, job.id),
    progress: new ProgressLine(process.stderr, Date.now),
    now: Date.now,
    onFrame: () => {
      deliveredSeconds = seconds();
    },
    signal,
  });
  return { deliveredSeconds, settledSeconds: seconds(), files };
}
