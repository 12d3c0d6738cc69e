/** Which crops of a scene are compared: those that a challenge of a tiled job could draw. Pure. */
import { drawEvenly } from '../../platform/looks/sheet-layout.ts';
import type { SceneInspection } from '../../platform/render/runtime.ts';
import { drawChallenge, MIN_CROP_PX } from '../../proof/draw.ts';
import type { Bytes32 } from '../../protocol/ids.ts';
import type { Rect } from '../../protocol/rect.ts';

export type PlannedTile = { frame: number; rect: Rect; crops: Rect[] };
export type FramesOfScene = Pick<SceneInspection, 'region' | 'frameStart' | 'frameEnd' | 'frameStep'>;

/** Another frame costs handing over the scene again; what differs between classes hardly depends on it. */
const MOST_FRAMES = 4;
/** Tiles as a still in 4x3 has them, so that crops are as large as those of real challenges. */
const GRID = { columns: 4, rows: 3 };
/** A crop has a third of its tile's side (proof/draw.ts): from here on it is as small as it may be. */
const LEAST_TILE_PX = 3 * MIN_CROP_PX;
/** A tile costs nine times a crop to render, and one crop says little about the next: a few of each. */
const CROPS_PER_TILE = 4;

/** `count` crops in tiles that are drawn from all of the scene; frame by frame. The same every time, on every machine. */
export function planCrops(scene: FramesOfScene, count: number): PlannedTile[] {
  const all = framesOf(scene).flatMap((frame) => tilesOf(scene.region).map((rect) => ({ frame, rect })));
  const tiles = Math.min(all.length, Math.ceil(count / CROPS_PER_TILE));
  const first = drawn(all, tiles, 0);
  const chosen = first.map(({ index }) => all[index] as (typeof all)[number]);
  const planned: (PlannedTile & { index: number })[] = first.map(({ index, crop }, place) => {
    const { frame, rect } = chosen[place] as (typeof chosen)[number];
    return { index, frame, rect, crops: [crop] };
  });
  for (let round = 1, left = count - tiles; left > 0; round++, left -= tiles) {
    for (const { index, crop } of drawn(chosen, tiles, round).slice(0, left))
      planned[index]?.crops.push(crop);
  }
  return planned.sort((a, b) => a.index - b.index).map(({ frame, rect, crops }) => ({ frame, rect, crops }));
}

function drawn(tiles: readonly { rect: Rect }[], challengeCount: number, round: number) {
  const receipts = tiles.map(({ rect }) => ({ rect, kind: 'render' as const }));
  return drawChallenge({ seed: seedOf(round), count: receipts.length, receipts, challengeCount });
}

/** Known to everybody, unlike a farm's: here two runs are to compare the same crops. */
function seedOf(round: number): Bytes32 {
  return `0x${round.toString(16).padStart(64, '0')}` as Bytes32;
}

function framesOf({ frameStart, frameEnd, frameStep }: FramesOfScene): number[] {
  const count = Math.max(1, Math.floor((frameEnd - frameStart) / frameStep) + 1);
  return drawEvenly(count, MOST_FRAMES).map((index) => frameStart + index * frameStep);
}

function tilesOf(region: Rect): Rect[] {
  const columns = edges(region.width, GRID.columns);
  const rows = edges(region.height, GRID.rows);
  return rows.flatMap((row) =>
    columns.map((column) => ({
      ...{ x: region.x + column.from, y: region.y + row.from },
      ...{ width: column.size, height: row.size },
    })),
  );
}

/** At most so many pieces of a side, no piece too small for a crop of its own where the side allows it. */
function edges(side: number, most: number): { from: number; size: number }[] {
  const pieces = Math.max(1, Math.min(most, Math.floor(side / LEAST_TILE_PX)));
  return Array.from({ length: pieces }, (_, index) => {
    const from = Math.floor((side * index) / pieces);
    return { from, size: Math.floor((side * (index + 1)) / pieces) - from };
  });
}
