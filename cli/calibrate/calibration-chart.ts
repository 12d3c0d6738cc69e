/** The plot of a calibration: for each pair a strip of its crops' differing pixels, and one of their R. Pure. */
import type { StripChart, StripRow } from '../../platform/looks/strip-chart.ts';
import type { Calibration, PairReport } from './report.ts';

/** One pixel of the largest crop is 6e-5 of it. */
const DIFFERING_FROM = -5;
/** Below it floats are rounded; above ten another picture begins. */
const RATIO_RANGE = { from: -6, to: 1 } as const;
/** 0.001 % is still read at a glance. */
const PERCENT_DECIMALS = 3;

export function calibrationChart({ pairs, scenes, machine, at }: Calibration): StripChart {
  const names = scenes.map(({ name }) => name).join(', ');
  return {
    title: 'Honest crops: how far another session, or another device class, is from the claim',
    facts: [names, `${machine['cores']} cores`, at.slice(0, 'yyyy-mm-dd'.length)].join('  ·  '),
    axes: [
      {
        title: 'share of a crop’s pixels that differ (1 - PMF)',
        ...{ from: DIFFERING_FROM, to: 0 },
        label: (value) => `${Number((100 * value).toFixed(PERCENT_DECIMALS))} %`,
      },
      {
        title: 'R: squared difference over the reference’s own noise',
        ...RATIO_RANGE,
        label: (value) => String(Number(value.toPrecision(1))),
      },
    ],
    legend: { now: 'limits in force', proposed: 'limits proposed from these crops' },
    rows: pairs.map(rowOf),
  };
}

function rowOf(pair: PairReport): StripRow {
  const { claim, reference, measured, current, proposed } = pair;
  const rest = (fraction: number | null | undefined): number | null =>
    fraction === null || fraction === undefined ? null : 1 - fraction;
  const engines = [...new Set([claim.engine, reference.engine])];
  const kinds = [
    { kind: 'now', limits: current },
    { kind: 'proposed', limits: proposed },
  ] as const;
  return {
    label: `${claim.deviceClass} checked by ${reference.deviceClass}`,
    note: `${engines.join(' by ')}, ${pair.crops} crops`,
    strips: [
      {
        values: measured.map((crop) => 1 - crop.pixelMatchFraction),
        marks: kinds.flatMap(({ kind, limits }) => [
          { kind, label: 'pass', at: rest(limits?.passFraction) },
          { kind, label: 'fail', at: rest(limits?.failFraction) },
        ]),
      },
      {
        values: measured.flatMap(({ noiseRatio }) => (noiseRatio === null ? [] : [noiseRatio])),
        marks: kinds.map(({ kind, limits }) => ({
          kind,
          label: 'pass',
          at: limits?.noiseRatioLimit ?? null,
        })),
      },
    ],
  };
}
