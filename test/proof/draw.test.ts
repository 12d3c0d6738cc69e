import { solidityPackedKeccak256 } from 'ethers';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { cropFor, drawChallenge, MAX_CROP_PX, MIN_CROP_PX } from '../../proof/draw.ts';
import { isFarmError } from '../../protocol/errors.ts';
import { type Bytes32, bytes32Schema } from '../../protocol/ids.ts';
import type { TaskKind } from '../../protocol/receipt.ts';
import type { Rect } from '../../protocol/rect.ts';
import vectors from './vectors/draw.json' with { type: 'json' };

type Item = { rect: Rect; kind: TaskKind };

const seedOf = (n: number): Bytes32 => `0x${n.toString(16).padStart(64, '0')}` as Bytes32;
const anySeed = fc
  .bigInt({ min: 0n, max: 2n ** 256n - 1n })
  .map((n) => bytes32Schema.parse(`0x${n.toString(16).padStart(64, '0')}`));
const side = fc.oneof(fc.integer({ min: 1, max: 200 }), fc.integer({ min: 1, max: 65_536 }));
const anyRect: fc.Arbitrary<Rect> = fc.record({
  x: fc.nat(65_536),
  y: fc.nat(65_536),
  width: side,
  height: side,
});
const anyItem: fc.Arbitrary<Item> = fc.record({
  rect: anyRect,
  kind: fc.constantFrom('render', 'finish'),
});
const items = (count: number, rect: Rect): Item[] =>
  Array.from({ length: count }, () => ({ rect, kind: 'render' }));

/** Pearson's statistic against equal counts. */
function chiSquare(counts: readonly number[]): number {
  const expected = counts.reduce((sum, value) => sum + value, 0) / counts.length;
  return counts.reduce((sum, value) => sum + (value - expected) ** 2 / expected, 0);
}

describe('drawing a challenge', () => {
  it('gives the draws of the vectors (shared with the Solidity tests)', () => {
    for (const { seed, receipts, challengeCount, drawn } of vectors) {
      const input = {
        seed: bytes32Schema.parse(seed),
        count: receipts.length,
        receipts: receipts as Item[],
        challengeCount,
      };
      expect(drawChallenge(input)).toEqual(drawn);
    }
  });

  it('is what a second reading of the description gives', () => {
    const rect = { x: 5, y: 9, width: 300, height: 90 };
    fc.assert(
      fc.property(
        anySeed,
        fc.integer({ min: 1, max: 20 }),
        fc.integer({ min: 1, max: 20 }),
        (seed, count, k) => {
          let counter = 0;
          const below = (n: number): number =>
            Number(BigInt(solidityPackedKeccak256(['bytes32', 'uint256'], [seed, counter++])) % BigInt(n));
          const pool = Array.from({ length: count }, (_, i) => i);
          const indexes: number[] = [];
          for (let i = 0; i < Math.min(k, count); i++) {
            const j = i + below(count - i);
            [pool[i], pool[j]] = [pool[j] as number, pool[i] as number];
            indexes.push(pool[i] as number);
          }
          // (300 + 90) / 6 = 65
          const expected = indexes.map((index) => {
            const x = 5 + below(300 - 65 + 1);
            return { index, crop: { x, y: 9 + below(90 - 65 + 1), width: 65, height: 65 } };
          });
          expect(drawChallenge({ seed, count, receipts: items(count, rect), challengeCount: k })).toEqual(
            expected,
          );
        },
      ),
      { numRuns: 50 },
    );
  });

  it('draws different receipts and crops inside their rectangles, twice the same', () => {
    const receipts = fc.array(anyItem, { minLength: 1, maxLength: 64 });
    const cropSide = fc.option(fc.integer({ min: 1, max: 300 }), { nil: undefined });
    fc.assert(
      fc.property(
        anySeed,
        receipts,
        fc.integer({ min: 1, max: 80 }),
        cropSide,
        (seed, batch, k, cropSidePx) => {
          const input = { seed, count: batch.length, receipts: batch, challengeCount: k, cropSidePx };
          const drawn = drawChallenge(input);
          expect(drawn).toEqual(drawChallenge(input));
          expect(drawn.length).toBe(Math.min(k, batch.length));
          expect(new Set(drawn.map(({ index }) => index)).size).toBe(drawn.length);
          for (const { index, crop } of drawn) {
            const { kind, rect } = batch[index] as Item;
            if (kind === 'finish') {
              expect(crop).toEqual(rect);
              continue;
            }
            expect(crop.x).toBeGreaterThanOrEqual(rect.x);
            expect(crop.y).toBeGreaterThanOrEqual(rect.y);
            expect(crop.x + crop.width).toBeLessThanOrEqual(rect.x + rect.width);
            expect(crop.y + crop.height).toBeLessThanOrEqual(rect.y + rect.height);
            const size = cropSidePx ? undefined : cropFor(rect);
            expect(crop.width).toBe(size?.width ?? Math.min(cropSidePx as number, rect.width));
            expect(crop.height).toBe(size?.height ?? Math.min(cropSidePx as number, rect.height));
          }
        },
      ),
      { numRuns: 60 },
    );
  });

  it('hits every receipt and every place equally often (fixed seeds)', () => {
    const count = 16;
    const rect = { x: 0, y: 0, width: 39, height: 39 };
    const byIndex = new Array<number>(count).fill(0);
    const byX = new Array<number>(8).fill(0);
    const byY = new Array<number>(8).fill(0);
    for (let n = 1; n <= 2000; n++) {
      const challenge = { seed: seedOf(n), count, receipts: items(count, rect), challengeCount: 2 };
      for (const { index, crop } of drawChallenge(challenge)) {
        byIndex[index] = (byIndex[index] as number) + 1;
        byX[crop.x] = (byX[crop.x] as number) + 1;
        byY[crop.y] = (byY[crop.y] as number) + 1;
      }
    }
    // Beyond these a fair draw comes once in 10,000 times (15 and 7 degrees of freedom); the seeds are fixed.
    expect(chiSquare(byIndex)).toBeLessThan(44.3);
    expect(chiSquare(byX)).toBeLessThan(29.9);
    expect(chiSquare(byY)).toBeLessThan(29.9);
  });

  it('refuses counts that do not add up', () => {
    const receipts = items(3, { x: 0, y: 0, width: 64, height: 64 });
    const good = { seed: seedOf(1), count: 3, receipts, challengeCount: 2 };
    for (const bad of [{ count: 4 }, { challengeCount: 0 }, { challengeCount: 1.5 }, { cropSidePx: 0 }]) {
      let code = false;
      try {
        drawChallenge({ ...good, ...bad });
      } catch (error) {
        code = isFarmError(error, 'MESSAGE_INVALID');
      }
      expect(code).toBe(true);
    }
    expect(drawChallenge(good).length).toBe(2);
  });
});

describe('the size of a crop', () => {
  it.each([
    [120, 68, 32, 32],
    [240, 135, 62, 62],
    [480, 270, 125, 125],
    [1920, 1080, 128, 128],
    [20, 500, 20, 86],
    [7, 9, 7, 9],
  ])('in a tile of %i x %i is %i x %i', (width, height, cropWidth, cropHeight) => {
    expect(cropFor({ x: 3, y: 4, width, height })).toEqual({ width: cropWidth, height: cropHeight });
  });

  it('stays within its bounds and the tile', () => {
    fc.assert(
      fc.property(anyRect, (rect) => {
        const size = cropFor(rect);
        for (const axis of ['width', 'height'] as const) {
          expect(size[axis]).toBeLessThanOrEqual(Math.min(MAX_CROP_PX, rect[axis]));
          expect(size[axis]).toBeGreaterThanOrEqual(Math.min(MIN_CROP_PX, rect[axis]));
        }
      }),
    );
  });
});
