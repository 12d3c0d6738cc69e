import { describe, expect, it } from 'vitest';
import { wantsNext } from '../../worker/lookahead.ts';

const TEN_SECONDS = 10_000;

describe('when a node asks for its next task', () => {
  it.each([
    ['a task has begun and none came before', 0, null, false],
    ['a first task is nearly done', 0.69, null, false],
    ['a first task has passed seven tenths', 0.7, null, true],
    ['tasks are short', 0, 400, true],
    ['tasks take just ten seconds', 0, TEN_SECONDS, true],
    ['tasks take longer', 0, TEN_SECONDS + 1, false],
    ['a long task has passed seven tenths', 0.7, 3_600_000, true],
  ])('%s', (_when, fraction, lastRenderMs, wanted) => {
    expect(wantsNext({ fraction, lastRenderMs })).toBe(wanted);
  });

  it('once it is time it stays time, however far the task gets and however short the last one was', () => {
    const times = [null, 0, 1, TEN_SECONDS, TEN_SECONDS + 1, 1e9];
    for (const lastRenderMs of times) {
      let asked = false;
      for (let step = 0; step <= 100; step++) {
        const wanted = wantsNext({ fraction: step / 100, lastRenderMs });
        expect(wanted || !asked).toBe(true);
        asked = wanted;
      }
      // A task that is done always wants the next.
      expect(asked).toBe(true);
    }
  });
});
