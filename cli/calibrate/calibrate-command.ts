/** `tessera calibrate`: how far apart honest renders of this machine's device classes are, and what limits follow. */
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { availableParallelism, cpus, tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { diskError, writeFileAtomic } from '../../platform/files.ts';
import { toJson } from '../../platform/json.ts';
import { drawStripChart } from '../../platform/looks/strip-chart.ts';
import type { RenderRuntime } from '../../platform/render/runtime.ts';
import { FarmError } from '../../protocol/errors.ts';
import { ProgressLine } from '../progress-line.ts';
import { parseSamples } from '../render/parse-options.ts';
import type { Terminal } from '../terminal.ts';
import { calibrationLines } from './calibrate-table.ts';
import { calibrationChart } from './calibration-chart.ts';
import { calibrationScenes } from './calibration-scenes.ts';
import { findClasses } from './device-classes.ts';
import { classesOf, type MeasuredPair, type MeasuredScene, measureScene } from './measure-scene.ts';
import { pairsOf } from './pairs.ts';
import { DERIVATION } from './propose.ts';
import { type Calibration, reportPair } from './report.ts';

export type CalibrateOptions = {
  crops: string;
  samples?: string;
  engine?: string;
  out: string;
  json?: boolean;
};

/** Like other small files: whoever may read the folder may look at it. */
const FILE_MODE = 0o644;

/** Writes calibration.json and calibration.png into the folder, and prints the table or, with `json`, the object. */
export async function calibrateCommand(
  paths: readonly string[],
  options: CalibrateOptions,
  terminal: Terminal,
): Promise<void> {
  const samples = options.samples === undefined ? undefined : parseHalves(options.samples);
  const out = resolve(options.out);
  const files = { table: join(out, 'calibration.json'), plot: join(out, 'calibration.png') };
  await mkdir(out, { recursive: true }).catch((error: unknown) => {
    throw diskError(error, out);
  });
  const folder = await mkdtemp(join(tmpdir(), 'tessera-calibrate-'));
  const progress = new ProgressLine(terminal.err, terminal.now);
  try {
    const scenes = await calibrationScenes(paths);
    const runtimes = await findClasses(options.engine, folder, terminal);
    terminal.say(
      `${scenes.length} scene(s) on ${runtimes.map(nameOf).join(', ')}: ${pairsOf(runtimes.map(({ engine }) => engine)).length} pairs`,
    );
    const measured: MeasuredScene[] = [];
    for (const scene of scenes) {
      const found = await measureScene(scene, runtimes, {
        ...{ crops: Number(options.crops), samples, folder, signal: terminal.signal },
        onNote: (note) => {
          progress.clear();
          terminal.say(note);
        },
        onCrop: ({ runtime, done, total }) =>
          progress.show(`${scene.name}: ${done} of ${total} crops, ${nameOf(runtime)}`),
      });
      measured.push(found);
    }
    progress.clear();
    const calibration = calibrationOf(measured, runtimes, terminal.now());
    // Indented, since it is kept and compared with earlier ones.
    await writeFileAtomic(files.table, `${JSON.stringify(calibration, null, 2)}\n`, FILE_MODE);
    await drawStripChart(calibrationChart(calibration), files.plot);
    if (options.json) return terminal.result(toJson({ ...calibration, files }));
    for (const line of calibrationLines(calibration)) terminal.result(line);
    for (const path of Object.values(files)) terminal.result(`wrote ${path}`);
  } finally {
    progress.clear();
    await rm(folder, { recursive: true, force: true });
  }
}

function parseHalves(text: string): number {
  const samples = parseSamples(text);
  if (samples % 2 === 0) return samples;
  throw new FarmError(
    'SAMPLES_INVALID',
    `${samples} samples have no two equal halves: it takes an even number`,
  );
}

function nameOf({ engine: { id, deviceClass } }: RenderRuntime): string {
  return `${id} ${deviceClass}`;
}

/** The crops of all scenes of a pair together, pairs in the order of the classes. */
function calibrationOf(
  measured: readonly MeasuredScene[],
  runtimes: readonly RenderRuntime[],
  nowMs: number,
): Calibration {
  const all = measured.flatMap(({ pairs }) => pairs);
  const of = (one: MeasuredPair['pair']) =>
    all.filter(({ pair }) => pair.claim === one.claim && pair.reference === one.reference);
  const candidates = runtimes.map((runtime) => ({ runtime, version: runtime.engine.version }));
  const pairs = pairsOf(candidates).map(({ claim, reference }) => {
    const pair = { claim: claim.runtime, reference: reference.runtime };
    return reportPair(
      classesOf(pair),
      of(pair).flatMap((found) => found.measured),
    );
  });
  return {
    version: 1,
    at: new Date(nowMs).toISOString(),
    machine: { cpu: cpus()[0]?.model ?? 'unknown', cores: availableParallelism() },
    scenes: measured.map(({ name, samples, crops }) => ({ name, samples, crops })),
    classes: runtimes.map((runtime) => classesOf({ claim: runtime, reference: runtime }).claim),
    derivation: DERIVATION,
    // A pair of which no scene was rendered says nothing.
    pairs: pairs.filter(({ crops }) => crops > 0),
  };
}
