import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { frameOf } from '../../coordinator/splitting/grid.ts';
import { planJob } from '../../coordinator/submission/plan-job.ts';
import { taskPrice } from '../../coordinator/submission/quote.ts';
import { ENGINE, inspection, SCENE } from '../support/coordinator-context.ts';

const rect = fc.record({
  x: fc.constant(0),
  y: fc.constant(0),
  width: fc.integer({ min: 1, max: 65_536 }),
  height: fc.integer({ min: 1, max: 65_536 }),
});
const samples = fc.integer({ min: 1, max: 65_536 });
const kind = fc.constantFrom('render' as const, 'finish' as const);

describe('the price of a task', () => {
  it('is at least one unit and fits the contract for every task the protocol allows', () => {
    fc.assert(
      fc.property(kind, rect, samples, (what, area, count) => {
        const price = taskPrice(what, area, count);
        expect(price).toBeTypeOf('bigint');
        expect(price).toBeGreaterThanOrEqual(1n);
        expect(price).toBeLessThan(2n ** 96n);
      }),
    );
  });

  it('never falls when there are more pixels or more samples', () => {
    fc.assert(
      fc.property(kind, rect, samples, fc.nat(1_000), fc.nat(1_000), (what, area, count, wider, more) => {
        const larger = { ...area, width: area.width + wider };
        expect(taskPrice(what, larger, count)).toBeGreaterThanOrEqual(taskPrice(what, area, count));
        expect(taskPrice(what, area, count + more)).toBeGreaterThanOrEqual(taskPrice(what, area, count));
      }),
    );
  });

  it('does not depend on where a tile lies', () => {
    const area = { x: 0, y: 0, width: 64, height: 64 };
    expect(taskPrice('render', { ...area, x: 500, y: 9 }, 32)).toBe(taskPrice('render', area, 32));
  });

  it('is exact beyond what a number can hold', () => {
    const area = { x: 0, y: 0, width: 65_536, height: 65_536 };
    expect(taskPrice('render', area, 65_536)).toBe((65_536n * 65_536n * 65_536n * 20n + 999n) / 1000n);
  });

  it('is the same for finishing whatever the samples, since nothing is sampled again', () => {
    const area = { x: 0, y: 0, width: 100, height: 100 };
    expect(taskPrice('finish', area, 1)).toBe(taskPrice('finish', area, 4_096));
  });
});

describe('the quote of a job', () => {
  it('is exactly the sum of the prices of its tasks', () => {
    const grid = fc.record({ columns: fc.integer({ min: 1, max: 8 }), rows: fc.integer({ min: 1, max: 8 }) });
    fc.assert(
      fc.property(
        grid,
        fc.integer({ min: 1, max: 4_096 }),
        fc.integer({ min: 1, max: 5 }),
        (tiles, count, frames) => {
          const request = {
            scene: SCENE,
            name: 'a',
            tiles,
            samples: count,
            frames: Array.from({ length: frames }, (_, i) => i + 1),
          };
          const plan = planJob(request, inspection(), { id: ENGINE, version: '3.4.1', deviceClass: 'cpu' });
          const tasks = Array.from(
            { length: plan.grid.framesTotal },
            (_, turn) => frameOf(plan.grid, turn).tasks,
          ).flat();
          const prices = tasks.map((task) => taskPrice(task.kind, task.rect, task.samples));
          expect(tasks.map((task) => task.price)).toEqual(prices);
          expect(plan.quote).toBe(prices.reduce((sum, price) => sum + price, 0n));
          expect(prices).toContain(plan.maxTaskPrice);
          expect(prices.filter((price) => price > plan.maxTaskPrice)).toEqual([]);
        },
      ),
      { numRuns: 50 },
    );
  });
});
