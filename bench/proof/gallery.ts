/** Every cheat against the check: the numbers of each step, the step that caught it, and what a perceptual hash would pay. */
import { join } from 'node:path';
import { tileRects } from '../../coordinator/splitting/tile-grid.ts';
import type { RenderRuntime, SceneFolder } from '../../platform/render/runtime.ts';
import type { Digest } from '../../protocol/ids.ts';
import type { SceneManifest } from '../../protocol/job.ts';
import type { Rect } from '../../protocol/rect.ts';
import type { Comparison } from '../../protocol/verdict.ts';
import { cheatingRuntime } from '../../test/adversaries/cheating-runtime.ts';
import { CHEATS, type Cheat } from '../../test/adversaries/cheats.ts';
import type { Row } from '../lib/report.ts';
import { type PlayedBatch, playBatch } from './play-batch.ts';

/** As in facts.md's table: enough that a quarter of them is still a picture. */
const SAMPLES = 64;
/** Tiles of this side, spread over the frame: small, since there are hundreds of batches. */
const TILE_PX = 96;
const SPREAD = { columns: 4, rows: 2 };

export type GalleryScene = { name: string; folder: SceneFolder; manifest: SceneManifest };
type Say = (line: string) => void;

export type GalleryFigures = { cheats: number; caught: number; hashWouldPay: number; honestFails: number };

/** Plays all cheats, and an honest node before them, on one scene and engine; a row for each goes to `rows`. */
export async function gallery(
  runtime: RenderRuntime,
  scene: GalleryScene,
  folder: string,
  rows: Row[],
  signal: AbortSignal,
  say: Say,
): Promise<GalleryFigures> {
  const options = { signal, threads: THREADS };
  await using verifier = await runtime.open(scene.folder, options);
  const { region, frameCurrent } = await verifier.inspect({ signal });
  // The frame before it is another picture in the scenes that move.
  const frame = Math.max(2, frameCurrent);
  const tiles = spread(region);
  const figures = { cheats: 0, caught: 0, hashWouldPay: 0, honestFails: 0 };
  const play = async (cheat: Cheat | null): Promise<PlayedBatch> => {
    const own = cheat === null ? runtime : cheatingRuntime(runtime, cheat, process.env['TESSERA_BLENDER']);
    await using node = await own.open(scene.folder, options);
    const name = `${runtime.engine.id}-${scene.name}-${cheat?.name ?? 'honest'}`;
    return await playBatch({
      ...{
        engine: runtime.engine,
        manifest: scene.manifest,
        frame,
        samples: SAMPLES,
        tiles,
        node,
        verifier,
        signal,
      },
      folder: join(folder, name),
    });
  };
  let honest: Digest[] = [];
  for (const cheat of [null, ...CHEATS]) {
    say(
      `${runtime.engine.id}, ${scene.name}: ${cheat === null ? 'an honest node' : `a node that ${cheat.says}`}`,
    );
    const played = await play(cheat);
    const drawn = played.comparisons;
    if (cheat === null) honest = played.pixelDigests;
    // Where every pixel is as it should be nothing was saved: one bounce less in a scene without bounces.
    const harmless = played.pixelDigests.every((digest, index) => digest === honest[index]);
    const hashPays = drawn.every((one) => one.perceptualHashAloneWouldPay === true);
    if (cheat === null) figures.honestFails += drawn.filter((one) => one.outcome === 'fail').length;
    else if (!harmless) {
      figures.cheats += 1;
      if (played.outcome !== 'pass') figures.caught += 1;
      if (hashPays) figures.hashWouldPay += 1;
    }
    rows.push({
      engine: runtime.engine.id,
      scene: scene.name,
      node: cheat?.name ?? 'honest',
      'pixels that match': rangeOf(drawn, (one) => one.pixelMatchFraction),
      'hash distance': rangeOf(drawn, (one) => one.perceptualHashDistance),
      'crops failed / not sure / passed': counts(drawn),
      'decided by': decided(played),
      outcome: harmless && cheat !== null ? 'changes no pixel here' : played.outcome,
      'hash alone': hashPays ? 'would have paid' : 'would not have paid',
    });
  }
  return figures;
}

/** Two cores are what the benchmark is for. */
const THREADS = 2;

/** A tile in the middle of each cell of the frame. */
function spread(region: Rect): Rect[] {
  return tileRects(region, SPREAD).map((cell) => {
    const [width, height] = [Math.min(TILE_PX, cell.width), Math.min(TILE_PX, cell.height)];
    const x = cell.x + Math.floor((cell.width - width) / 2);
    return { x, y: cell.y + Math.floor((cell.height - height) / 2), width, height };
  });
}

function rangeOf(drawn: readonly Comparison[], of: (one: Comparison) => number | null): string {
  const values = drawn.map(of).filter((value) => value !== null);
  if (values.length === 0) return '-';
  const text = (value: number): string => (Number.isInteger(value) ? String(value) : value.toFixed(4));
  const [low, high] = [text(Math.min(...values)), text(Math.max(...values))];
  return low === high ? low : `${low} to ${high}`;
}

function counts(drawn: readonly Comparison[]): string {
  const of = (outcome: string): number => drawn.filter((one) => one.outcome === outcome).length;
  return `${of('fail')} / ${of('inconclusive')} / ${of('pass')}`;
}

/** The steps that decided as the batch was decided. */
function decided({ outcome, comparisons }: PlayedBatch): string {
  return [...new Set(comparisons.filter((one) => one.outcome === outcome).map((one) => one.decidedBy))].join(
    ', ',
  );
}
