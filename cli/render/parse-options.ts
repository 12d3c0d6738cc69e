/** The other options of `tessera render`. Pure. */
import { FarmError } from '../../protocol/errors.ts';
import { accountSchema, type JobRequest, type TileGrid } from '../../protocol/job.ts';

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

export function parseBudget(text: string): bigint {
  return parseAmount('--budget', text);
}

/** Token amounts with up to six decimals, as people write them. */
export function parseAmount(option: string, text: string): bigint {
  const match = /^(\d{1,20})(?:\.(\d{1,6}))?$/.exec(text);
  if (match === null)
    throw new FarmError('USAGE', `${option} ${text}: an amount of TESS such as 2.5`, { kept });
  return BigInt(match[1] ?? '0') * 1_000_000n + BigInt((match[2] ?? '').padEnd(6, '0'));
}

/** More than anybody puts on one appeal, and a number that JSON holds to the unit. */
const MOST_APPEAL_BOND = 1_000_000_000n * 1_000_000n;

/** In units of the token. */
export function parseAppealBond(text: string): number {
  const amount = parseAmount('--appeal-bond', text);
  if (amount > MOST_APPEAL_BOND)
    throw new FarmError('USAGE', `--appeal-bond ${text}: at most a billion TESS`, {
      kept: 'nothing was started',
    });
  return Number(amount);
}

/** How a job shares the farm with others. */
export function parseSharing(options: {
  priority?: string;
  account?: string;
  maxNodes?: string;
  pool?: string;
  previewFirst?: boolean;
}): Pick<JobRequest, 'priority' | 'account' | 'maxNodes' | 'pool' | 'previewFirst'> {
  const { priority, account, maxNodes, pool, previewFirst } = options;
  return {
    ...(priority === undefined ? {} : { priority: wholeNumber('--priority', priority, 100) }),
    ...(maxNodes === undefined ? {} : { maxNodes: wholeNumber('--max-nodes', maxNodes, 1_000_000) }),
    ...(account === undefined ? {} : { account: nameOf('--account', account) }),
    ...(pool === undefined ? {} : { pool: nameOf('--pool', pool) }),
    ...(previewFirst === undefined ? {} : { previewFirst }),
  };
}

function wholeNumber(option: string, text: string, most: number): number {
  const value = Number(text);
  if (/^\d+$/.test(text) && value >= 1 && value <= most) return value;
  throw new FarmError('USAGE', `${option} ${text}: a whole number from 1 to ${most}`, { kept });
}

/** A name of an account or a pool. */
export function nameOf(option: string, text: string): string {
  const name = accountSchema.safeParse(text);
  if (name.success) return name.data;
  throw new FarmError('USAGE', `${option} ${text}: a letter, then letters, digits and dashes, 32 at most`, {
    kept,
  });
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
