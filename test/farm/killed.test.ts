import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { jobKey } from '../../platform/chain/keys.ts';
import type { SyntheticScene } from '../../platform/render/synthetic/scene.ts';
import type { LoggedEvent } from '../../protocol/events.ts';
import type { Bytes32 } from '../../protocol/ids.ts';
import type { JobView } from '../../protocol/job.ts';
import { chainOf } from '../support/chain-of.ts';
import { sample, startTestFarm, type TestFarm } from '../support/farm.ts';

/** Starting Blender alone takes a node a second, so that a kill right after a lease or a delivery finds a tile under way. */
const TILED = { frames: [1], tiles: { columns: 3, rows: 2 }, samples: 8 };
/** Long enough for the others to be under way when the first is delivered. */
const TILE_MS = 500;

describe('after kill -9', () => {
  test('of a node in mid-tile, another renders its task, which is paid once', {
    timeout: 900_000,
  }, async () => {
    await using farm = await startTestFarm();
    const job = await farm.submit(sample('turntable'), TILED);
    const leased = await farm.event(
      job.id,
      (event) => event.type === 'task.leased' && event.nodeId === 'node-1',
    );
    kill(farm, 'node-1');
    const { job: done } = await farm.finish(job.id);
    const events = await farm.events(job.id);
    const taskId = leased.event.type === 'task.leased' ? leased.event.taskId : undefined;
    const requeued = events.filter(({ event }) => event.type === 'task.requeued' && event.taskId === taskId);
    // On a machine that stands still for a moment the other node may lose it once, too.
    expect(requeued[0]?.event).toMatchObject({ reason: 'node node-1 went silent; its lease ran out' });
    const delivered = events.flatMap(({ event }) =>
      event.type === 'task.delivered' && event.taskId === taskId ? [event.nodeId] : [],
    );
    expect(delivered).toEqual(['node-2']);
    await expectPaidOnce(farm, done, events);
  });
});

/** Of those that no Blender belongs to, and that the farm starts again. */
describe('after kill -9 of a part that no frame depends on', { timeout: 900_000 }, () => {
  let folder: string;
  let scene: string;
  let farm: TestFarm;
  let earned = 0n;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'tessera-killed-'));
    scene = join(folder, 'scene.json');
    const description: SyntheticScene = {
      ...{ resolution: { width: 64, height: 64 }, frameEnd: 1, durationMs: TILE_MS },
    };
    await writeFile(scene, JSON.stringify(description));
    farm = await startTestFarm({ restart: true, runtime: 'synthetic', allowSynthetic: true });
  });
  afterAll(async () => {
    await farm[Symbol.asyncDispose]();
    await rm(folder, { recursive: true, force: true });
  });

  test('of the coordinator in mid-job, the job finishes: no tile lost, none paid twice', async () => {
    const job = await farm.submit(scene, TILED);
    await farm.event(job.id, (event) => event.type === 'task.delivered');
    kill(farm, 'coordinator');
    const { job: done } = await farm.finish(job.id);
    expect(farm.notes.filter((note) => note.startsWith('coordinator was ended by SIGKILL'))).toHaveLength(1);
    await expectPaidOnce(farm, done, await farm.events(job.id), earned);
    earned += done.spent;
  });

  test('of the verifiers and of the chain in mid-job, the job finishes and the money is right', async () => {
    const job = await farm.submit(scene, TILED);
    await farm.event(job.id, (event) => event.type === 'batch.committed');
    kill(farm, 'verifier-1');
    kill(farm, 'verifier-2');
    kill(farm, 'chain');
    const { job: done } = await farm.finish(job.id);
    await expectPaidOnce(farm, done, await farm.events(job.id), earned);
    earned += done.spent;
  });
});

function kill(farm: TestFarm, name: string): void {
  const pid = farm.processes.get(name)?.pid;
  if (pid === undefined) throw new Error(`no process ${name}`);
  process.kill(pid, 'SIGKILL');
}

/** Every task is paid exactly once, and chain, database and nodes agree about it. `before`: what nodes had earned. */
async function expectPaidOnce(
  farm: TestFarm,
  job: JobView,
  events: LoggedEvent[],
  before = 0n,
): Promise<void> {
  const { tiles, frames } = job.spec;
  const tasks = frames.length * (tiles.columns * tiles.rows + 1);
  expect(job).toMatchObject({ state: 'completed', spent: job.quote, refunded: 0n });
  expect(job.tasks).toMatchObject({ total: tasks, verified: tasks });
  const signal = new AbortController().signal;
  const batches = await farm.client.batches(job.id, signal);
  const paid = batches.filter((batch) => batch.outcome === 'pass');
  expect(paid.reduce((sum, batch) => sum + batch.receipts, 0)).toBe(tasks);
  const chain = await chainOf(farm);
  expect(await chain.job(jobKey(job.id))).toMatchObject({
    state: 'closed',
    released: job.quote,
    refunded: 0n,
    reserved: 0n,
    free: 0n,
  });
  for (const { batchKey } of paid)
    expect(await chain.batch(batchKey as Bytes32)).toMatchObject({ state: 'settled', outcome: 'pass' });
  const nodes = await farm.client.nodes(signal);
  expect(nodes.reduce((sum, node) => sum + node.earned, 0n)).toBe(before + job.quote);
  const settled = events.flatMap(({ event }) => (event.type === 'batch.settled' ? [event.batchId] : []));
  expect(new Set(settled).size).toBe(settled.length);
}
