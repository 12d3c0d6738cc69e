import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { PreparedNames, Replanning } from '../../platform/database/prepared.ts';

describe('the names of statements that a server keeps', () => {
  it('are given to what comes again, the same each time, another for another text', () => {
    const names = new PreparedNames();
    const twice = [names.of('select $1', 1), names.of('select $1', 1)];
    expect(twice).toEqual([undefined, undefined]);
    const name = names.of('select $1', 1);
    expect(name).toMatch(/^tessera_[0-9a-f]{32}$/);
    expect(names.of('select $1', 1)).toBe(name);
    for (let time = 0; time < 2; time++) names.of('select $1 + 1', 1);
    expect(names.of('select $1 + 1', 1)).not.toBe(name);
  });

  it('are not given to a statement without parameters, which may be several', () => {
    const names = new PreparedNames();
    for (let time = 0; time < 10; time++) expect(names.of('commit', 0)).toBeUndefined();
  });

  it('are as many as a connection can keep, whatever is asked', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 800 }), { maxLength: 4_000 }), (asked) => {
        const names = new PreparedNames();
        const given = new Set(asked.map((text) => names.of(`select ${text} + $1`, 1)));
        given.delete(undefined);
        return given.size <= 300;
      }),
      { numRuns: 20 },
    );
    const names = new PreparedNames();
    const given = new Set<string | undefined>();
    for (let text = 0; text < 1_000; text++)
      for (let time = 0; time < 3; time++) given.add(names.of(`select ${text} + $1`, 1));
    given.delete(undefined);
    expect(given.size).toBe(300);
  });
});

describe('making plans anew', () => {
  it('is due soon for a new connection, then every five seconds', () => {
    const replanning = new Replanning(0);
    const due: number[] = [];
    for (let atMs = 0; atMs <= 60_000; atMs += 500) if (replanning.due(atMs)) due.push(atMs);
    expect(due.slice(0, 5)).toEqual([500, 1_500, 3_500, 7_500, 12_500]);
    expect(due.slice(5).every((atMs, index) => atMs - (due[4 + index] ?? 0) === 5_000)).toBe(true);
    expect(due.at(-1)).toBeGreaterThan(55_000);
  });
});
