/**
 * Honest nodes under the check: tiles rendered by one Blender, random crops of them by another, started afresh. Within one
 * device class, and across two: the same CPU with and without AVX2.
 */
import { mkdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { RenderRuntime, RenderSession } from '../../platform/render/runtime.ts';
import { compareCrops } from '../../proof/compare.ts';
import { cropFor } from '../../proof/draw.ts';
import { crop, type PixelImage, readRawPixels } from '../../proof/pixels.ts';
import { type CompareThresholds, THRESHOLDS } from '../../proof/thresholds.ts';
import type { Rect } from '../../protocol/rect.ts';
import type { Row } from '../lib/report.ts';
import type { GalleryScene } from './gallery.ts';

/** One with AVX2 and one without, of the same Blender. */
export type Classes = { name: string; usual: RenderRuntime; other: RenderRuntime };
type Say = (line: string) => void;
export type HonestFigures = { crops: number; fails: number; unclear: number };

/** Where nobody says otherwise: few enough that a thousand crops take minutes, and the harder case, since it is noisier. */
const SAMPLES = 16;
const TILE_PX = 192;

/**
 * Without the noise ratio, which needs the reference rendered in two halves: what the pixel match alone says across
 * classes.
 */
const ACROSS: CompareThresholds = { ...THRESHOLDS.otherCpuClass, noiseRatioLimit: null };

/** Compares `count` crops of each scene within the class and across; adds two rows a scene. */
export async function honestCrops(
  { name, usual, other }: Classes,
  scene: GalleryScene,
  count: number,
  folder: string,
  rows: Row[],
  signal: AbortSignal,
  say: Say,
): Promise<{ same: HonestFigures; across: HonestFigures }> {
  const own = join(folder, `honest-${name}-${scene.name}`);
  await mkdir(own, { recursive: true });
  const options = { signal, threads: 2 };
  await using node = await usual.open(scene.folder, options);
  const { region, frameStart, frameEnd } = await node.inspect({ signal });
  const draws = drawCrops(region, frameStart, frameEnd, count);
  const measured = async (verifier: RenderSession, thresholds: CompareThresholds, what: string) => {
    say(`${name}, ${scene.name}: ${count} honest crops, ${what}`);
    const figures = { crops: 0, fails: 0, unclear: 0, lowest: 1, equal: 0 };
    let last: { key: string; pixels: PixelImage } | undefined;
    for (const { frame, tile, part } of draws) {
      const key = `${frame} ${tile.x} ${tile.y}`;
      // Several crops of each tile, one after the other.
      if (last?.key !== key) last = { key, pixels: await pixelsOf(node, frame, tile, own, signal) };
      const reference = await pixelsOf(verifier, frame, part, own, signal);
      const claim = crop(last.pixels, { ...part, x: part.x - tile.x, y: part.y - tile.y });
      const result = compareCrops(reference, claim, { thresholds });
      figures.crops += 1;
      if (result.decidedBy === 'digest') figures.equal += 1;
      if (result.outcome === 'fail') figures.fails += 1;
      if (result.outcome === 'inconclusive') figures.unclear += 1;
      figures.lowest = Math.min(figures.lowest, result.pixelMatchFraction ?? 0);
    }
    rows.push({
      engine: name,
      scene: scene.name,
      node: `honest, ${what}`,
      crops: String(figures.crops),
      'equal in every bit': String(figures.equal),
      'fewest pixels that match': figures.lowest.toFixed(5),
      'failed / not sure': `${figures.fails} / ${figures.unclear}`,
    });
    return figures;
  };
  await using again = await usual.open(scene.folder, options);
  const same = await measured(again, THRESHOLDS.sameClass, 'same class');
  await again.close();
  await using without = await other.open(scene.folder, options);
  const across = await measured(
    without,
    ACROSS,
    `${usual.engine.deviceClass} against ${other.engine.deviceClass}`,
  );
  await rm(own, { recursive: true, force: true });
  return { same, across };
}

/** Eight crops in each of tiles spread over the frames, all by a fixed rule, so that a second run compares the same ones. */
function drawCrops(region: Rect, first: number, last: number, count: number) {
  const width = Math.min(TILE_PX, region.width);
  const height = Math.min(TILE_PX, region.height);
  // Weyl sequences: evenly spread for any number of draws.
  const spread = (index: number, step: number, size: number): number =>
    Math.floor(((index * step) % 1) * (size + 1));
  return Array.from({ length: count }, (_, index) => {
    const turn = Math.floor(index / 8);
    const x = region.x + spread(turn, 0.618034, region.width - width);
    const y = region.y + spread(turn, 0.414214, region.height - height);
    const tile = { x, y, width, height };
    const size = cropFor(tile);
    const part = {
      x: x + spread(index, 0.754878, width - size.width),
      y: y + spread(index, 0.56984, height - size.height),
      ...size,
    };
    return { frame: first + (turn % (last - first + 1)), tile, part };
  });
}

async function pixelsOf(
  session: RenderSession,
  frame: number,
  rect: Rect,
  folder: string,
  signal: AbortSignal,
): Promise<PixelImage> {
  const output = join(folder, 'crop.exr');
  await session.render({ frame, rect, samples: SAMPLES, output }, { signal });
  const { rawPath } = await session.readPixels({ exr: output, output: `${output}.raw` }, { signal });
  return readRawPixels(await readFile(rawPath));
}
