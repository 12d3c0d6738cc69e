import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Bytes32 } from '../../protocol/ids.ts';
import { chainOf } from '../support/chain-of.ts';
import { adversary, sample, startTestFarm, type TestFarm } from '../support/farm.ts';

describe('a node that renders a quarter of the samples', () => {
  let farm: TestFarm;
  beforeAll(async () => {
    farm = await startTestFarm({
      nodes: [
        { id: 'honest' },
        { id: 'cheat', entry: adversary('picture-cheat'), arguments: ['samples-25'] },
      ],
      leaseMs: 30_000,
    });
  });
  afterAll(async () => {
    await farm[Symbol.asyncDispose]();
  });

  test('is caught, is paid nothing, and its tiles are rendered again', async () => {
    const job = await farm.submit(sample('turntable'), { frames: [1], tiles: { columns: 4, rows: 3 } });
    const done = await farm.finish(job.id);
    const signal = new AbortController().signal;
    const batches = await farm.client.batches(job.id, signal);
    const cheated = batches.filter((batch) => batch.nodeId === 'cheat' && batch.kind === 'render');
    expect(cheated.length).toBeGreaterThan(0);
    for (const batch of cheated) {
      expect(batch.outcome).toBe('fail');
      const failed = batch.evidence?.comparisons.find((comparison) => comparison.outcome === 'fail');
      expect(failed?.pixelMatchFraction).toBeLessThanOrEqual(0.98);
      // What most farms would have looked at sees nothing, but for a crop now and then that is noise through and through.
      if (failed?.perceptualHashAloneWouldPay) expect(failed.decidedBy).toBe('pixelMatch');
      else expect(failed?.decidedBy).toBe('perceptualHash');
      expect(failed?.heatMap).not.toBeNull();
    }
    const nodes = await farm.client.nodes(signal);
    expect(nodes.find((node) => node.id === 'cheat')).toMatchObject({
      earned: 0n,
      tasksVerified: 0,
      state: 'quarantined',
    });
    expect(nodes.find((node) => node.id === 'honest')).toMatchObject({
      earned: done.job.quote,
      tasksForfeited: 0,
    });
    expect(done.job).toMatchObject({ state: 'completed', spent: done.job.quote, refunded: 0n });
    const chain = await chainOf(farm);
    for (const { batchKey } of cheated) expect((await chain.batch(batchKey as Bytes32)).outcome).toBe('fail');
  });

  test('gets no more work while it is quarantined', async () => {
    const job = await farm.submit(sample('turntable'), { frames: [2], tiles: { columns: 2, rows: 2 } });
    await farm.finish(job.id);
    const events = await farm.events(job.id);
    const leases = events.flatMap(({ event }) => (event.type === 'task.leased' ? [event.nodeId] : []));
    expect(new Set(leases)).toEqual(new Set(['honest']));
  });
});
