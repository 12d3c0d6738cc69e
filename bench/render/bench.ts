/**
 * What a farm costs beside bare Blender on the same machine: an animation of short frames, a scene in which handing
 * the scene to Cycles dominates, a still in 8x8 tiles. One node with all cores; the verifier runs beside it at the
 * lowest priority, as `tessera up` starts it. Each farm run follows its bare run at once, {@link RUNS} times.
 */
import { copyFile, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startFarm } from '../../cli/farm/start-farm.ts';
import { tileRects } from '../../coordinator/splitting/tile-grid.ts';
import { packageRoot } from '../../platform/package-root.ts';
import { findBlender } from '../../platform/render/process/programs.ts';
import { differingValues } from '../lib/differing.ts';
import { type Goal, goal, type Report, type Row, thisMachine } from '../lib/report.ts';
import { type Engine, processPerFrame, processPerTile, runBlender, wholeAnimation } from './baselines.ts';
import { type FarmRun, farmRun } from './farm-run.ts';

/** Of each pair; the mean of their ratios is what counts. */
const RUNS = 2;
const STILL = { width: 960, height: 540 };
const GRID = { columns: 8, rows: 8 };

type Say = (line: string) => void;
type Pair = { bareSeconds: number; run: FarmRun };

export async function run(signal: AbortSignal, say: Say): Promise<Report> {
  const folder = await mkdtemp(join(tmpdir(), 'tessera-bench-'));
  try {
    const blender = await findBlender(process.env['TESSERA_BLENDER'], undefined, signal);
    const engine: Engine = {
      command: (parameters) => ({ program: blender.path, parameters: [...parameters] }),
    };
    say('making the scenes');
    const script = join(packageRoot(), 'bench/render/make_scenes.py');
    const samples = join(packageRoot(), 'samples');
    await runBlender(engine, ['-b', '--factory-startup', '--python', script, '--', samples, folder], signal);
    await copyFile(join(samples, 'still/still.blend'), join(folder, 'still.blend'));
    const rows: Row[] = [];
    const goals: Goal[] = [];
    await measure(engine, `process, Blender ${blender.version}`, folder, { rows, goals }, signal, say);
    return { bench: 'render', machine: thisMachine(), goals, rows };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function measure(
  engine: Engine,
  runtime: string,
  folder: string,
  { rows, goals }: { rows: Row[]; goals: Goal[] },
  signal: AbortSignal,
  say: Say,
): Promise<void> {
  const out = join(folder, 'bare');
  const pairs = async (
    scene: string,
    bare: () => Promise<number>,
    tiles: { columns: number; rows: number },
  ): Promise<Pair[]> => {
    const measured: Pair[] = [];
    for (let round = 0; round < RUNS; round++) {
      say(`${runtime}: ${scene}, bare Blender, then the farm (${round + 1} of ${RUNS})`);
      const bareSeconds = await bare();
      // A farm of its own each time: a session left over from the round before would be a head start.
      await using farm = await startFarm({
        dataFolder: join(folder, `farm-${scene}-${round}`),
        nodes: [{ id: 'node-1' }],
        httpPort: 0,
        blenderPath: process.env['TESSERA_BLENDER'],
        logLevel: 'warn',
        signal,
        onNote: say,
      });
      const path = join(folder, `${scene}.blend`);
      measured.push({ bareSeconds, run: await farmRun(farm, path, { tiles }, join(folder, 'farm'), signal) });
    }
    return measured;
  };
  const whole = { columns: 1, rows: 1 };
  const scene = (name: string): string => join(folder, `${name}.blend`);
  const animated = (name: string) => () => wholeAnimation(engine, scene(name), `${out}-${name}`, signal);

  const animation = await pairs('animation', animated('animation'), whole);
  const frames = animation[0]?.run.files.map((file) => file.frame) ?? [];
  say(`${runtime}: animation, one Blender per frame`);
  const perFrame = await processPerFrame(engine, scene('animation'), frames, `${out}-single`, signal);
  const heavy = await pairs('heavy-sync', animated('heavy-sync'), whole);
  const still = await pairs(
    'still',
    () => wholeAnimation(engine, scene('still'), `${out}-still`, signal),
    GRID,
  );
  say(`${runtime}: still, one Blender per tile`);
  const rects = tileRects({ x: 0, y: 0, ...STILL }, GRID);
  const perTile = await processPerTile(engine, scene('still'), STILL, rects, `${out}-tile`, signal);

  goals.push(
    goal('animationVsBlender', ratio(animation), 1.1, 'lower'),
    goal('animationVsProcessPerFrame', perFrame / delivered(animation), 1.8, 'higher'),
    goal('heavySyncVsBlender', ratio(heavy), 0.85, 'lower'),
    goal('tilesVsBlender', ratio(still), 1.2, 'lower'),
    goal('tilesVsProcessPerTile', perTile / delivered(still), 4, 'higher'),
  );
  let differing = 0;
  for (const [name, measured] of Object.entries({ animation, 'heavy-sync': heavy, still })) {
    for (const { frame, picture } of measured.at(-1)?.run.files ?? [])
      differing += (await differingValues(picture, `${out}-${name}_${String(frame).padStart(4, '0')}.png`))
        .differing;
  }
  goals.push(goal('differingValues', differing, 0, 'lower'));
  rows.push(
    row(runtime, `animation, ${frames.length} frames`, animation, { 'one Blender each s': perFrame }),
    row(runtime, 'heavy synchronisation, 24 frames', heavy, {}),
    row(runtime, 'still 960x540, 8x8 tiles', still, { 'one Blender each s': perTile }),
  );
}

function row(runtime: string, scene: string, pairs: readonly Pair[], more: Row): Row {
  return {
    runtime,
    scene,
    'bare Blender s': mean(pairs.map((pair) => pair.bareSeconds)),
    'farm s': delivered(pairs),
    'farm / bare': ratio(pairs),
    'with checks s': mean(pairs.map((pair) => pair.run.settledSeconds)),
    ...more,
  };
}

function delivered(pairs: readonly Pair[]): number {
  return mean(pairs.map((pair) => pair.run.deliveredSeconds));
}

function ratio(pairs: readonly Pair[]): number {
  return mean(pairs.map((pair) => pair.run.deliveredSeconds / pair.bareSeconds));
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
