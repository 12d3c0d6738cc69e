import { join } from 'node:path';
import fc from 'fast-check';
import sharp from 'sharp';
import { describe, expect, it } from 'vitest';
import { positionOn, ticksOf } from '../../platform/looks/log-axis.ts';
import { drawStripChart, type StripChart } from '../../platform/looks/strip-chart.ts';
import { temporaryFolder } from '../render/support.ts';

describe('an axis of powers of ten', () => {
  const axis = { from: -5, to: 1 };
  const numbers = fc.double({ min: 0, max: 1e6, noNaN: true });

  it('has a place for every number, the larger never before the smaller', () => {
    fc.assert(
      fc.property(numbers, numbers, (a, b) => {
        const [left, right] = [Math.min(a, b), Math.max(a, b)].map((value) => positionOn(axis, value));
        expect(left).toBeGreaterThanOrEqual(0);
        expect(right).toBeLessThanOrEqual(1);
        expect(left).toBeLessThanOrEqual(right as number);
      }),
    );
  });

  it('keeps nothing apart from the smallest that it shows', () => {
    expect(positionOn(axis, 0)).toBe(positionOn(axis, 1e-7));
    expect(positionOn(axis, 0)).toBeLessThan(positionOn(axis, 1e-5) - 0.03);
    const ticks = ticksOf({ ...axis, title: '', label: String });
    expect(ticks.map(({ label }) => label)).toEqual([
      '0',
      '0.00001',
      '0.0001',
      '0.001',
      '0.01',
      '0.1',
      '1',
      '10',
    ]);
    expect(ticks.at(-1)?.at).toBe(1);
  });
});

describe('a chart of strips', () => {
  const axes = ['left', 'right'].map((title) => ({ title, from: -5, to: 0, label: String }));
  const chart = (rows: number, values: number[]): StripChart => ({
    ...{ title: 'Title', facts: 'facts', axes, legend: { now: 'in force', proposed: 'proposed' } },
    rows: Array.from({ length: rows }, (_, index) => ({
      ...{ label: `row ${index}`, note: 'note' },
      strips: axes.map(() => ({
        values,
        marks: [
          { at: 0.02, kind: 'now', label: 'pass' },
          { at: null, kind: 'proposed', label: 'pass' },
        ],
      })),
    })),
  });

  it('is a dark neutral picture that grows with its rows', async () => {
    await using folder = await temporaryFolder();
    const sizes: number[] = [];
    for (const rows of [1, 4]) {
      const path = join(folder.path, `${rows}.png`);
      await drawStripChart(chart(rows, [0, 1e-4, 0.5]), path);
      const { data, info } = await sharp(path).removeAlpha().raw().toBuffer({ resolveWithObject: true });
      const [red, green, blue] = data;
      expect(red).toBeLessThan(48);
      expect([green, blue]).toEqual([red, red]);
      sizes.push(info.height);
    }
    expect(sizes[1]).toBeGreaterThan((sizes[0] as number) + 200);
  });

  it('shows the dots', async () => {
    await using folder = await temporaryFolder();
    const pixels = async (name: string, values: number[]): Promise<Buffer> => {
      await drawStripChart(chart(1, values), join(folder.path, name));
      return await sharp(join(folder.path, name)).raw().toBuffer();
    };
    const [none, some] = [await pixels('none.png', []), await pixels('some.png', [0.01])];
    const differing = none.filter((value, i) => value !== some[i]).length;
    // Two dots of some forty pixels.
    expect(differing).toBeGreaterThan(100);
    expect(differing).toBeLessThan(1_000);
  });
});
