/** One scene on all classes, and every pair of them compared. */
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { chooseEngine, isOlder } from '../../platform/render/choose-engine.ts';
import type { RenderRuntime, SceneInspection } from '../../platform/render/runtime.ts';
import { thresholdsFor } from '../../proof/thresholds.ts';
import { comparePair, type MeasuredCrop } from './compare-pair.ts';
import { limitsOrWidest, type Pair, pairsOf } from './pairs.ts';
import { type PlannedTile, planCrops } from './plan-crops.ts';
import { type CalibrationScene, type RenderedClass, renderClass } from './render-class.ts';

export type MeasureOptions = {
  /** Crops of the scene. */
  crops: number;
  /** In place of the scene's own number. */
  samples: number | undefined;
  /** An existing folder; what is written there for the scene is removed again. */
  folder: string;
  signal: AbortSignal;
  onNote: (note: string) => void;
  /** Hears about every crop that is rendered. */
  onCrop: (progress: { runtime: RenderRuntime; scene: string; done: number; total: number }) => void;
};

export type MeasuredPair = { pair: Pair<RenderRuntime>; measured: MeasuredCrop[] };
export type MeasuredScene = { name: string; samples: number; crops: number; pairs: MeasuredPair[] };

export async function measureScene(
  scene: CalibrationScene,
  runtimes: readonly RenderRuntime[],
  options: MeasureOptions,
): Promise<MeasuredScene> {
  const { signal, onNote } = options;
  const inspection = await inspect(scene, runtimes, signal);
  const plan = planCrops(inspection, options.crops);
  // Two halves of an odd number would not weigh the same.
  const samples = 2 * Math.ceil((options.samples ?? inspection.samples) / 2);
  const able = runtimes.filter(({ engine }) => {
    const { savedWith } = inspection;
    if (savedWith === undefined || !isOlder(engine, savedWith)) return true;
    onNote(`${scene.name}: saved by Blender ${savedWith.major}.${savedWith.minor}, ${engine.id} is older`);
    return false;
  });
  const own = await mkdtemp(join(options.folder, 'scene-'));
  try {
    const rendered = await renderAll(scene, able, { plan, samples, folder: own }, options);
    const pairs: MeasuredPair[] = [];
    for (const { claim, reference } of pairsOf(rendered)) {
      const pair = { claim: claim.runtime, reference: reference.runtime };
      const names = classesOf(pair);
      const limits = limitsOrWidest(thresholdsFor(names.claim, names.reference));
      pairs.push({ pair, measured: await comparePair({ claim, reference }, scene.name, plan, limits) });
    }
    const crops = plan.reduce((sum, tile) => sum + tile.crops.length, 0);
    return { name: scene.name, samples, crops, pairs };
  } finally {
    await rm(own, { recursive: true, force: true });
  }
}

/** By the newest engine, which can open what all others can. */
async function inspect(
  { folder }: CalibrationScene,
  runtimes: readonly RenderRuntime[],
  signal: AbortSignal,
): Promise<SceneInspection> {
  const engines = runtimes.map((runtime) => ({ ...runtime.engine, open: runtime }));
  const { open: newest } = chooseEngine(null, engines, 'auto');
  await using session = await newest.open(folder, { signal, threads: 1 });
  return await session.inspect({ signal });
}

type Rendered = RenderedClass & { runtime: RenderRuntime; version: string };

async function renderAll(
  scene: CalibrationScene,
  runtimes: readonly RenderRuntime[],
  { plan, samples, folder }: { plan: readonly PlannedTile[]; samples: number; folder: string },
  { signal, onCrop, onNote }: MeasureOptions,
): Promise<Rendered[]> {
  const rendered: Rendered[] = [];
  const perClass = 2 * plan.reduce((sum, tile) => sum + tile.crops.length, 0);
  for (const [index, runtime] of runtimes.entries()) {
    const own = join(folder, String(index));
    await mkdir(own, { recursive: true });
    let done = index * perClass;
    const total = runtimes.length * perClass;
    const files = await renderClass(runtime, {
      ...{ scene, plan, samples, folder: own, signal, onNote },
      onCrop: () => onCrop({ runtime, scene: scene.name, done: ++done, total }),
    });
    rendered.push({ ...files, runtime, version: runtime.engine.version });
  }
  return rendered;
}

/** The names of what two runtimes are. */
export function classesOf({ claim, reference }: Pair<RenderRuntime>): Pair {
  const nameOf = ({ engine: { id, version, deviceClass } }: RenderRuntime) => ({
    ...{ engine: id, version, deviceClass },
  });
  return { claim: nameOf(claim), reference: nameOf(reference) };
}
