/** Every cheat against the check: the numbers of each step, the step that caught it, and what a perceptual hash would pay. */
import { join } from 'node:path';
import { tileRects } from '../../coordinator/splitting/tile-grid.ts';
import type { RenderRuntime, SceneFolder } from '../../platform/render/runtime.ts';
import { compareCrops } from '../../proof/compare.ts';
import type { PixelImage } from '../../proof/pixels.ts';
import type { SceneManifest } from '../../protocol/job.ts';
import type { Rect } from '../../protocol/rect.ts';
import type { Comparison } from '../../protocol/verdict.ts';
import { cheatingRuntime } from '../../test/adversaries/cheating-runtime.ts';
import { CHEATS, type Cheat } from '../../test/adversaries/cheats.ts';
import type { Row } from '../lib/report.ts';
import { type Draw, type PlayedBatch, playBatch } from './play-batch.ts';

/** As in facts.md's table: enough that a quarter of them is still a picture. */
const SAMPLES = 64;
/** Tiles of this side, spread over the frame: small, since there are hundreds of batches. */
const TILE_PX = 96;
/** Each time other receipts and crops: the share that is caught, not a coin's one throw. */
const DRAWS = 6;
/**
 * A cheat that passed all of these goes on until it is caught: one that spoils a corner of one tile of eight is drawn
 * seldom, and a node that lives by it delivers batch after batch.
 */
const MOST_DRAWS = 60;
const SPREAD = { columns: 4, rows: 2 };

export type GalleryScene = { name: string; folder: SceneFolder; manifest: SceneManifest };
type Say = (line: string) => void;

export type GalleryFigures = {
  /** Cheats that change a tile by more than the tolerance; and of these, caught by some draw. */
  cheats: number;
  caught: number;
  /** Draws of their batches, and those that did not pass. */
  draws: number;
  drawsCaught: number;
  /** Draws in which the perceptual hashes of all crops are near enough. */
  hashWouldPay: number;
  honestFails: number;
};

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
  const figures = { cheats: 0, caught: 0, draws: 0, drawsCaught: 0, hashWouldPay: 0, honestFails: 0 };
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
        draws: DRAWS,
        untilCaught: (pixels) => (cheat !== null && falseOf(pixels) > 0 ? MOST_DRAWS : DRAWS),
      },
      folder: join(folder, name),
    });
  };
  let honest: readonly PixelImage[] = [];
  const falseOf = (pixels: readonly PixelImage[]): number =>
    pixels.filter((tile, index) => !passesWhole(honest[index], tile)).length;
  for (const cheat of [null, ...CHEATS]) {
    say(
      `${runtime.engine.id}, ${scene.name}: ${cheat === null ? 'an honest node' : `a node that ${cheat.says}`}`,
    );
    const { draws, pixels } = await play(cheat);
    if (cheat === null) honest = pixels;
    const crops = draws.flatMap(({ comparisons }) => comparisons);
    const caught = draws.filter(({ outcome }) => outcome !== 'pass');
    const hashPays = draws.filter((draw) => draw.comparisons.every((one) => one.perceptualHashAloneWouldPay));
    const falseTiles = falseOf(pixels);
    if (cheat === null) figures.honestFails += caught.length;
    else if (falseTiles > 0) {
      figures.cheats += 1;
      figures.caught += caught.length > 0 ? 1 : 0;
      figures.draws += draws.length;
      figures.drawsCaught += caught.length;
      figures.hashWouldPay += hashPays.length;
    }
    rows.push({
      engine: runtime.engine.id,
      scene: scene.name,
      node: cheat?.name ?? 'honest',
      'false tiles': `${falseTiles} of ${pixels.length}`,
      'pixels that match': rangeOf(crops, (one) => one.pixelMatchFraction),
      'hash distance': rangeOf(crops, (one) => one.perceptualHashDistance),
      'crops failed / not sure / passed': counts(crops),
      'caught by': decided(caught),
      caught: cheat !== null && falseTiles === 0 ? 'nothing to catch' : `${caught.length} of ${draws.length}`,
      'a hash alone pays': `${hashPays.length} of ${draws.length}`,
    });
  }
  return figures;
}

/**
 * Whether the whole tile would pass if all of it were looked at. Where it does, nothing false was delivered: one bounce
 * less in a scene without bounces, the frame before where nothing moves.
 */
function passesWhole(honest: PixelImage | undefined, tile: PixelImage): boolean {
  return honest !== undefined && compareCrops(honest, tile).outcome === 'pass';
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
function decided(caught: readonly Draw[]): string {
  const steps = caught.flatMap(({ outcome, comparisons }) =>
    comparisons.filter((one) => one.outcome === outcome).map((one) => one.decidedBy),
  );
  return [...new Set(steps)].sort().join(', ');
}
