/** Progress of a render, read from what Cycles prints. It is for people to look at; nothing is decided by it. */
import type { RenderProgress } from '../runtime.ts';

/** Five a second is as fast as anybody reads a progress bar. */
const INTERVAL_MS = 200;
/** A note is for one line of a terminal. */
const MAX_NOTE = 120;

const MIB = 1024 ** 2;

/** `00:03.10` or `01:00:03`, in milliseconds; undefined where it is neither. */
function clockMs(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const seconds = text.split(':').reduce((sum, part) => sum * 60 + Number(part), 0);
  return Number.isFinite(seconds) ? Math.round(seconds * 1000) : undefined;
}

/** What Blender and Cycles, which count separately, say they hold. */
function memoryBytes(line: string): number | undefined {
  const amounts = [...line.matchAll(/(?:^|[ |])Mem:(\d+(?:\.\d+)?)M/g)].map((match) => Number(match[1]));
  const sum = amounts.reduce((total, amount) => total + amount, 0);
  return amounts.length > 0 && Number.isFinite(sum) ? Math.round(sum * MIB) : undefined;
}

/** The part of the progress that one line tells by itself. */
function details(line: string, sample: RegExpExecArray | null): Partial<RenderProgress> {
  const remainingMs = clockMs(/\| Remaining:([\d:.]+)/.exec(line)?.[1]);
  const memory = memoryBytes(line);
  return {
    ...(sample !== null && { samples: { done: Number(sample[1]), of: Number(sample[2]) } }),
    ...(remainingMs !== undefined && { remainingMs }),
    ...(memory !== undefined && { memoryBytes: memory }),
  };
}

/**
 * Turns Blender's lines (`… | Scene, ViewLayer | Sample 16/64`) into progress that never goes back. View layers are
 * rendered one after another, each with all samples.
 */
export function sampleProgress(
  viewLayers: readonly string[],
  report: (progress: RenderProgress) => void,
  now: () => number = () => performance.now(),
): (line: string) => void {
  let fraction = 0;
  let last = Number.NEGATIVE_INFINITY;
  return (line) => {
    if (!line.startsWith('Fra:') || now() - last < INTERVAL_MS) return;
    last = now();
    const sample = /\| Sample (\d{1,9})\/(\d{1,9})/.exec(line);
    const part = sample === null ? 0 : Number(sample[1]) / Math.max(1, Number(sample[2]));
    const layer = viewLayers.findLastIndex((name) => line.includes(`, ${name} |`));
    const overall = (Math.max(0, layer) + part) / Math.max(1, viewLayers.length);
    fraction = Math.min(1, Math.max(fraction, overall));
    const note = line.slice(line.lastIndexOf('|') + 1).trim();
    report({ fraction, note: note.slice(0, MAX_NOTE), ...details(line, sample) });
  };
}
