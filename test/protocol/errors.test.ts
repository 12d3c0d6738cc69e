import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { packageRoot } from '../../platform/package-root.ts';
import {
  assertNever,
  ERRORS,
  type ErrorCode,
  FarmError,
  isFarmError,
  toFarmError,
} from '../../protocol/errors.ts';

const codes = Object.keys(ERRORS) as ErrorCode[];

describe('the error table', () => {
  it.each(codes)('says for %s what to do, with which status and exit code', (code) => {
    const { help, httpStatus, exitCode, retryable } = ERRORS[code];
    expect(code).toMatch(/^[A-Z][A-Z_]*[A-Z]$/);
    expect(help).toMatch(/^[A-Z].{20,}[.)]$/);
    expect(httpStatus).toBeGreaterThanOrEqual(400);
    expect(httpStatus).toBeLessThanOrEqual(599);
    expect([1, 2, 3, 4, 5, 6, 7, 70, 130]).toContain(exitCode);
    expect(retryable).toBeTypeOf('boolean');
  });

  it('has a page with every code under a heading of its own, with its help', async () => {
    const page = await readFile(join(packageRoot(), 'docs/errors.md'), 'utf8');
    const sections = new Map(
      page
        .split(/^## /m)
        .slice(1)
        .map((section) => [section.split('\n', 1)[0]?.trim(), section]),
    );
    const headings = [...sections.keys()].filter((heading) => /^[A-Z_]+$/.test(heading ?? ''));
    expect(headings).toHaveLength(codes.length);
    expect(new Set(headings)).toEqual(new Set(codes));
    const without = codes.filter((code) => !sections.get(code)?.includes(ERRORS[code].help));
    expect(without).toEqual([]);
  });
});

describe('errors', () => {
  it('carry code, help, kept, details and cause', () => {
    const cause = new Error('no route');
    const error = new FarmError('FARM_UNREACHABLE', 'nobody there', {
      cause,
      kept: 'everything',
      details: { port: 1 },
    });
    expect(error).toMatchObject({
      code: 'FARM_UNREACHABLE',
      message: 'nobody there',
      cause,
      kept: 'everything',
      details: { port: 1 },
    });
    expect(error.help).toBe(ERRORS.FARM_UNREACHABLE.help);
  });

  it('are told apart by code', () => {
    const error = new FarmError('LEASE_LOST', 'over');
    expect([isFarmError(error), isFarmError(error, 'LEASE_LOST'), isFarmError(error, 'INTERNAL')]).toEqual([
      true,
      true,
      false,
    ]);
    expect([isFarmError(new Error('x')), isFarmError(null), isFarmError('LEASE_LOST')]).toEqual([
      false,
      false,
      false,
    ]);
  });

  it('stay what they are, and whatever else is thrown becomes INTERNAL with its cause', () => {
    const ours = new FarmError('LEASE_LOST', 'over');
    expect(toFarmError(ours)).toBe(ours);
    const theirs = new TypeError('x is undefined');
    expect(toFarmError(theirs)).toMatchObject({ code: 'INTERNAL', message: 'x is undefined', cause: theirs });
    expect(toFarmError('just text')).toMatchObject({ code: 'INTERNAL', message: 'just text' });
    expect(toFarmError(undefined)).toMatchObject({ code: 'INTERNAL' });
  });

  it('name the case that was forgotten', () => {
    expect(() => assertNever({ kind: 'new' } as never)).toThrow('{"kind":"new"}');
  });
});
