import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Address, Bytes32 } from '../../protocol/ids.ts';
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

  test('is caught by two verifiers, is paid nothing and loses stake, and its tiles are rendered again', async () => {
    const job = await farm.submit(sample('turntable'), { frames: [1], tiles: { columns: 4, rows: 3 } });
    const done = await farm.finish(job.id);
    const signal = new AbortController().signal;
    const batches = await farm.client.batches(job.id, signal);
    const cheated = batches.filter((batch) => batch.nodeId === 'cheat' && batch.kind === 'render');
    expect(cheated.length).toBeGreaterThan(0);
    for (const batch of cheated) {
      expect(batch).toMatchObject({ outcome: 'fail', agreed: true });
      // The second has looked for itself: other evidence, the same finding.
      expect(batch.verdicts).toMatchObject([
        { role: 'first', outcome: 'fail' },
        { role: 'second', outcome: 'fail' },
      ]);
      const [one, two] = batch.verdicts;
      expect(one?.address).not.toBe(two?.address);
      expect(BigInt(batch.slashed)).toBe(10n * BigInt(batch.amount));
      const failed = batch.evidence?.comparisons.find((comparison) => comparison.outcome === 'fail');
      expect(failed?.pixelMatchFraction).toBeLessThanOrEqual(0.98);
      // What most farms would have looked at sees nothing, but for a crop now and then that is noise through and through.
      if (failed?.perceptualHashAloneWouldPay) expect(failed.decidedBy).toBe('pixelMatch');
      else expect(failed?.decidedBy).toBe('perceptualHash');
      expect(failed?.heatMap).not.toBeNull();
    }
    const nodes = await farm.client.nodes(signal);
    const lost = batches.reduce((sum, { slashed }) => sum + BigInt(slashed), 0n);
    expect(lost).toBeGreaterThan(0n);
    const cheat = nodes.find((node) => node.id === 'cheat');
    expect(cheat).toMatchObject({ slashed: lost, stake: 100_000_000n - lost });
    expect(nodes.find((node) => node.id === 'cheat')).toMatchObject({
      earned: 0n,
      tasksVerified: 0,
      state: 'quarantined',
    });
    expect(nodes.find((node) => node.id === 'honest')).toMatchObject({
      earned: done.job.quote,
      tasksForfeited: 0,
      stake: 100_000_000n,
    });
    expect(done.job).toMatchObject({ state: 'completed', spent: done.job.quote, refunded: 0n });
    const chain = await chainOf(farm);
    for (const { batchKey } of cheated)
      expect(await chain.batch(batchKey as Bytes32)).toMatchObject({ outcome: 'fail', agreed: true });
    expect((await chain.operator(cheat?.operator as Address)).stake).toBe(100_000_000n - lost);
  });

  test('gets no more work while it is quarantined', async () => {
    const job = await farm.submit(sample('turntable'), { frames: [2], tiles: { columns: 2, rows: 2 } });
    await farm.finish(job.id);
    const events = await farm.events(job.id);
    const leases = events.flatMap(({ event }) => (event.type === 'task.leased' ? [event.nodeId] : []));
    expect(new Set(leases)).toEqual(new Set(['honest']));
  });
});
