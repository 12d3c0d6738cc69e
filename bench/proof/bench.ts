/**
 * What the proof catches: every cheat of test/adversaries on three scenes and every engine of this machine, beside what a
 * farm that trusts a perceptual hash would have paid; and the formulas of the checking policy against drawn batches.
 */
import { cp, mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { digestFile } from '../../platform/blobs/digest-file.ts';
import { packageRoot } from '../../platform/package-root.ts';
import { connectDocker } from '../../platform/render/docker/connect.ts';
import { createDockerRuntime } from '../../platform/render/docker/runtime.ts';
import { findEngines } from '../../platform/render/engines.ts';
import { listImages } from '../../platform/render/images/list.ts';
import { createProcessRuntime } from '../../platform/render/process/runtime.ts';
import type { RenderRuntime } from '../../platform/render/runtime.ts';
import { FarmError } from '../../protocol/errors.ts';
import type { SceneManifest } from '../../protocol/job.ts';
import { type Goal, goal, type Report, type Row, thisMachine } from '../lib/report.ts';
import { measuredEngines } from '../render/engines.ts';
import { type CostFigures, comparisonCost, verificationCost } from './cost.ts';
import { type GalleryScene, gallery } from './gallery.ts';
import { type Classes, honestCrops } from './honest.ts';
import { BATCHES, monteCarlo } from './monte-carlo.ts';

/** Half within one class, half across two. */
const HONEST_CROPS = 1_000;
/** What the collector has not got to yet: a few of the images that a comparison makes on its way. */
const MAX_GROWN_MIB = 64;
const SCENES = ['turntable', 'still', 'project'] as const;

type Say = (line: string) => void;

export async function run(
  signal: AbortSignal,
  say: Say,
  { runtime, only }: { runtime?: string | undefined; only?: string | undefined } = {},
): Promise<Report> {
  const wanted = wantedParts(only);
  // Where a container sees it too.
  const folder = await mkdtemp(join(tmpdir(), 'tessera-bench-'));
  const rows: Row[] = [];
  const [costRows, honestRows, formulaRows]: [Row[], Row[], Row[]] = [[], [], []];
  try {
    const engines = await findEngines({ signal, choice: 'auto', tempFolder: folder, onNote: say });
    const totals = { cheats: 0, caught: 0, draws: 0, drawsCaught: 0, hashWouldPay: 0, honestFails: 0 };
    const scenes: GalleryScene[] = [];
    for (const name of SCENES) scenes.push(await sceneOf(name, folder));
    for (const scene of scenes) {
      for (const engine of engines) {
        if (!wanted.has('gallery') || (runtime !== undefined && engine.engine.runtime !== runtime)) continue;
        const figures = await gallery(engine, scene, folder, rows, signal, say);
        for (const key of Object.keys(totals) as (keyof typeof totals)[]) totals[key] += figures[key];
      }
    }
    const cost: CostFigures = { warmShare: 0, loadedShare: 0 };
    const still = scenes.find(({ name }) => name === 'still');
    for (const engine of engines) {
      if (
        !wanted.has('cost') ||
        still === undefined ||
        (runtime !== undefined && engine.engine.runtime !== runtime)
      )
        continue;
      const { warmShare, loadedShare } = await verificationCost(engine, still, folder, costRows, signal, say);
      // The worst of the engines is what counts.
      cost.warmShare = Math.max(cost.warmShare, warmShare);
      cost.loadedShare = Math.max(cost.loadedShare, loadedShare);
    }
    const comparison = wanted.has('cost') ? comparisonCost(costRows) : null;
    const same = { crops: 0, fails: 0, unclear: 0 };
    const across = { ...same };
    const pairs = (await classesOf(folder, signal, say)).filter(
      ({ usual }) => wanted.has('honest') && (runtime === undefined || usual.engine.runtime === runtime),
    );
    for (const classes of pairs) {
      for (const scene of scenes) {
        const count = Math.ceil(HONEST_CROPS / 2 / pairs.length / scenes.length);
        const found = await honestCrops(classes, scene, count, folder, honestRows, signal, say);
        for (const key of Object.keys(same) as (keyof typeof same)[]) {
          same[key] += found.same[key];
          across[key] += found.across[key];
        }
      }
    }
    const { draws, drawsCaught, hashWouldPay } = totals;
    if (wanted.has('gallery')) {
      rows.push({
        node: 'all that deliver false tiles',
        caught: `${drawsCaught} of ${draws}`,
        'a hash alone pays': `${hashWouldPay} of ${draws}`,
      });
    }
    if (wanted.has('formulas')) say('drawing batches');
    const worst = wanted.has('formulas') ? monteCarlo(formulaRows) : null;
    const goals: Goal[] = [];
    if (wanted.has('gallery')) goals.push(goal('cheatsNotCaught', totals.cheats - totals.caught, 0, 'lower'));
    if (wanted.has('gallery') || wanted.has('honest'))
      goals.push(goal('honestCropsFailed', totals.honestFails + same.fails + across.fails, 0, 'lower'));
    if (wanted.has('honest'))
      goals.push(
        goal('honestCropsNotClearPercent', (100 * same.unclear) / Math.max(1, same.crops), 1, 'lower'),
      );
    if (worst !== null) goals.push(goal('formulasAgree', worst, 1, 'lower'));
    if (comparison !== null)
      goals.push(
        goal('checkingShareWarmPercent', 100 * cost.warmShare, 1, 'lower'),
        goal('checkingShareWithLoadPercent', 100 * cost.loadedShare, 2, 'lower'),
        goal('comparisonMs', comparison.medianMs, 60, 'lower'),
        goal('comparisonGrownMiB', comparison.grownMiB, MAX_GROWN_MIB, 'lower'),
      );
    const more = [
      { title: 'what checking costs', rows: costRows },
      { title: 'honest crops, claimed by one session and checked by another', rows: honestRows },
      { title: `the formulas, and ${BATCHES} drawn batches of 64 tiles`, rows: formulaRows },
    ];
    return { bench: 'proof', machine: thisMachine(), goals, rows, more };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

const PARTS = ['gallery', 'cost', 'honest', 'formulas'] as const;
type Part = (typeof PARTS)[number];

/** All, or those named between commas. Throws USAGE for one that there is not. */
function wantedParts(only: string | undefined): ReadonlySet<Part> {
  if (only === undefined) return new Set(PARTS);
  return new Set(
    only.split(',').map((name) => {
      const part = PARTS.find((one) => one === name);
      if (part === undefined) throw new FarmError('USAGE', `there is no part ${name}: ${PARTS.join(', ')}`);
      return part;
    }),
  );
}

/** Every Blender of this machine on its CPU, with AVX2 and without. */
async function classesOf(folder: string, signal: AbortSignal, say: Say): Promise<Classes[]> {
  const classes: Classes[] = [];
  for (const { runtime, name } of await measuredEngines(folder, signal, say)) {
    const make = async (withoutAvx2: boolean): Promise<RenderRuntime> => {
      if (runtime !== 'docker') {
        const blenderPath = process.env['TESSERA_BLENDER'];
        return await createProcessRuntime({ signal, blenderPath, tempFolder: folder, withoutAvx2 });
      }
      const docker = await connectDocker({ signal });
      const image = (await listImages(docker, signal)).find(({ gpu }) => gpu.length === 0);
      if (image === undefined) throw new FarmError('ENGINE_NOT_FOUND', 'the engine image is gone');
      return await createDockerRuntime({ docker, image, owner: folder, tempFolder: folder, withoutAvx2 });
    };
    classes.push({ name, usual: await make(false), other: await make(true) });
  }
  return classes;
}

async function sceneOf(name: (typeof SCENES)[number], folder: string): Promise<GalleryScene> {
  const root = join(folder, name);
  await cp(join(packageRoot(), 'samples', name), root, { recursive: true });
  const main = `${name}.blend`;
  const files: SceneManifest['files'] = [];
  for (const entry of await readdir(root, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const path = join(entry.parentPath, entry.name);
    files.push({ path: path.slice(root.length + 1), ...(await digestFile(path)) });
  }
  return { name, folder: { root, main }, manifest: { main, files } };
}
