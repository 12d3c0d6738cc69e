/** Where a scene is looked at to find out whether it renders the same twice. Pure. */
import { createHash } from 'node:crypto';
import type { Digest } from '../../protocol/ids.ts';
import type { Rect } from '../../protocol/rect.ts';

/**
 * A thin rectangle right across the picture: what takes up a third of the height or the width is met by one in three of
 * them, where a square crop of as many pixels would have to be lucky.
 */
export type Strip = { frame: number; rect: Rect };

/** Thickness. A challenge's crop of 32x32 has as many pixels as 256 of these. */
export const STRIP_PX = 4;

/** Its multiples, cut off at 1, are spread over the range as evenly as can be however many there are (Weyl). */
const GOLDEN = (Math.sqrt(5) - 1) / 2;

/** The first and the last of a job: what moves has moved in between, and going back shows what a session remembers. */
export function framesToTry(frames: readonly number[]): number[] {
  return [...new Set([Math.min(...frames), Math.max(...frames)])];
}

/** Strips of one frame without end: lying and standing ones in turn, from a place that follows from the scene alone. */
export function* stripsOf(scene: Digest, frame: number, region: Rect): Generator<Strip> {
  const start = placeOf(scene, frame);
  for (let number = 0; ; number++) {
    const place = (start + number * GOLDEN) % 1;
    const lying = number % 2 === 0;
    const thick = Math.min(STRIP_PX, lying ? region.height : region.width);
    const room = (lying ? region.height : region.width) - thick;
    const from = Math.round(place * room);
    const rect = lying
      ? { x: region.x, y: region.y + from, width: region.width, height: thick }
      : { x: region.x + from, y: region.y, width: thick, height: region.height };
    yield { frame, rect };
  }
}

/** From 0 to 1, the same for everybody. */
function placeOf(scene: Digest, frame: number): number {
  return createHash('sha256').update(`${scene} ${frame}`).digest().readUInt32BE(0) / 2 ** 32;
}
