/**
 * What checking costs: the verifier's time for a batch of 64 tiles, as a share of what rendering them took, with a session
 * that has the scene and with one that has to load it; and one comparison of a 1920x1080 crop.
 */
import { join } from 'node:path';
import { tileRects } from '../../coordinator/splitting/tile-grid.ts';
import type { RenderRuntime } from '../../platform/render/runtime.ts';
import { compareCrops } from '../../proof/compare.ts';
import { imageFromPlanes, type PixelImage } from '../../proof/pixels.ts';
import type { Row } from '../lib/report.ts';
import type { GalleryScene } from './gallery.ts';
import { type Draw, playBatch } from './play-batch.ts';

/** As somebody orders a finished picture; a sample scene's own 16 are for looking at, and leave the fixed costs only. */
const FINAL_SAMPLES = 256;
const GRID = { columns: 8, rows: 8 };
const THREADS = 2;
const COMPARED = { width: 1_920, height: 1_080 };
/** The first ones are compiled while they run. */
const WARM_UP = 5;
const COMPARISONS = 30;

export type CostFigures = { warmShare: number; loadedShare: number };

/** All 64 tiles by a node, then the verifier's part, both on the machine's two cores and nothing beside them. */
export async function verificationCost(
  runtime: RenderRuntime,
  scene: GalleryScene,
  folder: string,
  rows: Row[],
  signal: AbortSignal,
  say: (line: string) => void,
): Promise<CostFigures> {
  say(`${runtime.engine.id}, ${scene.name}: what checking 64 tiles costs`);
  const options = { signal, threads: THREADS };
  await using node = await runtime.open(scene.folder, options);
  const { region, frameCurrent } = await node.inspect({ signal });
  const samples = FINAL_SAMPLES;
  const play = async (name: string) => {
    const openedMs = performance.now();
    await using verifier = await runtime.open(scene.folder, options);
    const loadMs = performance.now() - openedMs;
    const played = await playBatch({
      ...{ engine: runtime.engine, manifest: scene.manifest, frame: frameCurrent, samples },
      ...{ tiles: tileRects(region, GRID), node, verifier, signal },
      folder: join(folder, `cost-${runtime.engine.id}-${name}`),
      // The first batch of a session pays for handing the scene to Cycles, too; the second is the warm one.
      draws: 2,
    });
    return { ...played, loadMs };
  };
  const { draws, nodeMs, loadMs } = await play('batch');
  const [cold, warm] = draws as [Draw, Draw];
  const warmShare = warm.verifierMs / nodeMs;
  const loadedShare = (loadMs + cold.verifierMs) / nodeMs;
  rows.push({
    engine: runtime.engine.id,
    scene: `${scene.name}, ${region.width}x${region.height}, ${samples} samples, 8x8 tiles`,
    node: 'honest, cost of checking',
    caught: draws.map(({ outcome }) => outcome).join(', '),
    'rendered s': nodeMs / 1_000,
    'checked, warm s': warm.verifierMs / 1_000,
    'checked with scene load s': (loadMs + cold.verifierMs) / 1_000,
    'share, warm %': 100 * warmShare,
    'share with load %': 100 * loadedShare,
  });
  return { warmShare, loadedShare };
}

/** Median milliseconds of comparing two crops that differ everywhere a little, and what memory grew by meanwhile. */
export function comparisonCost(rows: Row[]): { medianMs: number; grownMiB: number } {
  const reference = noise(1);
  const claim = noise(1.0002);
  const times: number[] = [];
  const processorTimes: number[] = [];
  let before = 0;
  for (let round = 0; round < WARM_UP + COMPARISONS; round++) {
    if (round === WARM_UP) before = process.memoryUsage().rss;
    const startedMs = performance.now();
    const started = process.cpuUsage();
    const { outcome } = compareCrops(reference, claim);
    const { user, system } = process.cpuUsage(started);
    if (outcome !== 'pass') throw new Error(`two crops within the tolerance gave ${outcome}`);
    if (round < WARM_UP) continue;
    times.push(performance.now() - startedMs);
    processorTimes.push((user + system) / 1_000);
  }
  const medianMs = medianOf(times);
  const grownMiB = (process.memoryUsage().rss - before) / 1024 ** 2;
  rows.push({
    node: `comparing ${COMPARED.width}x${COMPARED.height} RGBA`,
    'one comparison ms': medianMs,
    // Where this is much less, other programs had the processor, and the figure above is theirs.
    'of these on the processor ms': medianOf(processorTimes),
    [`grown by MiB over ${COMPARISONS}`]: grownMiB,
  });
  return { medianMs, grownMiB };
}

function medianOf(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] as number;
}

function noise(brightness: number): PixelImage {
  const size = COMPARED.width * COMPARED.height;
  const channel = (step: number): Float32Array =>
    Float32Array.from({ length: size }, (_, index) => brightness * (0.05 + ((index * step) % 1)));
  const planes = { A: channel(0.618034), B: channel(0.414214), G: channel(0.754878), R: channel(0.56984) };
  const named = Object.entries(planes).map(([name, values]) => [`ViewLayer.Combined.${name}`, values]);
  return imageFromPlanes(COMPARED.width, COMPARED.height, Object.fromEntries(named));
}
