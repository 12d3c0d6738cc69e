/** Batches drawn by the real draw, against the formulas that the farm's policy rests on (proof/policy.ts). */
import { drawChallenge } from '../../proof/draw.ts';
import {
  checkProbability,
  detectionProbability,
  expectedGain,
  hypergeometricDetection,
  RECEIPTS_PER_CHALLENGE,
} from '../../proof/policy.ts';
import type { Bytes32 } from '../../protocol/ids.ts';
import type { Row } from '../lib/report.ts';

export const BATCHES = 10_000;

/** Tiles in a batch that is full. */
const TILES = 64;
/** 1 of 64, a tenth, half, all. */
const FAKED = [1, 6, 32, 64] as const;
/** Chance that one crop of a faked tile shows it: as measured for the sample still at a quarter of the samples, and what the policy assumes. */
const SENSITIVITIES = [0.75, 0.99] as const;

/** What a node wins and loses on one batch, in units: it saves three quarters of what a tile costs to render. */
const STAKES = { tiles: TILES, price: 1_000n, saving: 600n, stake: 60_000n, reputationValue: 0n };

/** Standard errors that a mean of {@link BATCHES} batches may be off: once in 15,000 it is by chance. */
const ERRORS_ALLOWED = 4;

/** A small generator with a known period, so that the printed figures can be had again (mulberry32, public domain). */
function generator(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Returns the largest deviation in standard errors, over that many that are allowed: at most 1 is agreement. */
export function monteCarlo(rows: Row[]): number {
  const random = generator(2_026);
  const rect = { x: 0, y: 0, width: 120, height: 68 };
  const receipts = Array.from({ length: TILES }, () => ({ rect, kind: 'render' as const }));
  let worst = 0;
  // One draw serves every share of fakes: which tiles are faked is fixed before the seed, so it may be the first ones.
  const draws = Array.from({ length: BATCHES }, () => {
    const words = Array.from({ length: 8 }, () =>
      Math.floor(random() * 2 ** 32)
        .toString(16)
        .padStart(8, '0'),
    );
    const seed = `0x${words.join('')}` as Bytes32;
    return drawChallenge({ seed, count: TILES, receipts, challengeCount: RECEIPTS_PER_CHALLENGE }).map(
      ({ index }) => index,
    );
  });
  for (const sensitivity of SENSITIVITIES) {
    const q = checkProbability(STAKES, detectionProbability(sensitivity, RECEIPTS_PER_CHALLENGE));
    for (const faked of FAKED) {
      const formula = hypergeometricDetection({
        ...{ tiles: TILES, faked, challengeCount: RECEIPTS_PER_CHALLENGE, sensitivity },
      });
      let caught = 0;
      let gained = 0;
      let squares = 0;
      const lost = Number(BigInt(TILES) * STAKES.price + STAKES.stake);
      for (const drawn of draws) {
        const shown = drawn.some((index) => index < faked && random() < sensitivity);
        if (shown) caught += 1;
        const gain = faked * Number(STAKES.saving) - (shown && random() < q ? lost : 0);
        gained += gain;
        squares += gain * gain;
      }
      const measured = caught / BATCHES;
      const error = Math.sqrt((formula * (1 - formula)) / BATCHES);
      const mean = gained / BATCHES;
      const gainError = Math.sqrt((squares / BATCHES - mean * mean) / BATCHES);
      const expected = expectedGain(STAKES, {
        fakedShare: faked / TILES,
        checkProbability: q,
        detection: formula,
      });
      worst = Math.max(worst, off(measured - formula, error), off(mean - expected, gainError));
      rows.push({
        'one crop shows a fake': sensitivity,
        'faked tiles of 64': String(faked),
        'caught, formula': formula,
        'caught, drawn': `${measured.toFixed(4)} +- ${error.toFixed(4)}`,
        'batches checked': q,
        'gain, formula': Math.round(expected),
        'gain, drawn': `${Math.round(mean)} +- ${Math.round(gainError)}`,
      });
    }
  }
  return worst;
}

function off(deviation: number, error: number): number {
  // Certain, by formula: then any deviation is one too many.
  if (error === 0) return Math.abs(deviation) < 1e-9 ? 0 : Number.POSITIVE_INFINITY;
  return Math.abs(deviation) / error / ERRORS_ALLOWED;
}
