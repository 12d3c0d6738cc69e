/** From measured seconds to a table's rows and the benchmark's goals. */
import { goal, type Report, type Row } from '../lib/report.ts';
import type { FarmRun } from './farm-run.ts';

export type Pair = { bareSeconds: number; run: FarmRun };

/** What the README promises. The first five are ratios: the farm's wall time over bare Blender's, or the other way round. */
const GOALS = {
  animationVsBlender: { limit: 1.1, better: 'lower' },
  animationVsProcessPerFrame: { limit: 1.8, better: 'higher' },
  heavySyncVsBlender: { limit: 0.85, better: 'lower' },
  tilesVsBlender: { limit: 1.2, better: 'lower' },
  tilesVsProcessPerTile: { limit: 4, better: 'higher' },
  differingValues: { limit: 0, better: 'lower' },
} as const;

/** Of one runtime, by goal. */
export type Figures = Record<keyof typeof GOALS, number>;

/** The worst of the runtimes is what counts. */
export function goalsOf(measured: readonly Figures[]): Report['goals'] {
  return (Object.keys(GOALS) as (keyof typeof GOALS)[]).map((name) => {
    const { limit, better } = GOALS[name];
    const values = measured.map((figures) => figures[name]);
    return goal(name, better === 'lower' ? Math.max(...values) : Math.min(...values), limit, better);
  });
}

export function row(runtime: string, scene: string, pairs: readonly Pair[], more: Row): Row {
  return {
    runtime,
    scene,
    'bare Blender s': mean(pairs.map((pair) => pair.bareSeconds)),
    'farm s': delivered(pairs),
    'farm / bare': ratio(pairs),
    'of each pair': pairs.map((pair) => ratioOf(pair).toFixed(2)).join(' '),
    'with checks s': mean(pairs.map((pair) => pair.run.settledSeconds)),
    ...more,
  };
}

export function delivered(pairs: readonly Pair[]): number {
  return mean(pairs.map((pair) => pair.run.deliveredSeconds));
}

/** The median: a machine that others use too is slower for one run in a while, and faster for another. */
export function ratio(pairs: readonly Pair[]): number {
  const sorted = pairs.map(ratioOf).sort((a, b) => a - b);
  const [low, high] = [sorted[Math.ceil(sorted.length / 2) - 1], sorted[Math.floor(sorted.length / 2)]];
  return ((low ?? Number.NaN) + (high ?? Number.NaN)) / 2;
}

function ratioOf({ bareSeconds, run }: Pair): number {
  return run.deliveredSeconds / bareSeconds;
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
