import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseFrames } from '../../cli/render/parse-frames.ts';
import {
  formatTokens,
  parseAppealBond,
  parseBudget,
  parseSamples,
  parseTiles,
} from '../../cli/render/parse-options.ts';
import { FarmError } from '../../protocol/errors.ts';
import { jobRequestSchema } from '../../protocol/job.ts';

function refusal(work: () => unknown): FarmError {
  try {
    work();
  } catch (error) {
    if (error instanceof FarmError) return error;
    throw error;
  }
  throw new Error('nothing was refused');
}

const range = (first: number, last: number, step = 1): number[] => {
  const frames: number[] = [];
  for (let frame = first; frame <= last; frame += step) frames.push(frame);
  return frames;
};

describe('frames', () => {
  it.each<[string, number[]]>([
    ['7', [7]],
    ['0', [0]],
    ['1-5', [1, 2, 3, 4, 5]],
    ['5-5', [5]],
    ['1,5,9', [1, 5, 9]],
    ['9,1,5', [9, 1, 5]],
    ['1-100x10', range(1, 100, 10)],
    ['1-4x100', [1]],
    ['-5', [-5]],
    ['-5--3', [-5, -4, -3]],
    ['-1-1', [-1, 0, 1]],
    [' 1 , 2-3 ', [1, 2, 3]],
    ['1-4,2-6', [1, 2, 3, 4, 5, 6]],
    ['-0', [0]],
    ['007', [7]],
  ])('%j are %j', (text, frames) => {
    expect(parseFrames(text)).toEqual(frames);
  });

  it.each([
    '',
    ' ',
    ',',
    '1,',
    ',1',
    '1,,2',
    'a',
    '1-',
    '-',
    '--1',
    '1-2-3',
    '1..5',
    '5-1',
    '1-10x0',
    '1-10x',
    '5x2',
    '1.5',
    '1e3',
    '0x10',
    '１',
    '1;2',
    '1-99999999',
    '1-100001',
    '1 2',
  ])('%j are refused and nothing is submitted', (text) => {
    expect(refusal(() => parseFrames(text))).toMatchObject({
      code: 'FRAMES_INVALID',
      kept: 'nothing was submitted',
    });
  });

  it('name the part that is wrong', () => {
    expect(refusal(() => parseFrames('1-5,9-7')).message).toContain('9-7');
    expect(refusal(() => parseFrames('1-5,six')).message).toContain('"six"');
  });

  it('come out as they were put together, each once, in order', () => {
    const part = fc.record({
      first: fc.integer({ min: -500, max: 500 }),
      length: fc.integer({ min: 0, max: 50 }),
      step: fc.integer({ min: 1, max: 9 }),
    });
    fc.assert(
      fc.property(fc.array(part, { minLength: 1, maxLength: 5 }), (parts) => {
        const text = parts.map(({ first, length, step }) => `${first}-${first + length}x${step}`).join(',');
        const expected = new Set(
          parts.flatMap(({ first, length, step }) => range(first, first + length, step)),
        );
        expect(parseFrames(text)).toEqual([...expected]);
      }),
    );
  });

  it('are either refused here or taken by the farm, never refused there for their form', () => {
    const number = fc.oneof(
      fc.integer({ min: -9_999_999, max: 9_999_999 }),
      fc.constantFrom(1_048_574, 1_048_575, -1_048_575),
    );
    const text = fc.array(
      fc.oneof(
        number.map(String),
        number.map((first) => `${first}-${first + 10}`),
      ),
      { minLength: 1, maxLength: 3 },
    );
    fc.assert(
      fc.property(text, (parts) => {
        let frames: number[];
        try {
          frames = parseFrames(parts.join(','));
        } catch (error) {
          expect(error).toMatchObject({ code: 'FRAMES_INVALID' });
          return;
        }
        expect(jobRequestSchema.safeParse({ scene: 'ab'.repeat(32), name: 'a', frames }).success).toBe(true);
      }),
    );
  });

  it('of several ranges together are no more than a job may have', () => {
    expect(parseFrames('1-100000')).toHaveLength(100_000);
    expect(refusal(() => parseFrames('1-100000,200001-300000')).code).toBe('FRAMES_INVALID');
  });
});

describe('tiles', () => {
  it.each<[string, unknown]>([
    ['auto', 'auto'],
    ['1x1', { columns: 1, rows: 1 }],
    ['4x3', { columns: 4, rows: 3 }],
    ['64x64', { columns: 64, rows: 64 }],
  ])('%j', (text, grid) => {
    expect(parseTiles(text)).toEqual(grid);
  });

  it.each(['', '4', '4x', 'x4', '0x4', '4x0', '257x1', '-1x4', '4X4', '4 x 4', '4x4x4', 'AUTO', '1e1x1'])(
    '%j are refused',
    (text) => {
      expect(refusal(() => parseTiles(text)).code).toBe('TILES_INVALID');
    },
  );
});

describe('samples', () => {
  it('go from 1 to 65536', () => {
    expect([parseSamples('1'), parseSamples('128'), parseSamples('65536')]).toEqual([1, 128, 65_536]);
  });

  it.each(['', '0', '-1', '65537', '1.5', 'many', '1e3', ' 8'])('%j are refused', (text) => {
    expect(refusal(() => parseSamples(text)).code).toBe('SAMPLES_INVALID');
  });
});

describe('amounts', () => {
  it.each<[string, bigint]>([
    ['2', 2_000_000n],
    ['2.5', 2_500_000n],
    ['0.000001', 1n],
    ['0', 0n],
    ['12345678901234567890.123456', 12345678901234567890123456n],
  ])('%j is %s of the smallest unit', (text, amount) => {
    expect(parseBudget(text)).toBe(amount);
  });

  it.each(['', '-1', '.5', '2.', '2.1234567', '1,5', '1e6', 'much', '1 000', '9'.repeat(21)])(
    '%j is refused',
    (text) => {
      expect(refusal(() => parseBudget(text)).code).toBe('USAGE');
    },
  );

  it('of an appeal are whole units that a file of settings holds exactly, or refused', () => {
    expect(['0', '1', '2.5', '1000000000'].map(parseAppealBond)).toEqual([0, 1_000_000, 2_500_000, 1e15]);
    expect(Number.isSafeInteger(parseAppealBond('1000000000'))).toBe(true);
    for (const bad of ['-1', 'none', '1000000000.000001'])
      expect(refusal(() => parseAppealBond(bad)).code).toBe('USAGE');
  });

  it.each<[bigint, string]>([
    [0n, '0.000'],
    [1n, '0.000001'],
    [1_327_000n, '1.327'],
    [1_327_100n, '1.3271'],
    [2_500_000n, '2.500'],
    [1_000_000_000_000n, '1000000.000'],
  ])('%s is written %s', (amount, text) => {
    expect(formatTokens(amount)).toBe(text);
  });

  it('are read back as they were written', () => {
    fc.assert(
      fc.property(fc.bigInt({ min: 0n, max: 10n ** 26n - 1n }), (amount) => {
        expect(parseBudget(formatTokens(amount))).toBe(amount);
      }),
    );
  });
});
