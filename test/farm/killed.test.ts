import { describe, expect, test } from 'vitest';
import { jobKey } from '../../platform/chain/keys.ts';
import type { LoggedEvent } from '../../protocol/events.ts';
import type { Bytes32 } from '../../protocol/ids.ts';
import type { JobView } from '../../protocol/job.ts';
import { chainOf } from '../support/chain-of.ts';
import { sample, startTestFarm, type TestFarm } from '../support/farm.ts';

/** Starting Blender alone takes a node a second, so that a kill right after a lease or a delivery finds a tile under way. */
const TILED = { frames: [1], tiles: { columns: 3, rows: 2 }, samples: 8 };

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

  test('of the coordinator in mid-job, the job finishes: no tile lost, none paid twice', {
    timeout: 900_000,
  }, async () => {
    await using farm = await startTestFarm({ restart: true });
    const job = await farm.submit(sample('turntable'), TILED);
    await farm.event(job.id, (event) => event.type === 'task.delivered');
    kill(farm, 'coordinator');
    const { job: done } = await farm.finish(job.id);
    expect(farm.notes.filter((note) => note.startsWith('coordinator was ended by SIGKILL'))).toHaveLength(1);
    await expectPaidOnce(farm, done, await farm.events(job.id));
  });

  test('of the verifiers and of the chain in mid-job, the job finishes and the money is right', {
    timeout: 900_000,
  }, async () => {
    await using farm = await startTestFarm({ restart: true });
    const job = await farm.submit(sample('turntable'), TILED);
    await farm.event(job.id, (event) => event.type === 'batch.committed');
    kill(farm, 'verifier-1');
    kill(farm, 'verifier-2');
    kill(farm, 'chain');
    const { job: done } = await farm.finish(job.id);
    await expectPaidOnce(farm, done, await farm.events(job.id));
  });
});

function kill(farm: TestFarm, name: string): void {
  const pid = farm.processes.get(name)?.pid;
  if (pid === undefined) throw new Error(`no process ${name}`);
  process.kill(pid, 'SIGKILL');
}

/** Every task is paid exactly once, and chain, database and nodes agree about it. */
async function expectPaidOnce(farm: TestFarm, job: JobView, events: LoggedEvent[]): Promise<void> {
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
  expect(nodes.reduce((sum, node) => sum + node.earned, 0n)).toBe(job.quote);
  const settled = events.flatMap(({ event }) => (event.type === 'batch.settled' ? [event.batchId] : []));
  expect(new Set(settled).size).toBe(settled.length);
}
