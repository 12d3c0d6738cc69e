/**
 * What a farm costs beside bare Blender on the same machine: an animation of short frames, a scene in which handing
 * the scene to Cycles dominates, a still in 8x8 tiles. One node with all cores; the verifier runs beside it at the
 * lowest priority, as `tessera up` starts it; the farm has done one other, small job before and has rested for
 * {@link REST_MS}. Each farm run follows its bare run at once, {@link RUNS} times. All of it with the local Blender as a process, then with the engine image in
 * containers; a goal is met when both meet it.
 */
import { copyFile, cp, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startFarm } from '../../cli/farm/start-farm.ts';
import { tileRects } from '../../coordinator/splitting/tile-grid.ts';
import { packageRoot } from '../../platform/package-root.ts';
import { pause } from '../../platform/wait.ts';
import { FarmError } from '../../protocol/errors.ts';
import { differingValues } from '../lib/differing.ts';
import { type Report, type Row, thisMachine } from '../lib/report.ts';
import { processPerFrame, processPerTile, runBlender, wholeAnimation } from './baselines.ts';
import { type MeasuredEngine, measuredEngines } from './engines.ts';
import { farmRun } from './farm-run.ts';
import { delivered, type Figures, goalsOf, type Pair, ratio, row } from './figures.ts';

/** Between two jobs; a farm that is never idle starts its next renderer after a minute (platform/render/spares.ts). */
const REST_MS = 6_000;
/** Of each pair unless --runs says otherwise; the median of their ratios is what counts. */
const RUNS = 3;
const STILL = { width: 960, height: 540 };
const GRID = { columns: 8, rows: 8 };

type Say = (line: string) => void;

/** `runtime` leaves the others out; `runs` is how often each pair is measured. */
export async function run(
  signal: AbortSignal,
  say: Say,
  { runtime, runs = RUNS }: { runtime?: string | undefined; runs?: number | undefined } = {},
): Promise<Report> {
  const folder = await mkdtemp(join(tmpdir(), 'tessera-bench-'));
  try {
    const found = await measuredEngines(folder, signal, say);
    const engines = found.filter((engine) => runtime === undefined || engine.runtime === runtime);
    const [first] = engines;
    if (first === undefined) throw new FarmError('BLENDER_NOT_FOUND', 'there is no Blender to measure');
    say('making the scenes');
    // Inside the folder, where a container sees them too.
    const samples = join(folder, 'samples');
    for (const name of ['still', 'turntable'])
      await cp(join(packageRoot(), 'samples', name), join(samples, name), { recursive: true });
    const script = join(folder, 'make_scenes.py');
    await copyFile(join(packageRoot(), 'bench/render/make_scenes.py'), script);
    await runBlender(
      first.bare,
      ['-b', '--factory-startup', '--python', script, '--', samples, folder],
      signal,
    );
    await copyFile(join(samples, 'still/still.blend'), join(folder, 'still.blend'));
    const rows: Row[] = [];
    const measured: Figures[] = [];
    for (const engine of engines) measured.push(await measure(engine, folder, rows, runs, signal, say));
    return { bench: 'render', machine: thisMachine(), goals: goalsOf(measured), rows };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function measure(
  { name: runtime, runtime: choice, bare: engine }: MeasuredEngine,
  folder: string,
  rows: Row[],
  runs: number,
  signal: AbortSignal,
  say: Say,
): Promise<Figures> {
  const out = join(folder, `bare-${choice}`);
  const pairs = async (
    scene: string,
    bare: () => Promise<number>,
    tiles: { columns: number; rows: number },
  ): Promise<Pair[]> => {
    const measured: Pair[] = [];
    for (let round = 0; round < runs; round++) {
      say(`${runtime}: ${scene}, bare Blender, then the farm (${round + 1} of ${runs})`);
      const bareSeconds = await bare();
      // A farm of its own each time: a session left over from the round before would be a head start.
      await using farm = await startFarm({
        dataFolder: join(folder, `farm-${choice}-${scene}-${round}`),
        nodes: [{ id: 'node-1' }],
        httpPort: 0,
        runtime: choice,
        blenderPath: choice === 'process' ? process.env['TESSERA_BLENDER'] : undefined,
        logLevel: 'warn',
        canaryShare: 0,
        signal,
        onNote: say,
      });
      // A farm runs for days and bare Blender for one job: both are measured as they are used. Neither its scene nor its
      // session is of use to the job that counts.
      await farmRun(farm, join(folder, 'warm-up.blend'), {}, join(folder, 'farm'), signal);
      await pause(REST_MS, signal);
      const path = join(folder, `${scene}.blend`);
      const run = await farmRun(farm, path, { tiles }, join(folder, 'farm'), signal);
      // At once: a run that is stopped half-way has still said something.
      say(`  bare ${bareSeconds.toFixed(2)} s, farm ${run.deliveredSeconds.toFixed(2)} s`);
      measured.push({ bareSeconds, run });
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
  say(`  ${perFrame.toFixed(2)} s`);
  const heavy = await pairs('heavy-sync', animated('heavy-sync'), whole);
  const still = await pairs(
    'still',
    () => wholeAnimation(engine, scene('still'), `${out}-still`, signal),
    GRID,
  );
  say(`${runtime}: still, one Blender per tile`);
  const rects = tileRects({ x: 0, y: 0, ...STILL }, GRID);
  const perTile = await processPerTile(engine, scene('still'), STILL, rects, `${out}-tile`, signal);

  say(`  ${perTile.toFixed(2)} s`);
  let differing = 0;
  for (const [name, measured] of Object.entries({ animation, 'heavy-sync': heavy, still })) {
    for (const { frame, picture } of measured.at(-1)?.run.files ?? [])
      differing += (await differingValues(picture, `${out}-${name}_${String(frame).padStart(4, '0')}.png`))
        .differing;
  }
  rows.push(
    row(runtime, `animation, ${frames.length} frames`, animation, { 'one Blender each s': perFrame }),
    row(runtime, 'heavy synchronisation, 24 frames', heavy, {}),
    row(runtime, 'still 960x540, 8x8 tiles', still, { 'one Blender each s': perTile }),
  );
  return {
    animationVsBlender: ratio(animation),
    animationVsProcessPerFrame: perFrame / delivered(animation),
    heavySyncVsBlender: ratio(heavy),
    tilesVsBlender: ratio(still),
    tilesVsProcessPerTile: perTile / delivered(still),
    differingValues: differing,
  };
}
