import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { calibrationLines } from '../../cli/calibrate/calibrate-table.ts';
import { calibrationChart } from '../../cli/calibrate/calibration-chart.ts';
import { pairsOf } from '../../cli/calibrate/pairs.ts';
import { planCrops } from '../../cli/calibrate/plan-crops.ts';
import { proposeLimits, quantile } from '../../cli/calibrate/propose.ts';
import { type Calibration, reportPair } from '../../cli/calibrate/report.ts';
import { cropFor } from '../../proof/draw.ts';
import { THRESHOLDS, thresholdsFor } from '../../proof/thresholds.ts';
import type { Rect } from '../../protocol/rect.ts';

const classOf = (deviceClass: string, version = '3.4.1') => ({
  ...{ engine: `blender-${version}`, version, deviceClass },
});
const [AVX2, AVX] = [classOf('cpu-avx2'), classOf('cpu-avx')];
const NEWER = classOf('cpu-avx2', '4.3.2');

const inside = (inner: Rect, outer: Rect): boolean =>
  inner.x >= outer.x &&
  inner.y >= outer.y &&
  inner.x + inner.width <= outer.x + outer.width &&
  inner.y + inner.height <= outer.y + outer.height;

describe('the crops of a calibration', () => {
  const side = fc.integer({ min: 1, max: 5_000 });
  const scenes = fc.record({
    region: fc.record({ x: fc.nat(100), y: fc.nat(100), width: side, height: side }),
    frameStart: fc.integer({ min: -10, max: 10 }),
    frameEnd: fc.integer({ min: -10, max: 300 }),
    frameStep: fc.integer({ min: 1, max: 7 }),
  });

  it('are as many as were asked for, inside their tiles, of the size that a challenge draws', () => {
    fc.assert(
      fc.property(scenes, fc.integer({ min: 1, max: 60 }), (scene, count) => {
        const plan = planCrops(scene, count);
        const crops = plan.flatMap(({ rect, crops }) => crops.map((crop) => ({ rect, crop })));
        expect(crops).toHaveLength(count);
        for (const { rect, crop } of crops) {
          expect(inside(rect, scene.region)).toBe(true);
          expect(inside(crop, rect)).toBe(true);
          expect(crop).toMatchObject(cropFor(rect));
        }
        const frames = plan.map(({ frame }) => frame);
        expect(frames).toEqual(frames.toSorted((a, b) => a - b));
        for (const frame of frames) expect(Math.abs((frame - scene.frameStart) % scene.frameStep)).toBe(0);
        expect(planCrops(scene, count)).toEqual(plan);
      }),
      // Hundreds of hashes for each plan.
      { numRuns: 30 },
    );
  });

  it('lie in several tiles and frames, and apart from one another', () => {
    const region = { x: 0, y: 0, width: 480, height: 270 };
    const plan = planCrops({ region, frameStart: 1, frameEnd: 24, frameStep: 1 }, 24);
    expect(plan).toHaveLength(6);
    expect(new Set(plan.map(({ frame }) => frame)).size).toBeGreaterThan(1);
    const places = plan.flatMap(({ frame, crops }) => crops.map(({ x, y }) => `${frame} ${x} ${y}`));
    expect(new Set(places).size).toBe(24);
  });
});

describe('pairs of classes', () => {
  it('are each class with itself and with the others of its Blender, both ways, and no two Blenders', () => {
    const pairs = pairsOf([AVX2, AVX, NEWER]);
    expect(pairs).toEqual([
      { claim: AVX2, reference: AVX2 },
      { claim: AVX2, reference: AVX },
      { claim: AVX, reference: AVX2 },
      { claim: AVX, reference: AVX },
      { claim: NEWER, reference: NEWER },
    ]);
  });

  it('have the limits in force where there are any', () => {
    const gpu = classOf('optix-sm89');
    expect(thresholdsFor(AVX2, AVX2)).toBe('sameClass');
    expect(thresholdsFor(gpu, gpu)).toBe('sameClass');
    expect(thresholdsFor(AVX2, AVX)).toBe('otherCpuClass');
    expect(thresholdsFor(AVX2, { ...AVX2, engine: 'blender-3.4.1@x' })).toBeNull();
    expect(thresholdsFor(gpu, AVX2)).toBeNull();
  });
});

describe('a quantile', () => {
  const numbers = fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { minLength: 1, maxLength: 200 });
  const share = fc.double({ min: 0, max: 1, noNaN: true });

  it('is one of the values, the smallest that so many of them do not exceed', () => {
    fc.assert(
      fc.property(numbers, share, (values, q) => {
        const found = quantile(values, q);
        expect(values).toContain(found);
        const upTo = (limit: number): number => values.filter((value) => value <= limit).length;
        expect(upTo(found)).toBeGreaterThanOrEqual(q * values.length);
        const smaller = values.filter((value) => value < found);
        if (smaller.length > 0) expect(upTo(Math.max(...smaller))).toBeLessThan(q * values.length);
      }),
    );
  });

  it('of nothing is nothing', () => expect(quantile([], 0.5)).toBe(0));
});

describe('proposed limits', () => {
  const crop = fc.record({
    pixelMatchFraction: fc.double({ min: 0, max: 1, noNaN: true }),
    noiseRatio: fc.option(fc.double({ min: 0, max: 3, noNaN: true })),
  });

  it('pass 99 of 100 crops that they were made from, with room, and leave a gap for the unsure', () => {
    fc.assert(
      fc.property(fc.array(crop, { minLength: 1, maxLength: 300 }), (crops) => {
        const { passFraction, failFraction, noiseRatioLimit } = proposeLimits(crops);
        if (passFraction !== null && failFraction !== null) {
          expect(failFraction).toBeLessThan(passFraction);
          expect(failFraction).toBeGreaterThanOrEqual(0.6);
          expect(passFraction).toBeLessThanOrEqual(THRESHOLDS.sameClass.passFraction);
          const passing = crops.filter((one) => 1 - one.pixelMatchFraction <= (1 - passFraction) / 2 + 1e-9);
          expect(passing.length).toBeGreaterThanOrEqual(0.99 * crops.length);
        }
        if (noiseRatioLimit !== null) {
          expect(noiseRatioLimit).toBeLessThanOrEqual(0.04);
          const ratios = crops.flatMap(({ noiseRatio }) => (noiseRatio === null ? [] : [noiseRatio]));
          const passing = ratios.filter((ratio) => ratio <= noiseRatioLimit / 2 + 1e-9);
          expect(passing.length).toBeGreaterThanOrEqual(0.99 * ratios.length);
        }
      }),
    );
  });

  it('are those of one class where every crop is equal', () => {
    const equal = Array.from({ length: 50 }, () => ({ pixelMatchFraction: 1, noiseRatio: 0 }));
    const { passFraction, failFraction } = THRESHOLDS.sameClass;
    expect(proposeLimits(equal)).toEqual({ passFraction, failFraction, noiseRatioLimit: 0.01 });
  });

  it('follow what was measured', () => {
    const crops = [0.985, 0.99, 0.9999].map((pixelMatchFraction) => ({
      ...{ pixelMatchFraction, noiseRatio: 0.008 },
    }));
    expect(proposeLimits(crops)).toEqual({ passFraction: 0.97, failFraction: 0.7, noiseRatioLimit: 0.016 });
  });

  it('are none where honest crops are as far apart as fakes', () => {
    const far = [{ pixelMatchFraction: 0.7, noiseRatio: 0.03 }];
    const none = { passFraction: null, failFraction: null, noiseRatioLimit: null };
    expect(proposeLimits(far)).toEqual(none);
    expect(proposeLimits([])).toEqual(none);
  });
});

describe('a calibration as people see it', () => {
  const measured = [0.99, 0.995, 1].map((pixelMatchFraction, index) => ({
    ...{ scene: 'still', frame: 1, crop: { x: index, y: 0, width: 40, height: 40 } },
    ...{ pixelMatchFraction, noiseRatio: index === 2 ? null : 0.004, noiseVariance: 1e-6 },
    ...{
      reference: 'halves' as const,
      perceptualHashDistance: 0,
      outcome: 'pass' as const,
      decidedBy: 'pixelMatch' as const,
    },
  }));
  const gpu = classOf('optix-sm89');
  const calibration: Calibration = {
    ...{ version: 1, at: '2026-01-02T03:04:05.000Z', machine: { cores: 2 } },
    scenes: [{ name: 'still', samples: 16, crops: 3 }],
    classes: [AVX2, AVX, gpu],
    derivation: ['because'],
    pairs: [
      reportPair({ claim: AVX2, reference: AVX }, measured),
      reportPair({ claim: gpu, reference: AVX2 }, measured),
    ],
  };

  it('has a row for each pair, its limits beside those in force, and how they came about', () => {
    const lines = calibrationLines(calibration);
    expect(lines[0]).toBe('Blender 3.4.1: honest crops');
    expect(lines[2]).toMatch(
      /^cpu-avx2 +cpu-avx +3 +0\.99000 .* 3\/0\/0 +0\.98, 0\.9, 0\.02 +0\.98, 0\.8, 0\.01$/,
    );
    expect(lines[3]).toMatch(/^optix-sm89 +cpu-avx2 .* none yet /);
    expect(lines.at(-1)).toBe('  because');
    expect(new Set(lines.slice(1, 4).map((line) => line.length)).size).toBe(1);
  });

  it('is a plot with every crop and both kinds of limits', () => {
    const { rows, axes } = calibrationChart(calibration);
    expect(axes).toHaveLength(2);
    expect(rows.map(({ label }) => label)).toEqual([
      'cpu-avx2 checked by cpu-avx',
      'optix-sm89 checked by cpu-avx2',
    ]);
    const [match, ratio] = rows[0]?.strips ?? [];
    expect(match?.values).toHaveLength(3);
    expect(ratio?.values).toEqual([0.004, 0.004]);
    expect(match?.marks.map(({ kind, label }) => `${kind} ${label}`)).toEqual([
      'now pass',
      'now fail',
      'proposed pass',
      'proposed fail',
    ]);
    expect(rows[1]?.strips[0]?.marks.filter(({ kind, at }) => kind === 'now' && at !== null)).toEqual([]);
  });
});
