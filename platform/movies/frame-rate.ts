/** Frame rates as exact fractions. Pure. */
import { FarmError } from '../../protocol/errors.ts';
import type { FrameRate } from '../../protocol/job.ts';

/** Blender keeps the base as a 32-bit float: what it holds is within this relative distance of what was typed. */
const FLOAT32_ROUNDING = 2 ** -24;
/** Faster than any camera or screen; more is a slip of the keyboard. */
const MAX_PER_SECOND = 1_000;
/** ffmpeg's fractions are 32 bits wide. */
const MAX_TERM = 2 ** 31 - 1;

/** What people write for the rates of television, which are thousand and first parts. */
const TELEVISION = new Map([
  ['23.976', 24_000],
  ['23.98', 24_000],
  ['29.97', 30_000],
  ['47.952', 48_000],
  ['59.94', 60_000],
  ['119.88', 120_000],
]);

/**
 * The rate that was meant by Blender's two numbers: 24 and 1.0010000467300415 are 24000/1001. The base is the simplest
 * fraction that rounds to the float that Blender has.
 */
export function exactFrameRate(scene: { fps: number; base: number }): FrameRate {
  const { base } = scene;
  const margin = base * FLOAT32_ROUNDING;
  const { numerator, denominator } = simplestBetween(base - margin, base + margin);
  return reduced(scene.fps * denominator, numerator);
}

/** `24`, `12.5`, `23.976` or `24000/1001`. Throws USAGE. */
export function parseFrameRate(text: string): FrameRate {
  const fraction = /^(\d{1,9})\/(\d{1,9})$/.exec(text);
  const decimal = /^(\d{1,4})(?:\.(\d{1,5}))?$/.exec(text);
  const television = TELEVISION.get(text);
  let terms: [number, number] = [0, 0];
  if (television !== undefined) terms = [television, 1_001];
  else if (fraction !== null) terms = [Number(fraction[1]), Number(fraction[2])];
  else if (decimal !== null) {
    const digits = decimal[2] ?? '';
    terms = [Number(`${decimal[1]}${digits}`), 10 ** digits.length];
  }
  const [numerator, denominator] = terms;
  if (numerator < 1 || denominator < 1 || numerator > MAX_PER_SECOND * denominator) {
    throw new FarmError(
      'USAGE',
      `--fps ${text}: frames per second such as 24, 23.976 or 24000/1001, up to ${MAX_PER_SECOND}`,
    );
  }
  return reduced(numerator, denominator);
}

/** As ffmpeg and people write it: `24`, `24000/1001`. */
export function rateText({ numerator, denominator }: FrameRate): string {
  return denominator === 1 ? String(numerator) : `${numerator}/${denominator}`;
}

/** When frame number `index` of a movie begins, in whole microseconds. */
export function startMicroseconds(index: number, { numerator, denominator }: FrameRate): number {
  const rate = BigInt(numerator);
  return Number((BigInt(index) * BigInt(denominator) * 1_000_000n + rate / 2n) / rate);
}

/** The fraction with the smallest terms in an interval of positive numbers (a walk down the Stern-Brocot tree). */
function simplestBetween(low: number, high: number): FrameRate {
  const whole = Math.floor(low);
  if (whole === low) return { numerator: Math.max(1, whole), denominator: 1 };
  if (whole + 1 <= high) return { numerator: whole + 1, denominator: 1 };
  const rest = simplestBetween(1 / (high - whole), 1 / (low - whole));
  return { numerator: whole * rest.numerator + rest.denominator, denominator: rest.numerator };
}

function reduced(numerator: number, denominator: number): FrameRate {
  const common = commonDivisor(numerator, denominator);
  const [above, below] = [numerator / common, denominator / common];
  if (above <= MAX_TERM && below <= MAX_TERM) return { numerator: above, denominator: below };
  // Only a base that nobody typed has such terms; what is lost here is far less than one frame in a day.
  const rate = above / below;
  const scale = rate < 1 ? MAX_TERM : Math.max(1, Math.floor(MAX_TERM / rate));
  const rounded = Math.min(MAX_TERM, Math.max(1, Math.round(rate * scale)));
  const divisor = commonDivisor(rounded, scale);
  return { numerator: rounded / divisor, denominator: scale / divisor };
}

function commonDivisor(a: number, b: number): number {
  return b === 0 ? a : commonDivisor(b, a % b);
}
