/** How long a session lives, how fast it ends, and what it holds meanwhile, with real Blender. */
import { mkdir, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { createProcessRuntime } from '../../platform/render/process/runtime.ts';
import type { RenderProgress, RenderRuntime } from '../../platform/render/runtime.ts';
import { makeFixtures, temporaryFolder } from './support.ts';

const { signal } = new AbortController();
const RECT = { x: 0, y: 0, width: 97, height: 55 };
const TASKS = 200;

describe('life of a session', { timeout: 900_000 }, () => {
  let folder: Awaited<ReturnType<typeof temporaryFolder>>;
  let runtime: RenderRuntime;
  const exchange = () => join(folder.path, 'exchange');
  const open = (stop = signal) =>
    runtime.open({ root: join(folder.path, 'scenes'), main: 'plain.blend' }, { signal: stop, threads: 2 });

  /** Processes that have the exchange folder mounted: everything inside its sandboxes. */
  async function inside(): Promise<string[]> {
    const found: string[] = [];
    for (const pid of (await readdir('/proc')).filter((entry) => /^\d+$/.test(entry))) {
      const mounts = await readFile(`/proc/${pid}/mountinfo`, 'utf8').catch(() => '');
      if (mounts.includes(exchange())) found.push(pid);
    }
    return found;
  }

  beforeAll(async () => {
    folder = await temporaryFolder();
    await mkdir(exchange());
    await makeFixtures(join(folder.path, 'scenes'));
    runtime = await createProcessRuntime({ signal, tempFolder: exchange() });
  });
  afterAll(() => folder[Symbol.asyncDispose]());

  it('is over within two seconds of an abort, while it renders and while it loads', async () => {
    const stop = new AbortController();
    const session = await open();
    const rendering = new Promise<void>((resolve) => {
      const command = { frame: 1, rect: RECT, samples: 60_000, output: join(folder.path, 'never.exr') };
      session.render(command, { signal: stop.signal, onProgress: () => resolve() }).catch(() => {});
    });
    await rendering;
    expect((await inside()).length).toBeGreaterThan(0);
    const started = performance.now();
    stop.abort();
    await session.closed;
    const renderMs = performance.now() - started;
    // Its pipes close a moment before the kernel takes it off the list.
    await expect.poll(inside, { timeout: 30_000 }).toEqual([]);

    const stopLoading = new AbortController();
    const opening = open(stopLoading.signal).catch(() => {});
    await vi.waitUntil(async () => (await inside()).length > 0, { timeout: 60_000, interval: 1 });
    const startedLoading = performance.now();
    stopLoading.abort();
    await opening;
    const loadMs = performance.now() - startedLoading;
    // Its pipes close a moment before the kernel takes it off the list.
    await expect.poll(inside, { timeout: 30_000 }).toEqual([]);
    console.log(
      `cancelled: rendering after ${Math.round(renderMs)} ms, loading after ${Math.round(loadMs)} ms`,
    );
    expect(renderMs).toBeLessThan(2_000);
    expect(loadMs).toBeLessThan(2_000);
  });

  it(`holds no more after ${TASKS} tasks than 1.2 times what it held after 10`, async () => {
    await using session = await open();
    const held: number[] = [];
    for (let task = 0; task < TASKS; task++) {
      const rect = { x: task % 40, y: task % 30, width: 20 + (task % 30), height: 10 + (task % 15) };
      const command = { frame: 1 + (task % 5), rect, samples: 2, output: join(folder.path, 'task.exr') };
      await session.render(command, { signal });
      held.push(session.memoryBytes ?? 0);
    }
    const [early = 0, late = 0] = [held[9], held.at(-1)];
    const mib = (bytes: number) => (bytes / 1024 ** 2).toFixed(1);
    console.log(`memory after 10 tasks ${mib(early)} MiB, after ${TASKS} tasks ${mib(late)} MiB`);
    expect(early).toBeGreaterThan(10 * 1024 ** 2);
    expect(late).toBeLessThanOrEqual(early * 1.2);
  });

  it('tells samples and memory while it renders, and previews without changing what it renders', async () => {
    await using session = await open();
    const seen: RenderProgress[] = [];
    const render = (samples: number) =>
      session.render(
        { frame: 1, rect: RECT, samples, output: join(folder.path, 'tile.exr') },
        { signal, onProgress: (progress) => seen.push(progress) },
      );
    const before = await render(600);
    expect(seen.some((progress) => progress.samples?.of === 600)).toBe(true);
    expect(seen.some((progress) => (progress.memoryBytes ?? 0) > 0)).toBe(true);
    const output = join(folder.path, 'preview.png');
    const preview = await session.preview({ frame: 1, longSide: 48, samples: 4, output }, { signal });
    expect(preview).toMatchObject({ width: 48, height: 27, picturePath: output });
    const { width, height, format } = await sharp(output).metadata();
    expect({ width, height, format }).toEqual({ width: 48, height: 27, format: 'png' });
    const { channels } = await sharp(output).stats();
    expect(channels[0]?.stdev).toBeGreaterThan(1);
    await expect(session.preview({ frame: 1, longSide: 0, output }, { signal })).rejects.toMatchObject({
      code: 'MESSAGE_INVALID',
    });
    expect((await render(600)).pixelDigest).toBe(before.pixelDigest);
  });
});
