/** Progress of a render, read from what Cycles prints. It is for people to look at; nothing is decided by it. */
import type { RenderProgress } from '../runtime.ts';

/** Five a second is as fast as anybody reads a progress bar. */
const INTERVAL_MS = 200;
/** A note is for one line of a terminal. */
const MAX_NOTE = 120;

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
    const sample = /\| Sample (\d+)\/(\d+)/.exec(line);
    const part = sample === null ? 0 : Number(sample[1]) / Math.max(1, Number(sample[2]));
    const layer = viewLayers.findLastIndex((name) => line.includes(`, ${name} |`));
    const overall = (Math.max(0, layer) + part) / Math.max(1, viewLayers.length);
    fraction = Math.min(1, Math.max(fraction, overall));
    const note = line.slice(line.lastIndexOf('|') + 1).trim();
    report({ fraction, note: note.slice(0, MAX_NOTE) });
  };
}
