/** Files of File Output nodes, from the scene through the farm to the artist's folder. */
import { execFile } from 'node:child_process';
import { readdir } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { packageRoot } from '../../platform/package-root.ts';
import { compareLayers } from '../render/compare-layers.ts';
import { differingValues, makeFixtures, temporaryFolder } from '../render/support.ts';
import { adversary, startTestFarm, type TestFarm } from '../support/farm.ts';

const run = promisify(execFile);
const BARE = ['-b', '--factory-startup', '--disable-autoexec', '-noaudio', '--python-exit-code', '1'];
const SCRIPTS = join(packageRoot(), 'test/render');
const FRAMES = [1, 2];
const signal = new AbortController().signal;

const namesOf = (frame: number): string[] => [
  `renders/layers_000${frame}.exr`,
  `renders/single/beauty000${frame}.png`,
  `renders/single/shots/part_00${frame}_of_3.png`,
];

let folder: Awaited<ReturnType<typeof temporaryFolder>>;
const scene = (name: string): string => join(folder.path, `${name}.blend`);
beforeAll(async () => {
  folder = await temporaryFolder();
  await makeFixtures(folder.path);
  const make = ['--python', join(SCRIPTS, 'make-file-outputs.py'), '--', folder.path];
  await run('blender', [...BARE, scene('plain'), ...make]);
  // What an artist's own machine writes, at //renders: beside the scene.
  const frames = FRAMES.flatMap((frame) => ['-f', String(frame)]);
  await run('blender', [...BARE, scene('outputs'), '-o', join(folder.path, 'bare', '####'), ...frames]);
}, 300_000);
afterAll(() => folder[Symbol.asyncDispose]());

/** All files below a folder, relative to it. */
async function filesIn(path: string): Promise<string[]> {
  const entries = await readdir(path, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => relative(path, join(entry.parentPath, entry.name)))
    .sort();
}

describe('files of File Output nodes', () => {
  let farm: TestFarm;
  beforeAll(async () => {
    // One is enough, and opens each scene once.
    farm = await startTestFarm({ nodes: [{ id: 'node-1' }], leaseMs: 30_000 });
  }, 300_000);
  afterAll(() => farm[Symbol.asyncDispose]());

  test.each([
    { columns: 1, rows: 1 },
    { columns: 2, rows: 2 },
  ])('are what Blender alone writes, where the scene wants them: %o', { timeout: 600_000 }, async (tiles) => {
    const job = await farm.submit(scene('outputs'), { frames: FRAMES, tiles });
    const { job: done, files } = await farm.finish(job.id);
    expect(done).toMatchObject({ state: 'completed', spent: done.quote });
    const out = dirname(files[0]?.picture ?? '');
    const pictures = files.map((file) => relative(out, file.picture));
    expect(await filesIn(out)).toEqual([...FRAMES.flatMap(namesOf), ...pictures].sort());
    for (const { frame, picture, extraFiles } of files) {
      const own = join(folder.path, 'bare', `000${frame}.png`);
      expect(await differingValues(own, picture)).toMatchObject({ differing: 0 });
      expect(extraFiles).toEqual(namesOf(frame).map((name) => ({ name, path: join(out, name) })));
      for (const { name, path } of extraFiles) {
        const bare = join(folder.path, name);
        if (name.endsWith('.exr'))
          expect(await compareLayers([{ first: bare, second: path }], folder.path)).toMatchObject([
            { differing: 0, missing: [] },
          ]);
        else expect(await differingValues(bare, path)).toMatchObject({ differing: 0 });
      }
      // The API lists them, under the digest that the receipt has.
      const detail = await farm.client.frame(job.id, frame, signal);
      expect(detail.files.map(({ name }) => name)).toEqual(namesOf(frame));
      expect(detail.extraFiles).not.toBeNull();
    }
  });

  test('whose paths lead out of the folder, to the root or to other drives come below it', {
    timeout: 300_000,
  }, async () => {
    const tiles = { columns: 1, rows: 1 };
    const job = await farm.submit(scene('hostile-outputs'), { frames: [2], tiles });
    const { files } = await farm.finish(job.id);
    const [file] = files;
    const out = dirname(file?.picture ?? '');
    expect(await filesIn(out)).toEqual(
      [
        'etc/cron.d/C_/windows/system0002.png',
        'etc/cron.d/a_b0002.png',
        'etc/cron.d/beauty0002.png',
        'etc/cron.d/beauty_0010002.png',
        'etc/cron.d/escape0002.png',
        'etc/cron.d/image0002.png',
        'up0002.exr',
        relative(out, file?.picture ?? ''),
      ].sort(),
    );
  });
});

test('a node whose extra files are not the scene’s is not paid, and the artist has the right ones in the end', {
  timeout: 600_000,
}, async () => {
  await using farm = await startTestFarm({
    nodes: [{ id: 'honest' }, { id: 'swapped', entry: adversary('swapped-extras') }],
    leaseMs: 30_000,
  });
  // Enough for both nodes to have some.
  const frames = [...FRAMES, 3, 4];
  const job = await farm.submit(scene('outputs'), { frames, tiles: { columns: 1, rows: 1 } });
  const { files } = await farm.finish(job.id);
  expect(files).toHaveLength(frames.length);
  const batches = await farm.client.batches(job.id, signal);
  const failed = batches.filter((batch) => batch.outcome === 'fail');
  expect(new Set(failed.map((batch) => batch.nodeId))).toEqual(new Set(['swapped']));
  const reasons = failed.flatMap((batch) => batch.evidence?.comparisons ?? []);
  expect(reasons.filter((one) => one.decidedBy === 'extraFiles').length).toBeGreaterThan(0);
  for (const { extraFiles } of files.slice(0, FRAMES.length)) {
    for (const { name, path } of extraFiles.filter((file) => file.name.endsWith('.png')))
      expect(await differingValues(join(folder.path, name), path)).toMatchObject({ differing: 0 });
  }
});
