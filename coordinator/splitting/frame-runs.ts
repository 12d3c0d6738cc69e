/** A list of frames as it is kept: runs of equal steps, since a hundred thousand numbers are mostly `1 to 100000`. Pure. */
import type { JobSpec } from '../../protocol/job.ts';

/** First frame, how many, and from one to the next. */
export type FrameRun = readonly [first: number, count: number, step: number];

/** In the order given. Two frames make a run of any step, so that at worst there are half as many runs as frames. */
export function runsOfFrames(frames: readonly number[]): FrameRun[] {
  const runs: [number, number, number][] = [];
  for (const frame of frames) {
    const last = runs.at(-1);
    if (last === undefined) runs.push([frame, 1, 1]);
    else if (last[1] === 1) {
      last[1] = 2;
      last[2] = frame - last[0];
    } else if (frame === last[0] + last[1] * last[2]) last[1] += 1;
    else runs.push([frame, 1, 1]);
  }
  return runs;
}

export function framesOfRuns(runs: readonly FrameRun[]): number[] {
  return runs.flatMap(([first, count, step]) =>
    Array.from({ length: count }, (_, place) => first + place * step),
  );
}

/** The frame at a place of the list. Throws for a place that it does not have. */
export function frameAt(runs: readonly FrameRun[], place: number): number {
  let left = place;
  for (const [first, count, step] of runs) {
    if (left < count) return first + left * step;
    left -= count;
  }
  throw new RangeError(`there is no frame at place ${place}`);
}

/** Where a frame stands in the list, or null. */
export function placeOf(runs: readonly FrameRun[], frame: number): number | null {
  let before = 0;
  for (const [first, count, step] of runs) {
    const steps = step === 0 ? 0 : (frame - first) / step;
    if (Number.isInteger(steps) && steps >= 0 && steps < count) return before + steps;
    before += count;
  }
  return null;
}

/** The spec of a job with its frames; it is kept without them. A job of before runs has them in its spec. */
export function wholeSpec(job: { spec: JobSpec; frame_runs: readonly FrameRun[] | null }): JobSpec {
  return job.frame_runs === null ? job.spec : { ...job.spec, frames: framesOfRuns(job.frame_runs) };
}
