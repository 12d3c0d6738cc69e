/** A calibration as a person reads it. Pure. */
import type { ClassName } from './pairs.ts';
import type { Proposal } from './propose.ts';
import type { Calibration, PairReport } from './report.ts';

/** Enough to tell a crop of 128 x 128 with one differing pixel from one without. */
const MATCH_DECIMALS = 5;
/** Less is the rounding of floats. */
const NO_RATIO = 1e-6;

/** One table for each Blender, without the medians, which no limit hangs on; below them how the limits came about. */
export function calibrationLines({ pairs, derivation }: Calibration): string[] {
  const engines = [...new Set(pairs.map(({ claim }) => claim.version))];
  const tables = engines.flatMap((version) => {
    const rows = pairs.filter(({ claim }) => claim.version === version);
    const several = new Set(rows.map(({ claim }) => claim.engine)).size > 1;
    const cells = rows.map((row) => cellsOf(row, several));
    return [`Blender ${version}: honest crops`, ...aligned([HEAD, ...cells]), ''];
  });
  return [...tables, 'proposed limits', ...derivation.map((line) => `  ${line}`)];
}

const HEAD = [
  ...['claimed by', 'checked by', 'crops', 'lowest match', '1 %'],
  ...['R 99 %', 'highest', 'pass/unsure/fail'],
  ...['now pass, fail, R', 'proposed pass, fail, R'],
];

/** The first two are words, the rest is numbers. */
const WORD_COLUMNS = 2;

function cellsOf(pair: PairReport, tellEngines: boolean): string[] {
  const { crops, pixelMatchFraction: match, noiseRatio, outcomes, current, proposed } = pair;
  const ratios = [noiseRatio?.high, noiseRatio?.highest].map(ratioText);
  return [
    ...[pair.claim, pair.reference].map((one) => className(one, tellEngines)),
    String(crops),
    ...[match.lowest, match.low].map((one) => one.toFixed(MATCH_DECIMALS)),
    ...ratios,
    `${outcomes.pass}/${outcomes.inconclusive}/${outcomes.fail}`,
    current === null ? 'none yet' : limitsText(current),
    limitsText(proposed),
  ];
}

/** With its engine only where two engines of one Blender are side by side. */
function className({ engine, deviceClass }: ClassName, withEngine: boolean): string {
  return withEngine ? `${engine} ${deviceClass}` : deviceClass;
}

function limitsText({ passFraction, failFraction, noiseRatioLimit }: Proposal): string {
  return [passFraction, failFraction, noiseRatioLimit].map((one) => one ?? '-').join(', ');
}

function ratioText(ratio: number | undefined): string {
  if (ratio === undefined) return '-';
  return ratio < NO_RATIO ? '0' : ratio.toPrecision(2);
}

function aligned(rows: readonly (readonly string[])[]): string[] {
  const widths = HEAD.map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  return rows.map((row) =>
    row
      .map((cell, column) => {
        const width = widths[column] ?? 0;
        return column < WORD_COLUMNS ? cell.padEnd(width) : cell.padStart(width);
      })
      .join('  '),
  );
}
