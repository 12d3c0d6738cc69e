import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createProcessRuntime } from '../../platform/render/process/runtime.ts';
import type { SyntheticScene } from '../../platform/render/synthetic/scene.ts';
import { referencePictures } from '../render/references.ts';
import { localBlender } from '../render/support.ts';
import { adversary, sample, startTestFarm, type TestFarm } from '../support/farm.ts';
import { differingValues } from '../support/pictures.ts';

const SCENE = sample('turntable');
const SAMPLES = 4;
const WHOLE = { frames: [1, 2, 3], tiles: { columns: 1, rows: 1 }, samples: SAMPLES };
const signal = new AbortController().signal;
const VERIFIERS = [{ id: 'verifier-1' }, { id: 'verifier-2' }];

const keptBy = async (farm: TestFarm, node: string): Promise<string[]> =>
  await readdir(join(farm.folder.nodes, node, 'kept'));

function signalTo(farm: TestFarm, name: string, what: NodeJS.Signals): void {
  const pid = farm.processes.get(name)?.pid;
  if (pid === undefined) throw new Error(`no process ${name}`);
  process.kill(pid, what);
}

const forgotten = { timeout: 90_000, interval: 200 };

describe('frames that are not tiled', () => {
  let farm: TestFarm;
  beforeAll(async () => {
    farm = await startTestFarm({ leaseMs: 30_000 });
  });
  afterAll(async () => {
    await farm[Symbol.asyncDispose]();
  });

  test('are one task each, equal what Blender alone writes, and leave nothing with the nodes', {
    timeout: 900_000,
  }, async () => {
    const job = await farm.submit(SCENE, WHOLE);
    const { job: done, files } = await farm.finish(job.id);
    expect(done.tasks).toMatchObject({ total: 3, verified: 3 });
    expect(done).toMatchObject({ state: 'completed', spent: done.quote });
    expect(files.map(({ frame, exr }) => [frame, exr])).toEqual([
      [1, null],
      [2, null],
      [3, null],
    ]);
    // One Blender for all: starting it takes longer than the frames.
    const expression = `import bpy; bpy.context.scene.cycles.samples = ${SAMPLES}`;
    const wanted = files.map(({ frame }) => ({ scene: SCENE, frame, expression }));
    const bare = await referencePictures(localBlender, wanted, farm.folder.root);
    for (const [index, { picture }] of files.entries()) {
      const compared = await differingValues(bare[index] ?? '', picture);
      expect(compared.differing).toBe(0);
      expect(compared.values).toBeGreaterThan(0);
    }
    const batches = await farm.client.batches(job.id, signal);
    expect(new Set(batches.map((batch) => `${batch.kind} ${batch.outcome}`))).toEqual(
      new Set(['frame pass']),
    );
    for (const node of ['node-1', 'node-2'])
      await expect.poll(() => keptBy(farm, node), forgotten).toEqual([]);
  });

  test('come with the EXR where it was asked for, and no node keeps it', { timeout: 900_000 }, async () => {
    const job = await farm.submit(SCENE, { ...WHOLE, frames: [2], exr: true });
    const { files } = await farm.finish(job.id);
    const [file] = files;
    if (file?.exr === undefined || file.exr === null) throw new Error('no EXR came');
    for (const node of ['node-1', 'node-2']) expect(await keptBy(farm, node)).toEqual([]);
    const { fullFrame } = job.spec;
    const runtime = await createProcessRuntime({ signal });
    const scene = { root: dirname(SCENE), main: basename(SCENE) };
    await using session = await runtime.open(scene, { signal, threads: 1 });
    const folder = dirname(file.exr);
    const own = await session.render(
      { frame: 2, rect: { x: 0, y: 0, ...fullFrame }, samples: SAMPLES, output: join(folder, 'own.exr') },
      { signal },
    );
    const delivered = await session.readPixels(
      { exr: file.exr, output: join(folder, 'delivered.raw') },
      { signal },
    );
    expect(delivered).toMatchObject(fullFrame);
    expect(delivered.pixelDigest).toBe(own.pixelDigest);
  });
});

/** With engines that only make numbers: that real files are handed over and found right is seen above. */
describe('EXRs that stay with a node until they are drawn', () => {
  const synthetic = { runtime: 'synthetic', allowSynthetic: true, leaseMs: 30_000 } as const;
  let folder: string;
  let scene: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'tessera-test-'));
    scene = join(folder, 'scene.json');
    const description: SyntheticScene = { resolution: { width: 64, height: 64 }, frameEnd: 3 };
    await writeFile(scene, JSON.stringify(description));
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));

  test('are handed over by a node that was killed and started again in between', {
    timeout: 900_000,
  }, async () => {
    await using farm = await startTestFarm({ ...synthetic, nodes: [{ id: 'node-1' }], restart: true });
    // Seeds are drawn with the verifier's secrets: while it stands still nothing is drawn.
    for (const { id } of VERIFIERS) signalTo(farm, id, 'SIGSTOP');
    let delivered = 0;
    const job = await farm.submit(scene, WHOLE);
    await farm.event(job.id, (event) => event.type === 'task.delivered' && ++delivered === 3);
    const kept = await keptBy(farm, 'node-1');
    expect(kept).toHaveLength(3);
    signalTo(farm, 'node-1', 'SIGKILL');
    for (const { id } of VERIFIERS) signalTo(farm, id, 'SIGCONT');
    const { job: done } = await farm.finish(job.id);
    expect(done).toMatchObject({ state: 'completed', spent: done.quote });
    expect(farm.notes.filter((note) => note.startsWith('node-1 was ended by SIGKILL'))).toHaveLength(1);
    const batches = await farm.client.batches(job.id, signal);
    expect(batches.map((batch) => batch.outcome)).toEqual(batches.map(() => 'pass'));
    const compared = batches.flatMap((batch) => batch.evidence?.comparisons ?? []);
    expect(compared.length).toBeGreaterThan(0);
    expect(compared.map((one) => one.outcome)).toEqual(compared.map(() => 'pass'));
    expect((await farm.client.nodes(signal))[0]).toMatchObject({ tasksVerified: 3, tasksForfeited: 0 });
    await expect.poll(() => keptBy(farm, 'node-1'), forgotten).toEqual([]);
  });

  test('and are thrown away instead, are not paid; the other node renders the frames', {
    timeout: 900_000,
  }, async () => {
    await using farm = await startTestFarm({
      ...synthetic,
      nodes: [{ id: 'honest' }, { id: 'withheld', entry: adversary('withheld') }],
      // The honest node has to manage it too, on a machine that is busy.
      handOverMs: 15_000,
    });
    const job = await farm.submit(scene, WHOLE);
    const { job: done, files } = await farm.finish(job.id);
    expect(files).toHaveLength(3);
    expect(done).toMatchObject({ state: 'completed', spent: done.quote, refunded: 0n });
    const batches = await farm.client.batches(job.id, signal);
    const withheld = batches.filter((batch) => batch.nodeId === 'withheld');
    expect(withheld.length).toBeGreaterThan(0);
    for (const batch of withheld) {
      expect(batch.outcome).toBe('fail');
      const failed = batch.evidence?.comparisons.find((comparison) => comparison.outcome === 'fail');
      expect(failed?.reason).toBe('the pixels that were committed were not handed over in time');
    }
    const nodes = await farm.client.nodes(signal);
    expect(nodes.find((node) => node.id === 'withheld')).toMatchObject({ earned: 0n, state: 'quarantined' });
    expect(nodes.find((node) => node.id === 'honest')).toMatchObject({
      earned: done.quote,
      tasksVerified: 3,
      tasksForfeited: 0,
    });
  });
});
