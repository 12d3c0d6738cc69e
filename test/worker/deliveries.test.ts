/** Results that are handed in together: a real coordinator takes them, the network between is made up. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { receiptLeaf } from '../../proof/receipts.ts';
import { MAX_RECEIPTS, MAX_RUN } from '../../protocol/messages.ts';
import type { Result } from '../../worker/deliveries.ts';
import type { Leaf } from '../../worker/sign-batch.ts';
import { receiptFor } from '../coordinator/delivery.ts';
import { tempFolder } from '../platform/temp-folder.ts';
import { type TaskRow, type TestCoordinator, testCoordinator } from '../support/coordinator-context.ts';
import { type FakeNode, fakeNode } from './fake-node.ts';

vi.setConfig({ testTimeout: 60_000, hookTimeout: 120_000 });

const never = new AbortController().signal;
/** Longer than any test: what is sent was sent for another reason. */
const FOR_EVER_MS = 2 ** 30;

let farm: TestCoordinator;
let folder: Awaited<ReturnType<typeof tempFolder>>;
let fake: FakeNode;
beforeAll(async () => {
  farm = await testCoordinator();
});
afterAll(() => farm[Symbol.asyncDispose]());
beforeEach(async () => {
  folder = await tempFolder();
  fake = await fakeNode(farm, folder.path);
  await fake.restart(FOR_EVER_MS);
});
afterEach(() => folder[Symbol.asyncDispose]());

const completions = (): number => fake.asked.filter((verb) => verb === 'complete').length;
const stateOf = async ({ grant }: Result) => (await farm.task(grant.taskId)).state;

/** Results of a new job, ready to be handed in; `spoil` makes some of them such that the farm refuses them. */
async function results(count: number, spoil?: (index: number) => Partial<Leaf['receipt']>) {
  return await resultsOf((await farm.addJob({ tilesPerFrame: count })).tiles, spoil);
}

async function resultsOf(
  tiles: readonly TaskRow[],
  spoil: (index: number) => Partial<Leaf['receipt']> = () => ({}),
): Promise<Result[]> {
  const made: Result[] = [];
  for (const [index, tile] of tiles.entries()) {
    const grant = await fake.grant(tile);
    const honest = await receiptFor(farm, fake.known, await farm.task(tile.id));
    const receipt = { ...honest, ...spoil(index) };
    made.push({ grant, receipt, leaf: receiptLeaf(receipt), renderMs: 1, peakMemoryBytes: 1 });
  }
  return made;
}

/** All of them are at work before the first is handed in. */
function handInAll(made: readonly Result[]): Promise<PromiseSettledResult<void>[]> {
  const expected = made.map(() => fake.node.deliveries.expect());
  return Promise.allSettled(
    made.map((result, index) => expected[index]?.handIn(result, new AbortController().signal)),
  );
}

describe('results', () => {
  it('wait for what the node is still at, and go together when the last is there', async () => {
    const [first, second] = (await results(2)) as [Result, Result];
    const later = fake.node.deliveries.expect();
    const waiting = fake.node.deliveries.expect().handIn(first, never);
    await stateOf(first);
    expect(completions()).toBe(0);
    await Promise.all([waiting, later.handIn(second, never)]);
    expect(completions()).toBe(1);
    expect([await stateOf(first), await stateOf(second)]).toEqual(['delivered', 'delivered']);
  });

  it('do not wait for one that will not come', async () => {
    const [only] = (await results(1)) as [Result];
    const failing = fake.node.deliveries.expect();
    const waiting = fake.node.deliveries.expect().handIn(only, never);
    failing[Symbol.dispose]();
    failing[Symbol.dispose]();
    await waiting;
    expect(await stateOf(only)).toBe('delivered');
  });

  it('do not wait longer than they may for one that takes long', async () => {
    await fake.restart(1);
    const [only] = (await results(1)) as [Result];
    using _slow = fake.node.deliveries.expect();
    await fake.node.deliveries.expect().handIn(only, never);
    expect(await stateOf(only)).toBe('delivered');
  });

  it('go at once when there are as many as one message takes', async () => {
    const made = await results(MAX_RUN);
    using _slow = fake.node.deliveries.expect();
    await handInAll(made);
    expect(completions()).toBe(1);
    expect(new Set(await Promise.all(made.map(stateOf)))).toEqual(new Set(['delivered']));
  });

  it('of two jobs are signed apart', async () => {
    const made = [...(await results(2)), ...(await results(1))];
    await handInAll(made);
    expect(completions()).toBe(2);
    expect(new Set(await Promise.all(made.map(stateOf)))).toEqual(new Set(['delivered']));
  });

  it('fill one batch and go on in the next', async () => {
    const { tiles } = await farm.addJob({ tilesPerFrame: MAX_RECEIPTS + 6 });
    // Groups that do not add up to a full batch.
    for (let from = 0; from < tiles.length; from += 15)
      await handInAll(await resultsOf(tiles.slice(from, from + 15)));
    const rows = await Promise.all(tiles.map((tile) => farm.task(tile.id)));
    expect(new Set(rows.map((row) => row.state))).toEqual(new Set(['delivered']));
    const [full, next] = [rows[0]?.batch_id, rows.at(-1)?.batch_id];
    expect(rows.filter((row) => row.batch_id === full)).toHaveLength(MAX_RECEIPTS);
    expect(rows.filter((row) => row.batch_id === next)).toHaveLength(6);
    expect(fake.node.deliveries.remembered).toBe(1);
  });

  it('are taken although one among them is refused, and that one hears why', async () => {
    const made = await results(3, (index) => (index === 1 ? { samples: 1 } : {}));
    const ends = await handInAll(made);
    expect(ends.map((end) => end.status)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
    expect(ends[1]).toMatchObject({ reason: { code: 'MESSAGE_INVALID' } });
    expect(await Promise.all(made.map(stateOf))).toEqual(['delivered', 'leased', 'delivered']);
  });

  it('are taken although the lease of one among them is over, and that one hears so', async () => {
    const made = await results(3);
    const [, lost] = made as [Result, Result];
    await farm.db
      .updateTable('tasks')
      .set({ state: 'dropped' })
      .where('id', '=', lost.grant.taskId)
      .execute();
    const ends = await handInAll(made);
    expect(ends.map((end) => end.status)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
    expect(ends[1]).toMatchObject({ reason: { code: 'LEASE_LOST' } });
    expect(completions()).toBe(2);
  });

  it('count when the answer to them is lost, and are not sent one by one again', async () => {
    let lost = 1;
    fake.setNetwork((verb) => (verb === 'complete' && lost-- > 0 ? 'lose' : 'pass'));
    const made = await results(3);
    const ends = await handInAll(made);
    expect(ends).toMatchObject(Array(3).fill({ reason: { code: 'LEASE_LOST' } }));
    expect(await Promise.all(made.map(stateOf))).toEqual(Array(3).fill('delivered'));
    expect(completions()).toBe(2);
  });

  it('are dropped when their signal aborts before they are sent', async () => {
    const [only] = (await results(1)) as [Result];
    using _slow = fake.node.deliveries.expect();
    const stopping = new AbortController();
    const waiting = fake.node.deliveries.expect().handIn(only, stopping.signal);
    stopping.abort();
    await expect(waiting).rejects.toMatchObject({ code: 'INTERRUPTED' });
    expect(completions()).toBe(0);
  });

  it('of many jobs leave a bounded number of batches to remember', async () => {
    for (let job = 0; job < 40; job++) await handInAll(await results(1));
    expect(fake.node.deliveries.remembered).toBe(32);
  });
});
