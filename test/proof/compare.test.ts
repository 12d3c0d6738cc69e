import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { compareCrops } from '../../proof/compare.ts';
import { comparedPasses, matchFloor, medianLuma } from '../../proof/compared-passes.ts';
import { meanOfHalves } from '../../proof/halves.ts';
import { matchPixels, noiseVarianceOfHalves, type PixelMatch } from '../../proof/pixel-match.ts';
import { crop, imageFromPlanes, type PixelImage } from '../../proof/pixels.ts';
import { THRESHOLDS } from '../../proof/thresholds.ts';
import { edit, halfResolution, hashed, median3, render } from './synthetic.ts';

const reference = render();
const SIDE = reference.width;

/** Changes the first `count` pixels by `share`. */
function spoil(image: PixelImage, count: number, share = 0.5): PixelImage {
  return edit(image, (value, pixel) => (pixel < count ? value * (1 + share) : value));
}

const square = (image: PixelImage, side: number): PixelImage =>
  crop(image, { x: 0, y: 0, width: side, height: side });

describe('the comparison passes honest work', () => {
  it('at once when the digests are equal', () => {
    const result = compareCrops(reference, render());
    expect(result).toMatchObject({ outcome: 'pass', decidedBy: 'digest', pixelMatchFraction: 1, rmse: 0 });
    expect(result.steps.map(({ step }) => step)).toEqual([
      'digest',
      'sanity',
      'perceptualHash',
      'pixelMatch',
      'noiseRatio',
    ]);
  });

  it('where 3 % of the pixels moved by less than 1e-3', () => {
    const claim = edit(reference, (value, pixel) => (hashed(pixel, 5, 5, 5) < 0.03 ? value * 1.0008 : value));
    const result = compareCrops(reference, claim);
    expect(result).toMatchObject({ outcome: 'pass', decidedBy: 'pixelMatch', mismatchedPixels: 0 });
    expect(result.maxAbsDifference).toBeGreaterThan(0);
  });

  it('on a flat or black crop, where the hash has nothing to hold on to', () => {
    for (const level of [0, 1e-6, 0.5, 40]) {
      const flat = edit(reference, () => level);
      const claim = edit(flat, (value, pixel) => value * (1 + 1e-3 * (hashed(pixel, 1, 1, 1) - 0.5)));
      expect(compareCrops(flat, claim).outcome).toBe('pass');
    }
  });

  it('where both have the same value that is not finite', () => {
    const broken = edit(reference, (value, pixel) => (pixel === 9 ? Number.NaN : value));
    const claim = edit(broken, (value, pixel) => (pixel === 20 ? value * 1.0001 : value));
    expect(compareCrops(broken, claim)).toMatchObject({ outcome: 'pass', decidedBy: 'pixelMatch' });
  });

  it('when a black claim misses a lone star', () => {
    const star = edit(reference, (_value, pixel) => (pixel === 100 ? 3 : 0));
    const result = compareCrops(
      star,
      edit(reference, () => 0),
    );
    expect(result).toMatchObject({ outcome: 'pass', decidedBy: 'pixelMatch', mismatchedPixels: 1 });
  });

  it('never fails on the hash alone: against a passing match it asks for a second verifier', () => {
    const thresholds = { ...THRESHOLDS.sameClass, perceptualHashGate: -1 };
    expect(compareCrops(reference, spoil(reference, 1), { thresholds })).toMatchObject({
      outcome: 'inconclusive',
      decidedBy: 'perceptualHash',
    });
  });
});

describe('the comparison fails what a node could deliver instead', () => {
  const fakes: [string, PixelImage][] = [
    ['63 of 64 samples', render({ samples: 63 })],
    ['half the samples', render({ samples: 32 })],
    ['a quarter of the samples', render({ samples: 16 })],
    ['a quarter of the samples, median filtered', median3(render({ samples: 16 }))],
    ['another seed', render({ seed: 2 })],
    ['half the resolution, enlarged', halfResolution(render())],
    ['1 % brighter', edit(reference, (value) => value * 1.01)],
    ['0.2 % brighter', edit(reference, (value) => value * 1.002)],
    ['all samples but the noise of a denoiser', render({ samples: 1024 })],
    ['a tenth of the pixels faked', spoil(reference, Math.round(0.1 * SIDE * SIDE), 0.01)],
  ];

  it.each(fakes)('%s: pixel match fails it, the perceptual hash alone would have paid', (_name, claim) => {
    const result = compareCrops(reference, claim);
    expect(result).toMatchObject({
      outcome: 'fail',
      decidedBy: 'pixelMatch',
      perceptualHashAloneWouldPay: true,
    });
    expect(result.pixelMatchFraction).toBeLessThan(0.95);
  });

  it('another picture: the perceptual hash fails it, and pixel match would too', () => {
    const result = compareCrops(reference, render({ scene: 2 }));
    expect(result).toMatchObject({
      outcome: 'fail',
      decidedBy: 'perceptualHash',
      perceptualHashAloneWouldPay: false,
    });
    expect(result.steps.find(({ step }) => step === 'pixelMatch')?.result).toBe('fail');
  });

  it.each([
    ['black', edit(reference, () => 0)],
    ['almost black', edit(reference, (value) => value * 1e-6)],
    ['below zero', edit(reference, () => -1)],
    ['one NaN', edit(reference, (value, pixel) => (pixel === 5 ? Number.NaN : value))],
    ['one infinity', edit(reference, (value, pixel) => (pixel === 5 ? Number.POSITIVE_INFINITY : value))],
  ])('%s: sanity', (_name, claim) => {
    const result = compareCrops(reference, claim);
    expect(result).toMatchObject({ outcome: 'fail', decidedBy: 'sanity' });
    expect(result.pixelMatchFraction).not.toBeNull();
    expect(result.perceptualHashDistance).not.toBeNull();
  });

  it.each([
    ['another size', square(reference, 32)],
    ['the same number of pixels in another shape', { ...reference, width: SIDE / 2, height: SIDE * 2 }],
    ['other channels', { ...reference, channels: ['X.A', 'X.B', 'X.G', 'X.R'] }],
  ])('%s: sanity, with nothing else computed', (_name, claim) => {
    expect(compareCrops(reference, claim)).toMatchObject({
      outcome: 'fail',
      decidedBy: 'sanity',
      pixelMatchFraction: null,
      perceptualHashDistance: null,
      perceptualHashAloneWouldPay: false,
    });
  });
});

describe('few pixels', () => {
  const outcome = (side: number, spoiled: number): string =>
    compareCrops(square(reference, side), spoil(square(reference, side), spoiled, 0.01)).outcome;

  it('of 1,024, two may differ, three to twenty ask for a second verifier, twenty-one fail', () => {
    expect([0, 1, 2, 3, 20, 21].map((count) => outcome(32, count))).toEqual([
      'pass',
      'pass',
      'pass',
      'inconclusive',
      'inconclusive',
      'fail',
    ]);
  });

  it('of 256, two still pass; of 64 and less, two are already 3 % and ask again, and never fail', () => {
    expect([2, 3, 6].map((count) => outcome(16, count))).toEqual(['pass', 'inconclusive', 'fail']);
    expect([1, 2, 3].map((count) => outcome(8, count))).toEqual(['pass', 'inconclusive', 'fail']);
    expect([1, 2, 3].map((count) => outcome(4, count))).toEqual(['inconclusive', 'inconclusive', 'fail']);
  });
});

/** More than one block of values in a plane, and not a whole number of them. */
const LARGE_SIDE = 70;

/** Squares are added up in steps of so many values: an audit finds the recorded rmse to the last bit. */
const SUMMED = 4_096;

/** The definition, value by value. */
function matchOneByOne(left: Float32Array[], right: Float32Array[], floor: number): PixelMatch {
  const pixels = LARGE_SIDE * LARGE_SIDE;
  const mismatched = new Set<number>();
  let [sum, finite, maxAbsDifference, nonFiniteValues] = [0, 0, 0, 0];
  for (const [plane, values] of left.entries()) {
    const steps = new Float64Array(Math.ceil(pixels / SUMMED));
    for (const [i, a] of values.entries()) {
      const b = right[plane]?.[i] as number;
      if (Number.isFinite(a) && Number.isFinite(b)) {
        const difference = Math.abs(a - b);
        finite++;
        steps[Math.floor(i / SUMMED)] = (steps[Math.floor(i / SUMMED)] as number) + difference * difference;
        maxAbsDifference = Math.max(maxAbsDifference, difference);
        if (difference > 1e-3 * Math.max(Math.abs(a), Math.abs(b), floor)) mismatched.add(i);
        continue;
      }
      if (Number.isFinite(a)) nonFiniteValues++;
      if (a !== b && !(Number.isNaN(a) && Number.isNaN(b))) mismatched.add(i);
    }
    sum += steps.reduce((total, step) => total + step, 0);
  }
  return {
    ...{ pixels, mismatchedPixels: mismatched.size, pixelMatchFraction: 1 - mismatched.size / pixels },
    ...{ maxAbsDifference, meanSquare: sum / finite, nonFiniteValues },
  };
}

describe('the numbers', () => {
  it('match fraction is symmetric for given floors', () => {
    const passes = comparedPasses(reference);
    const floors = passes.map(matchFloor);
    for (const claim of [
      render({ samples: 63 }),
      spoil(reference, 40),
      edit(reference, (v) => v * 1.00099),
    ]) {
      const there = matchPixels(passes, comparedPasses(claim), floors);
      const back = matchPixels(comparedPasses(claim), passes, floors);
      expect(back).toEqual(there);
    }
  });

  it('are those of looking at every pixel by itself, whatever blocks they are taken in', () => {
    const value = fc.oneof(
      fc.float({ min: 0, max: 2, noNaN: true }),
      fc.constantFrom(0, -0, Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, -1),
      // The ends of what a float32 holds.
      fc.constantFrom(1e-45, -1e-45, 3.4e38, -3.4e38),
    );
    const change = fc.record({ at: fc.nat(2 * LARGE_SIDE * LARGE_SIDE - 1), value });
    fc.assert(
      fc.property(fc.array(change, { maxLength: 20 }), fc.array(change, { maxLength: 5 }), (ours, both) => {
        const planes = (changes: { at: number; value: number }[]): Float32Array[] => {
          const all = Float32Array.from(
            { length: 2 * LARGE_SIDE * LARGE_SIDE },
            (_, i) => 0.1 + ((i * 7) % 13) / 13,
          );
          for (const { at, value: changed } of changes) all[at] = changed;
          return [all.subarray(0, LARGE_SIDE * LARGE_SIDE), all.subarray(LARGE_SIDE * LARGE_SIDE)];
        };
        const [left, right] = [planes(both), planes([...both, ...ours])];
        const pass = (values: Float32Array[]) => [
          { name: 'L', planes: values, luma: { values: new Float32Array(1), width: 1, height: 1 } },
        ];
        expect(matchPixels(pass(left), pass(right), [0.05])).toEqual(matchOneByOne(left, right, 0.05));
      }),
    );
  });

  it('of equal pixels are those of looking at them, NaN and infinities as well', () => {
    const level = fc.oneof(fc.float(), fc.constantFrom(Number.NaN, Number.NEGATIVE_INFINITY, -0));
    fc.assert(
      fc.property(fc.array(level, { minLength: 1, maxLength: 30 }), (values) => {
        const image = imageFromPlanes(values.length, 1, { 'L.Combined.R': Float32Array.from(values) });
        const passes = comparedPasses(image);
        const { meanSquare, nonFiniteValues, ...looked } = matchPixels(passes, passes, [0.05]);
        const found = compareCrops(image, { ...image, data: image.data.slice() });
        expect(found).toMatchObject({ ...looked, decidedBy: 'digest', rmse: Math.sqrt(meanSquare) });
        expect(nonFiniteValues).toBe(0);
      }),
    );
  });

  it('uses the floor in the dark and the value in the light', () => {
    const dark = imageFromPlanes(2, 2, {
      'L.Combined.R': Float32Array.of(1, 1, 1, 0),
      'L.Combined.G': Float32Array.of(1, 1, 1, 0),
      'L.Combined.B': Float32Array.of(1, 1, 1, 0),
    });
    // floor = 0.05 * 1 + 1e-4, so the black pixel may move by 5.01e-5.
    const moved = (by: number): number | null =>
      compareCrops(
        dark,
        edit(dark, (value, pixel) => (pixel === 3 ? by : value)),
      ).mismatchedPixels;
    expect([5e-5, 5.02e-5].map(moved)).toEqual([0, 1]);
  });

  it('median is the lower one of the sorted values', () => {
    fc.assert(
      fc.property(
        fc.array(fc.float({ min: 0, noNaN: true, noDefaultInfinity: true }), { minLength: 1, maxLength: 50 }),
        (values) => {
          const luma = Float32Array.from(values, (value) => value + 0);
          const sorted = luma.toSorted();
          expect(medianLuma(luma)).toBe(sorted[Math.floor((sorted.length - 1) / 2)]);
        },
      ),
    );
  });

  it('R reads as the share of the samples that is missing', () => {
    const first = render({ seed: 11, samples: 32 });
    const second = render({ seed: 12, samples: 32 });
    const whole = meanOfHalves(first, second);
    const noiseVariance = noiseVarianceOfHalves(first, second);
    // The first half alone: variance of the difference is that of half the samples left out, which is R = 1.
    expect(compareCrops(whole, first, { noiseVariance }).noiseRatio).toBeCloseTo(1, 5);
    expect(compareCrops(whole, render({ seed: 13 }), { noiseVariance }).noiseRatio).toBeCloseTo(2, 0);
    expect(compareCrops(whole, first).noiseRatio).toBeNull();
  });

  it('R is not asked for where the reference has next to no noise: its rounding is not a theft', () => {
    const thresholds = THRESHOLDS.otherCpuClass;
    const rounded = edit(reference, (value) => value * (1 + 1e-6));
    for (const noiseVariance of [0, 1e-13]) {
      const found = compareCrops(reference, rounded, { thresholds, noiseVariance });
      expect(found).toMatchObject({ outcome: 'pass', decidedBy: 'pixelMatch', noiseRatio: null });
    }
    const fake = compareCrops(reference, render({ samples: 58 }), { thresholds, noiseVariance: 0 });
    expect(fake.outcome).toBe('fail');
  });

  it('halves of two pictures have no mean', () => {
    const [wide, narrow] = [render({ side: 16 }), render({ side: 12 })];
    const other = { ...wide, channels: wide.channels.map((name) => `Other.${name}`) };
    for (const second of [narrow, other])
      expect(() => meanOfHalves(wide, second)).toThrow(expect.objectContaining({ code: 'MESSAGE_INVALID' }));
    expect(meanOfHalves(wide, wide)).toEqual(wide);
  });

  it('across classes passes only with a small known R', () => {
    const noiseVariance = noiseVarianceOfHalves(
      render({ seed: 1, samples: 32 }),
      render({ seed: 2, samples: 32 }),
    );
    const thresholds = THRESHOLDS.otherCpuClass;
    const honest = spoil(reference, Math.round(0.012 * SIDE * SIDE), 0.01);
    expect(compareCrops(reference, honest, { thresholds, noiseVariance }).outcome).toBe('pass');
    expect(compareCrops(reference, honest, { thresholds })).toMatchObject({
      outcome: 'inconclusive',
      decidedBy: 'noiseRatio',
    });
    const bright = spoil(reference, Math.round(0.012 * SIDE * SIDE), 1);
    expect(compareCrops(reference, bright, { thresholds, noiseVariance }).outcome).toBe('inconclusive');
    expect(compareCrops(reference, render({ samples: 58 }), { thresholds, noiseVariance }).outcome).toBe(
      'fail',
    );
  });

  it('looks at every view layer, each with its own floor', () => {
    const two = (scale: number): PixelImage =>
      imageFromPlanes(8, 8, {
        'A.Combined.R': new Float32Array(64).fill(100),
        'A.Combined.G': new Float32Array(64).fill(100),
        'A.Combined.B': new Float32Array(64).fill(100),
        'B.Combined.R': new Float32Array(64).fill(0.01 * scale),
        'B.Combined.G': new Float32Array(64).fill(0.01 * scale),
        'B.Combined.B': new Float32Array(64).fill(0.01 * scale),
      });
    expect(compareCrops(two(1), two(1.01))).toMatchObject({ outcome: 'fail', decidedBy: 'pixelMatch' });
  });

  it('without any Combined pass compares all channels', () => {
    const depth = (scale: number): PixelImage =>
      imageFromPlanes(8, 8, { 'L.Depth.Z': Float32Array.from({ length: 64 }, (_, i) => (3 + i) * scale) });
    expect(compareCrops(depth(1), depth(1.0001)).outcome).toBe('pass');
    expect(compareCrops(depth(1), depth(1.01)).outcome).toBe('fail');
  });
});
