import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  type BatchStakes,
  CHECK_POLICY,
  checkProbability,
  detectionProbability,
  expectedGain,
  hypergeometricDetection,
} from '../../proof/policy.ts';

describe('detection', () => {
  it('gives the figures of the anchor page for 64 tiles', () => {
    const p = (share: number, challengeCount: number): number =>
      hypergeometricDetection({ tiles: 64, faked: Math.round(64 * share), challengeCount });
    expect(p(0.05, 2)).toBeCloseTo(0.092, 3);
    expect(p(0.05, 8)).toBeCloseTo(0.335, 3);
    expect(p(0.25, 5)).toBeCloseTo(0.775, 3);
    expect(p(0.5, 3)).toBeCloseTo(0.881, 3);
    expect(p(1, 1)).toBe(1);
    expect(p(0, 9)).toBeCloseTo(0, 12);
  });

  it('with everything faked, a fallible comparison is the binomial formula', () => {
    for (const k of [0, 1, 2, 7]) {
      expect(
        hypergeometricDetection({ tiles: 64, faked: 64, challengeCount: k, sensitivity: 0.6 }),
      ).toBeCloseTo(detectionProbability(0.6, k), 12);
    }
  });

  it('is a probability that grows with every draw and every fake', () => {
    const count = fc.integer({ min: 0, max: 40 });
    fc.assert(
      fc.property(count, count, count, (a, b, k) => {
        const tiles = Math.max(a, b, 1);
        const faked = Math.min(a, b);
        const p = hypergeometricDetection({ tiles, faked, challengeCount: k, sensitivity: 0.9 });
        expect(p).toBeGreaterThanOrEqual(-1e-12);
        expect(p).toBeLessThanOrEqual(1 + 1e-12);
        const more = hypergeometricDetection({ tiles, faked, challengeCount: k + 1, sensitivity: 0.9 });
        expect(more).toBeGreaterThanOrEqual(p - 1e-12);
      }),
    );
  });

  it('refuses what is no probability or no count', () => {
    expect(() => detectionProbability(1.5, 1)).toThrow();
    expect(() => detectionProbability(Number.NaN, 1)).toThrow();
    expect(() => hypergeometricDetection({ tiles: 4, faked: 5, challengeCount: 1 })).toThrow();
  });
});

describe('how often to check', () => {
  const cost = 1_000_000n;
  const stakes = (stake: bigint, reputationValue = 0n): BatchStakes => ({
    tiles: 64,
    price: (cost * 13n) / 10n,
    saving: cost,
    stake,
    reputationValue,
  });

  it('reproduces the break-even stakes of the anchor page', () => {
    // price 1.3 c, saving c, b = 0.99, k = 1: q = 0.1 breaks even at a stake of 8.8 batches' cost.
    const batchCost = 64n * cost;
    const q = checkProbability(stakes((batchCost * 88n) / 10n), 0.99, { margin: 0, minimum: 0 });
    expect(q).toBeCloseTo(0.1, 3);
  });

  it('always checks a node without stake, and one that nothing would be taken from', () => {
    expect(checkProbability(stakes(0n, 10n ** 12n), 0.99)).toBe(1);
    expect(checkProbability(stakes(1n), 0)).toBe(1);
  });

  it('stays between its bounds, and makes faking any share lose money', () => {
    const amount = fc.bigInt({ min: 1n, max: 10n ** 14n });
    fc.assert(
      fc.property(amount, amount, fc.integer({ min: 1, max: 64 }), (stake, reputationValue, faked) => {
        const batch = stakes(stake, reputationValue);
        const { challengeCount, sensitivity } = CHECK_POLICY;
        const q = checkProbability(batch, detectionProbability(sensitivity, challengeCount));
        expect(q).toBeGreaterThanOrEqual(CHECK_POLICY.minimum);
        expect(q).toBeLessThanOrEqual(1);
        const detection = hypergeometricDetection({ tiles: 64, faked, challengeCount, sensitivity });
        const gain = expectedGain(batch, { fakedShare: faked / 64, checkProbability: q, detection });
        expect(gain).toBeLessThan(0);
      }),
    );
  });

  it('an honest node gains nothing and loses nothing', () => {
    const gain = expectedGain(stakes(5n), { fakedShare: 0, checkProbability: 1, detection: 0 });
    expect(gain).toBe(0);
  });
});
