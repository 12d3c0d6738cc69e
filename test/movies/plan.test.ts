import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  exactFrameRate,
  parseFrameRate,
  rateText,
  startMicroseconds,
} from '../../platform/movies/frame-rate.ts';
import { groupFramesOf, planSegments } from '../../platform/movies/segments.ts';

const rates = fc.oneof(
  fc.constantFrom(
    { numerator: 24, denominator: 1 },
    { numerator: 24_000, denominator: 1_001 },
    { numerator: 30_000, denominator: 1_001 },
  ),
  fc.record({
    numerator: fc.integer({ min: 1, max: 120_000 }),
    denominator: fc.integer({ min: 1, max: 1_001 }),
  }),
);

describe('the pieces of a movie', () => {
  test('hold every frame once, in order, and begin where a key frame is anyway', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 200_000 }),
        fc.integer({ min: 1, max: 250 }),
        fc.integer({ min: 1, max: 64 }),
        (frames, groupFrames, parallel) => {
          const pieces = planSegments({ frames, groupFrames, parallel });
          expect(pieces.length).toBeLessThanOrEqual(parallel);
          let next = 0;
          for (const { first, count } of pieces) {
            expect(first).toBe(next);
            expect(first % groupFrames).toBe(0);
            expect(count).toBeGreaterThan(0);
            next = first + count;
          }
          expect(next).toBe(frames);
        },
      ),
    );
  });

  test('are of about equal length: no processor waits for more than one group', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 5_000 }),
        fc.integer({ min: 1, max: 60 }),
        fc.integer({ min: 2, max: 32 }),
        (groups, groupFrames, parallel) => {
          const counts = planSegments({ frames: groups * groupFrames, groupFrames, parallel }).map(
            (one) => one.count,
          );
          expect(Math.max(...counts) - Math.min(...counts)).toBeLessThanOrEqual(groupFrames);
        },
      ),
    );
  });

  test('are one where the movie is short, and as many as work at a time where it is long', () => {
    const group = groupFramesOf({ numerator: 24, denominator: 1 });
    expect(group).toBe(48);
    expect(planSegments({ frames: 1, groupFrames: group, parallel: 8 })).toEqual([{ first: 0, count: 1 }]);
    expect(planSegments({ frames: 100, groupFrames: group, parallel: 8 })).toHaveLength(1);
    expect(planSegments({ frames: 10_000, groupFrames: group, parallel: 8 })).toHaveLength(8);
    expect(planSegments({ frames: 10_000, groupFrames: group, parallel: 1 })).toHaveLength(1);
  });

  test('get durations that add up to where the next piece really begins, to the microsecond', () => {
    fc.assert(
      fc.property(rates, fc.integer({ min: 0, max: 1_000_000 }), (rate, index) => {
        const exact = (index * rate.denominator * 1e6) / rate.numerator;
        expect(Math.abs(startMicroseconds(index, rate) - exact)).toBeLessThan(0.6);
      }),
    );
  });

  test.each([
    [24, 1, 48],
    [24_000, 1_001, 48],
    [1, 60, 1],
    [1_000, 1, 250],
  ])('of %i/%i frames a second have a key frame every %i frames', (numerator, denominator, group) => {
    expect(groupFramesOf({ numerator, denominator })).toBe(group);
  });
});

describe("the scene's frame rate", () => {
  test.each([
    [24, 1, '24'],
    [24, 1.001, '24000/1001'],
    [30, 1.001, '30000/1001'],
    [60, 1.001, '60000/1001'],
    [25, 1, '25'],
    [24, 0.5, '48'],
    [10, 4, '5/2'],
    [1, 3600, '1/3600'],
  ])('of %f over %f, as Blender keeps it, is %s', (fps, base, text) => {
    expect(rateText(exactFrameRate({ fps, base: Math.fround(base) }))).toBe(text);
  });

  test('is the one that was typed, though Blender keeps the base as a 32-bit float', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 240 }),
        fc.integer({ min: 1, max: 2_000 }),
        fc.constantFrom(1, 2, 4, 5, 10, 100, 1_000),
        (fps, above, below) => {
          const found = exactFrameRate({ fps, base: Math.fround(above / below) });
          // The same fraction: crosswise products of whole numbers, so nothing is rounded.
          expect(found.numerator * above).toBe(found.denominator * fps * below);
        },
      ),
    );
  });

  test('never differs from what Blender has by more than its own rounding', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 32_767 }),
        fc.float({ min: Math.fround(1e-4), max: Math.fround(1e5), noNaN: true }),
        (fps, base) => {
          const { numerator, denominator } = exactFrameRate({ fps, base });
          const wanted = Math.min(fps / base, 2 ** 31 - 1);
          // The float's own rounding, and that of the division here.
          expect(Math.abs(numerator / denominator / wanted - 1)).toBeLessThan(2 ** -23);
          expect(Math.min(numerator, denominator)).toBeGreaterThanOrEqual(1);
          expect(Math.max(numerator, denominator)).toBeLessThan(2 ** 31);
          expect(Number.isInteger(numerator) && Number.isInteger(denominator)).toBe(true);
        },
      ),
    );
  });
});

describe('a frame rate as people write it', () => {
  test.each([
    ['24', '24'],
    ['23.976', '24000/1001'],
    ['23.98', '24000/1001'],
    ['29.97', '30000/1001'],
    ['59.94', '60000/1001'],
    ['12.5', '25/2'],
    ['24000/1001', '24000/1001'],
    ['48/2', '24'],
    ['0.5', '1/2'],
  ])('%s is %s', (text, exact) => {
    expect(rateText(parseFrameRate(text))).toBe(exact);
  });

  test.each(['0', '-24', 'fast', '24/0', '0/1', '1001', '1e3', '24fps', '', '24/1/1', ' 24'])(
    '"%s" is refused',
    (text) => {
      expect(() => parseFrameRate(text)).toThrow(expect.objectContaining({ code: 'USAGE' }));
    },
  );

  test('comes back as it was written out', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 999 }),
        fc.integer({ min: 1, max: 1_001 }),
        (numerator, denominator) => {
          const rate = parseFrameRate(`${numerator}/${denominator}`);
          expect(rate.numerator * denominator).toBe(rate.denominator * numerator);
          expect(parseFrameRate(rateText(rate))).toEqual(rate);
        },
      ),
    );
  });
});
