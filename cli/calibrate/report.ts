/** What a calibration found: the object that is written, and that the table and the plot show. Pure. */
import { type CompareThresholds, THRESHOLDS, thresholdsFor } from '../../proof/thresholds.ts';
import type { Outcome, ThresholdsName } from '../../protocol/verdict.ts';
import type { MeasuredCrop } from './compare-pair.ts';
import type { ClassName, Pair } from './pairs.ts';
import { type Proposal, proposeLimits, QUANTILE, quantile } from './propose.ts';

type Limits = Pick<CompareThresholds, 'passFraction' | 'failFraction' | 'noiseRatioLimit'>;

export type PairReport = Pair & {
  crops: number;
  pixelMatchFraction: { lowest: number; low: number; median: number };
  /** Of the crops whose reference has noise; null where there is none. */
  noiseRatio: { median: number; high: number; highest: number } | null;
  /** By the limits in force, or where there are none by those of two CPUs. */
  outcomes: Record<Outcome, number>;
  current: ({ name: ThresholdsName } & Limits) | null;
  proposed: Proposal;
  measured: readonly MeasuredCrop[];
};

export type Calibration = {
  version: 1;
  /** ISO 8601. */
  at: string;
  machine: Record<string, string | number>;
  scenes: readonly { name: string; samples: number; crops: number }[];
  classes: readonly ClassName[];
  derivation: readonly string[];
  pairs: readonly PairReport[];
};

/** One row. `low` and `high` are the 99 % quantile, from the side that matters. */
export function reportPair(pair: Pair, measured: readonly MeasuredCrop[]): PairReport {
  const matches = measured.map((crop) => crop.pixelMatchFraction);
  const differing = matches.map((match) => 1 - match);
  const ratios = measured.flatMap(({ noiseRatio }) => (noiseRatio === null ? [] : [noiseRatio]));
  const name = thresholdsFor(pair.claim, pair.reference);
  const count = (outcome: Outcome): number => measured.filter((crop) => crop.outcome === outcome).length;
  return {
    claim: pair.claim,
    reference: pair.reference,
    crops: measured.length,
    pixelMatchFraction: {
      lowest: 1 - quantile(differing, 1),
      low: 1 - quantile(differing, QUANTILE),
      median: 1 - quantile(differing, 0.5),
    },
    noiseRatio:
      ratios.length === 0
        ? null
        : {
            median: quantile(ratios, 0.5),
            high: quantile(ratios, QUANTILE),
            highest: quantile(ratios, 1),
          },
    outcomes: { pass: count('pass'), inconclusive: count('inconclusive'), fail: count('fail') },
    current: name === null ? null : { name, ...limitsOf(THRESHOLDS[name]) },
    proposed: proposeLimits(measured),
    measured,
  };
}

function limitsOf({ passFraction, failFraction, noiseRatioLimit }: CompareThresholds): Limits {
  return { passFraction, failFraction, noiseRatioLimit };
}
