/** The other options of `tessera render`. Pure. */
import { FarmError } from '../../protocol/errors.ts';
import type { TileGrid } from '../../protocol/job.ts';

const kept = 'nothing was submitted';

/** `4x4` or `auto`. */
export function parseTiles(text: string): TileGrid | 'auto' {
  if (text === 'auto') return 'auto';
  const match = /^(\d{1,4})x(\d{1,4})$/.exec(text);
  const columns = Number(match?.[1]);
  const rows = Number(match?.[2]);
  if (match === null || columns < 1 || rows < 1 || columns > 64 || rows > 64) {
    throw new FarmError(
      'TILES_INVALID',
      `"${text}" is not a grid of tiles: columns and rows go from 1 to 64`,
      { kept },
    );
  }
  return { columns, rows };
}

export function parseSamples(text: string): number {
  const samples = Number(text);
  if (!/^\d+$/.test(text) || samples < 1 || samples > 65_536) {
    throw new FarmError('SAMPLES_INVALID', `"${text}" samples: it takes a whole number from 1 to 65536`, {
      kept,
    });
  }
  return samples;
}

/** Token amounts with up to six decimals, as people write them. */
export function parseBudget(text: string): bigint {
  const match = /^(\d{1,20})(?:\.(\d{1,6}))?$/.exec(text);
  if (match === null)
    throw new FarmError('USAGE', `--budget ${text}: an amount of TESS such as 2.5`, { kept });
  return BigInt(match[1] ?? '0') * 1_000_000n + BigInt((match[2] ?? '').padEnd(6, '0'));
}

/** The smallest unit as people read it: 1327000 is 1.327. */
export function formatTokens(amount: bigint): string {
  const whole = amount / 1_000_000n;
  const rest = (amount % 1_000_000n)
    .toString()
    .padStart(6, '0')
    .replace(/0{0,3}$/, '');
  return `${whole}.${rest}`;
}
