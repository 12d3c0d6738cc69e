import { describe, expect, it } from 'vitest';
import { comparePictures, type Rgba8 } from '../../proof/compare-pictures.ts';
import { heatColor, heatMap } from '../../proof/difference-map.ts';
import { crop } from '../../proof/pixels.ts';
import { isFarmError } from '../../protocol/errors.ts';
import { edit, hashed, render } from './synthetic.ts';

const SIDE = 50;
const VALUES = SIDE * SIDE * 4;
const picture = (value: (i: number) => number): Rgba8 => ({
  width: SIDE,
  height: SIDE,
  data: Uint8Array.from({ length: VALUES }, (_, i) => value(i)),
});
const base = (i: number): number => 20 + Math.floor(200 * hashed(i, 0, 0, 0));
const delivered = picture(base);

describe('two finished pictures', () => {
  it('pass when equal', () => {
    expect(comparePictures(delivered, picture(base))).toMatchObject({
      outcome: 'pass',
      values: VALUES,
      differingValues: 0,
      maxDifference: 0,
    });
  });

  it('pass when 1.3 % of the values flipped by one step', () => {
    const flipped = picture((i) => base(i) + (hashed(i, 1, 0, 0) < 0.013 ? 1 : 0));
    expect(comparePictures(delivered, flipped)).toMatchObject({
      outcome: 'pass',
      maxDifference: 1,
      beyondOne: 0,
    });
  });

  it('do not pass when every value moved by one step', () => {
    expect(
      comparePictures(
        delivered,
        picture((i) => base(i) + 1),
      ).outcome,
    ).toBe('inconclusive');
  });

  it('fail when more than 2 % moved further, or the size is another', () => {
    const edited = picture((i) => base(i) + (i < 0.03 * VALUES ? 9 : 0));
    expect(comparePictures(delivered, edited)).toMatchObject({ outcome: 'fail', maxDifference: 9 });
    const smaller = { width: SIDE, height: SIDE - 1, data: delivered.data.slice(0, VALUES - SIDE * 4) };
    expect(comparePictures(delivered, smaller)).toMatchObject({ outcome: 'fail', values: null });
    expect(comparePictures(delivered, { ...delivered, data: new Uint8Array(3) }).outcome).toBe('fail');
  });
});

describe('heat map', () => {
  const luminance = ([r, g, b]: readonly number[]): number =>
    0.2126 * ((r ?? 0) / 255) ** 2.2 + 0.7152 * ((g ?? 0) / 255) ** 2.2 + 0.0722 * ((b ?? 0) / 255) ** 2.2;

  it('gets lighter with every larger error, so it reads without colour', () => {
    const errors = Array.from({ length: 40 }, (_, i) => 10 ** (-4 + (i + 1) / 10));
    const light = errors.map((error) => luminance(heatColor(error)));
    for (let i = 1; i < light.length; i++) expect(light[i]).toBeGreaterThan(light[i - 1] as number);
    expect(heatColor(Number.POSITIVE_INFINITY)).toEqual(heatColor(1));
    expect(heatColor(0)).toEqual(heatColor(1e-5));
  });

  it('is dark where pixels agree and light where they do not', () => {
    const reference = render({ side: 16 });
    const claim = edit(reference, (value, pixel) =>
      pixel === 37 ? value * 3 : pixel === 38 ? Number.NaN : value,
    );
    const { width, height, rgba } = heatMap(reference, claim);
    expect([width, height, rgba.length]).toEqual([16, 16, 16 * 16 * 4]);
    const at = (pixel: number): number[] => [...rgba.subarray(pixel * 4, pixel * 4 + 4)];
    expect(at(36)).toEqual([0, 0, 4, 255]);
    expect(luminance(at(37))).toBeGreaterThan(0.3);
    expect(at(38)).toEqual([252, 255, 164, 255]);
  });

  it('refuses images that cannot be laid side by side', () => {
    const reference = render({ side: 16 });
    try {
      heatMap(reference, crop(reference, { x: 0, y: 0, width: 8, height: 8 }));
      expect.unreachable();
    } catch (error) {
      expect(isFarmError(error, 'MESSAGE_INVALID')).toBe(true);
    }
  });
});
