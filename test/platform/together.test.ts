import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Settled, Together } from '../../platform/together.ts';

describe('work that goes together', () => {
  it('begins with what is asked in the same moment, and gathers the rest while that is under way', async () => {
    const groups: number[][] = [];
    let end: () => void = () => undefined;
    const first = new Promise<void>((resolve) => {
      end = resolve;
    });
    const together = new Together<number, number>(async (items) => {
      groups.push(items);
      if (groups.length === 1) await first;
      return items.map((item) => ({ value: 10 * item }));
    }, 3);
    const early = [1, 2].map((item) => together.run(item));
    await Promise.resolve();
    await Promise.resolve();
    const late = [3, 4, 5, 6].map((item) => together.run(item));
    end();
    expect(await Promise.all([...early, ...late])).toEqual([10, 20, 30, 40, 50, 60]);
    expect(groups).toEqual([[1, 2], [3, 4, 5], [6]]);
  });

  it('answers everybody with his own, whatever fails', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.boolean(), { maxLength: 30 }),
        fc.integer({ min: 1, max: 5 }),
        async (good, most) => {
          const together = new Together<number, number>(
            async (items) =>
              items.map((item): Settled<number> => (good[item] ? { value: item } : { error: `no ${item}` })),
            most,
          );
          const results = await Promise.allSettled(good.map((_, index) => together.run(index)));
          const expected = good.map((fine, index) =>
            fine ? { status: 'fulfilled', value: index } : { status: 'rejected', reason: `no ${index}` },
          );
          expect(results).toEqual(expected);
        },
      ),
      { numRuns: 30 },
    );
  });

  it('fails a whole group with what its work throws, and goes on with the next', async () => {
    let works = false;
    const together = new Together<string, string>(async (items) => {
      if (!works) throw new Error('the database is gone');
      return items.map((value) => ({ value }));
    }, 10);
    const failing = await Promise.allSettled([together.run('a'), together.run('b')]);
    expect(failing.map(({ status }) => status)).toEqual(['rejected', 'rejected']);
    works = true;
    expect(await together.run('c')).toBe('c');
  });
});
