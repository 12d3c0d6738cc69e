/**
 * What a canary is to be: beside which batch, right or wrong, and of which places. Pure; `random` gives numbers from 0 to
 * below 1 that no verifier can foresee.
 */
import type { JobSpec } from '../../protocol/job.ts';
import type { Receipt, TaskKind } from '../../protocol/receipt.ts';
import type { Rect } from '../../protocol/rect.ts';

export type Random = () => number;

/** One of two is wrong: a verifier that passes everything meets those, one that fails everything the others. */
const BAD_SHARE = 0.5;

/** As many as are drawn from a full batch, so that a challenge looks like any other; more would only cost rendering. */
const MOST_RECEIPTS = 4;

/** What a cheat takes of the samples: no honest verifier takes it for right (docs/decisions/four-crops.md). */
const BAD_SAMPLES = 0.25;

/** A task as it is claimed, and how it is rendered. */
export type CanaryTask = {
  kind: Extract<TaskKind, 'render' | 'frame'>;
  frame: number;
  rect: Rect;
  /** What the receipt says. */
  samples: number;
  /** What is rendered. */
  rendered: { frame: number; samples: number };
};

/** Whether a canary is planted beside a batch, and of which kind. */
export function rollCanary(share: number, random: Random): 'bad' | 'good' | null {
  if (random() >= share) return null;
  return random() < BAD_SHARE ? 'bad' : 'good';
}

/**
 * The tasks of a canary beside a batch with these receipts: of the same job's scene, kind, size and samples, at other
 * places. None where this batch cannot be imitated: nothing wrong can be made of it, or what its frames come with is not
 * made here.
 */
export function planCanary(
  receipts: readonly Receipt[],
  spec: Pick<JobSpec, 'frames' | 'region'>,
  bad: boolean,
  random: Random,
): CanaryTask[] {
  const [first] = receipts;
  if (first === undefined || first.kind === 'finish') return [];
  if (receipts.some(({ extraFilesDigest }) => extraFilesDigest !== undefined)) return [];
  const { kind, samples } = first;
  const count = Math.min(receipts.length, MOST_RECEIPTS);
  const frames = shuffled(spec.frames, random);
  const tasks: CanaryTask[] = [];
  for (let index = 0; index < count; index++) {
    const rect =
      kind === 'frame' ? spec.region : moved((receipts[index] as Receipt).rect, spec.region, random);
    // Whole frames differ in nothing but their number.
    const frame = kind === 'frame' ? frames[index] : frames[index % frames.length];
    if (frame === undefined) break;
    const rendered = bad ? rendersWrong(frame, samples, frames) : { frame, samples };
    if (rendered === null) return [];
    tasks.push({ kind, frame, rect, samples, rendered });
  }
  return tasks;
}

/** Fewer samples, as a cheat would; where there are none to leave out, another frame. */
function rendersWrong(
  frame: number,
  samples: number,
  frames: readonly number[],
): CanaryTask['rendered'] | null {
  if (samples > 1) return { frame, samples: Math.max(1, Math.floor(samples * BAD_SAMPLES)) };
  const other = frames.find((one) => one !== frame);
  return other === undefined ? null : { frame: other, samples };
}

function moved(rect: Rect, region: Rect, random: Random): Rect {
  const { width, height } = rect;
  const x = region.x + below(region.width - width + 1, random);
  const y = region.y + below(region.height - height + 1, random);
  return { x, y, width, height };
}

function below(count: number, random: Random): number {
  return Math.floor(random() * count);
}

function shuffled(values: readonly number[], random: Random): number[] {
  const all = [...values];
  for (let place = all.length - 1; place > 0; place--) {
    const other = below(place + 1, random);
    [all[place], all[other]] = [all[other] as number, all[place] as number];
  }
  return all;
}
