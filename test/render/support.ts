/** Scenes, references and comparisons that the tests of every render runtime share. */
import { execFile } from 'node:child_process';
import { cp, mkdir, mkdtemp, readdir, rename, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import sharp from 'sharp';
import { inject } from 'vitest';
import type { Rect } from '../../protocol/rect.ts';

const run = promisify(execFile);
const FIXTURES = join(dirname(fileURLToPath(import.meta.url)), 'make-fixtures.py');
const BARE = ['-b', '--factory-startup', '--disable-autoexec', '-noaudio', '--python-exit-code', '1'];

/** A folder that is removed when the test is done with it. */
export async function temporaryFolder(): Promise<{ path: string } & AsyncDisposable> {
  const path = await mkdtemp(join(tmpdir(), 'tessera-test-'));
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) };
}

/** Runs a Blender without any farm. It sees `folder` under its own name, and the scripts of the tests. */
export type BareBlender = {
  (parameters: string[], folder: string): Promise<void>;
  /** Tells what one Blender made from what another did. */
  readonly madeBy: 'local' | 'image';
};

export const localBlender: BareBlender = Object.assign(
  async (parameters: string[]) => {
    await run('blender', parameters);
  },
  { madeBy: 'local' } as const,
);

/** Puts all test scenes in a folder. They are made once in a run; each caller has copies of its own. */
export async function makeFixtures(folder: string, blender: BareBlender = localBlender): Promise<void> {
  const made = join(inject('runFolder'), `fixtures-${blender.madeBy}`);
  if (!(await isThere(made))) {
    // Not the folder of mkdtemp itself, which a sandbox's user may not enter.
    const own = join(await mkdtemp(`${made}-`), 'scenes');
    await mkdir(own);
    await blender([...BARE, '--python', FIXTURES, '--', own], own);
    // Complete or not there. Another file's tests may have made the same meanwhile.
    await rename(own, made).catch(async (error: unknown) => {
      if (!(await isThere(made))) throw error;
    });
  }
  await cp(made, folder, { recursive: true });
}

function isThere(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}

/** What Blender alone writes for a frame, in a format that sharp reads. */
export async function referencePicture(
  blender: BareBlender,
  scene: string,
  frame: number,
  folder: string,
): Promise<string> {
  const prefix = join(folder, 'reference-');
  await blender([...BARE, '-t', '2', scene, '-o', `${prefix}####`, '-f', String(frame)], folder);
  const name = (await readdir(folder)).find((entry) => entry.startsWith('reference-'));
  if (name === undefined) throw new Error(`Blender wrote no picture of ${scene}`);
  return join(folder, name);
}

/** Cuts a rectangle into a grid; sides differ by at most one pixel. */
export function cut(region: Rect, columns: number, rows: number): Rect[] {
  const edge = (start: number, size: number, parts: number, index: number) =>
    start + Math.floor((size * index) / parts);
  return Array.from({ length: columns * rows }, (_, index) => {
    const [column, row] = [index % columns, Math.floor(index / columns)];
    const x = edge(region.x, region.width, columns, column);
    const y = edge(region.y, region.height, rows, row);
    return {
      x,
      y,
      width: edge(region.x, region.width, columns, column + 1) - x,
      height: edge(region.y, region.height, rows, row + 1) - y,
    };
  });
}

async function values(path: string) {
  const image = sharp(path, { limitInputPixels: false });
  const { depth, hasAlpha } = await image.metadata();
  const wide = depth === 'ushort';
  const { data, info } = await image
    .raw({ depth: wide ? 'ushort' : 'uchar' })
    .toBuffer({ resolveWithObject: true });
  const numbers = wide ? new Uint16Array(data.buffer, data.byteOffset, data.byteLength / 2) : data;
  return { numbers, shape: `${info.width}x${info.height}x${info.channels} ${depth} ${hasAlpha}` };
}

/** How many values of two pictures differ, of how many, and by how much at most. */
export async function differingValues(
  left: string,
  right: string,
): Promise<{ differing: number; values: number; largest: number }> {
  const [a, b] = await Promise.all([values(left), values(right)]);
  if (a.shape !== b.shape) throw new Error(`${a.shape} against ${b.shape}`);
  let differing = 0;
  let largest = 0;
  for (const [index, value] of a.numbers.entries()) {
    const difference = Math.abs(value - (b.numbers[index] ?? 0));
    if (difference > 0) differing += 1;
    largest = Math.max(largest, difference);
  }
  return { differing, values: a.numbers.length, largest };
}
