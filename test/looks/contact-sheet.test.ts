import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import fc from 'fast-check';
import sharp from 'sharp';
import { describe, expect, test } from 'vitest';
import { makeContactSheet } from '../../platform/looks/contact-sheet.ts';
import { drawEvenly, sheetLayout } from '../../platform/looks/sheet-layout.ts';
import { temporaryFolder } from '../render/support.ts';
import { greyOf, writeGreys } from './pictures.ts';

const { signal } = new AbortController();
const BACKGROUND = 0x1e;

async function drawn(count: number, size?: { width: number; height: number }) {
  await using folder = await temporaryFolder();
  await mkdir(join(folder.path, 'in'));
  const frames = await writeGreys(
    join(folder.path, 'in'),
    Array.from({ length: count }, (_, index) => index + 1),
    size,
  );
  const output = join(folder.path, 'sheet.png');
  const told: number[] = [];
  const sheet = await makeContactSheet({
    ...{ frames, title: 'shot', notes: ['24 fps'], output, signal },
    onFrames: (done) => told.push(done),
  });
  const { data, info } = await sharp(output).removeAlpha().raw().toBuffer({ resolveWithObject: true });
  const at = (x: number, y: number): number[] => [
    ...data.subarray((y * info.width + x) * 3, (y * info.width + x) * 3 + 3),
  ];
  return { sheet, info, at, told, frames };
}

describe('a contact sheet', () => {
  test.each([1, 7, 24])('of %i frames shows each in its place, in its own colour', async (count) => {
    const size = { width: 64, height: 36 };
    const { sheet, info, at, told } = await drawn(count, size);
    const layout = sheetLayout(count, size);
    expect(sheet).toMatchObject({
      framesShown: count,
      frames: count,
      width: layout.width,
      height: layout.height,
    });
    expect(info).toMatchObject({ width: layout.width, height: layout.height });
    expect(told).toEqual(Array.from({ length: count }, (_, index) => index + 1));
    for (const [index, cell] of layout.cells.entries()) {
      const grey = greyOf(index + 1);
      const middle = at(cell.x + layout.thumbnail.width / 2, cell.y + layout.thumbnail.height / 2);
      expect(middle, `frame ${index + 1}`).toEqual([grey, grey, grey]);
    }
  });

  test('is neutral around the pictures, and has text in its title and under each picture', async () => {
    const size = { width: 64, height: 36 };
    const { at, info } = await drawn(7, size);
    const layout = sheetLayout(7, size);
    expect(at(1, 1)).toEqual([BACKGROUND, BACKGROUND, BACKGROUND]);
    const bright = (x: number, y: number, width: number, height: number): number => {
      let count = 0;
      for (let row = y; row < y + height; row++) {
        for (let column = x; column < x + width; column++) {
          const [r = 0, g = 0, b = 0] = at(column, row);
          // No colour anywhere in a label either: no tint, no coloured edges of letters.
          expect(Math.max(r, g, b) - Math.min(r, g, b)).toBe(0);
          if (r > 120) count++;
        }
      }
      return count;
    };
    expect(bright(0, 0, info.width / 2, layout.margin + layout.titleHeight)).toBeGreaterThan(30);
    expect(bright(info.width / 2, 0, info.width / 2, layout.margin + layout.titleHeight)).toBeGreaterThan(30);
    for (const { x, y } of layout.cells) {
      expect(
        bright(x, y + layout.thumbnail.height, layout.thumbnail.width, layout.labelHeight),
      ).toBeGreaterThan(5);
    }
  });

  test('of 1,000 frames shows some, the same distance apart, and says how many', async () => {
    await using folder = await temporaryFolder();
    const few = await writeGreys(folder.path, [1, 2, 3, 4]);
    const frames = Array.from({ length: 1_000 }, (_, index) => ({
      frame: index + 1,
      path: few[index % few.length]?.path ?? '',
    }));
    const output = join(folder.path, 'sheet.png');
    const sheet = await makeContactSheet({ frames, title: 'long', output, signal });
    expect(sheet).toMatchObject({ framesShown: 96, frames: 1_000 });
    expect(sheet.width).toBeLessThanOrEqual(1_920);
    expect(sheet.height).toBeLessThanOrEqual(2_000);
  });

  test('puts frames of another shape into the middle of their place', async () => {
    await using folder = await temporaryFolder();
    const [wide] = await writeGreys(folder.path, [1], { width: 80, height: 40 });
    const [tall] = await writeGreys(folder.path, [2], { width: 20, height: 40 });
    const output = join(folder.path, 'sheet.png');
    await makeContactSheet({
      frames: [wide, tall].filter((one) => one !== undefined),
      title: 'x',
      output,
      signal,
    });
    const layout = sheetLayout(2, { width: 80, height: 40 });
    const { data, info } = await sharp(output).removeAlpha().raw().toBuffer({ resolveWithObject: true });
    const [, cell] = layout.cells;
    const value = (x: number): number =>
      data[(((cell?.y ?? 0) + 20) * info.width + (cell?.x ?? 0) + x) * 3] ?? 0;
    expect([value(10), value(40), value(70)]).toEqual([BACKGROUND, greyOf(2), BACKGROUND]);
  });

  test('is not begun without frames, and not finished with a damaged one', async () => {
    await using folder = await temporaryFolder();
    const output = join(folder.path, 'sheet.png');
    await expect(makeContactSheet({ frames: [], title: 'x', output, signal })).rejects.toMatchObject({
      code: 'FRAMES_MISSING',
    });
    const aborted = AbortSignal.abort();
    const frames = await writeGreys(folder.path, [1, 2]);
    const damaged = frames[1]?.path ?? '';
    const bytes = await readFile(damaged);
    await writeFile(damaged, bytes.subarray(0, bytes.length - 20));
    await expect(makeContactSheet({ frames, title: 'x', output, signal })).rejects.toMatchObject({
      code: 'PICTURE_UNREADABLE',
      message: expect.stringContaining(damaged),
    });
    await expect(readFile(output)).rejects.toMatchObject({ code: 'ENOENT' });
    await expect(makeContactSheet({ frames, title: 'x', output, signal: aborted })).rejects.toMatchObject({
      code: 'INTERRUPTED',
    });
  });
});

describe('the grid of a contact sheet', () => {
  test('has every picture inside the sheet and none over another, whatever their number and shape', () => {
    const side = fc.integer({ min: 1, max: 8_192 });
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 100_000 }), side, side, (count, width, height) => {
        const layout = sheetLayout(count, { width, height });
        const { thumbnail, cells, columns, rows, labelHeight } = layout;
        expect(cells).toHaveLength(layout.shown.length);
        expect(columns * rows).toBeGreaterThanOrEqual(cells.length);
        expect(columns * (rows - 1)).toBeLessThan(cells.length);
        for (const [index, { x, y }] of cells.entries()) {
          expect(x).toBeGreaterThanOrEqual(layout.margin);
          expect(x + thumbnail.width).toBeLessThanOrEqual(layout.width - layout.margin);
          expect(y + thumbnail.height + labelHeight).toBeLessThanOrEqual(layout.height - layout.margin);
          const next = cells[index + 1];
          if (next?.y === y) expect(next.x).toBeGreaterThanOrEqual(x + thumbnail.width);
          else if (next !== undefined)
            expect(next.y).toBeGreaterThanOrEqual(y + thumbnail.height + labelHeight);
        }
      }),
    );
  });

  test('draws the first and the last frame and others evenly between', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 100_000 }), fc.integer({ min: 2, max: 200 }), (count, most) => {
        const drawnFrames = drawEvenly(count, most);
        expect(drawnFrames).toHaveLength(Math.min(count, most));
        expect([drawnFrames[0], drawnFrames.at(-1)]).toEqual([0, count - 1]);
        const steps = drawnFrames.slice(1).map((one, index) => one - (drawnFrames[index] ?? 0));
        if (steps.length > 0) expect(Math.max(...steps) - Math.min(...steps)).toBeLessThanOrEqual(1);
        for (const step of steps) expect(step).toBeGreaterThanOrEqual(1);
      }),
    );
  });
});
