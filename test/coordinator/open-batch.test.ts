import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { endJob } from '../../coordinator/scheduling/end-job.ts';
import {
  batchState,
  closeBatches,
  endEmptyBatches,
  openBatch,
  openBatches,
} from '../../coordinator/settlement/open-batch.ts';
import { partsOfBatchKey } from '../../platform/chain/keys.ts';
import type { BatchId, Bytes32 } from '../../protocol/ids.ts';
import { type TaskRow, type TestCoordinator, testCoordinator } from '../support/coordinator-context.ts';
import { deliver, leaseTo } from './delivery.ts';

vi.setConfig({ testTimeout: 30_000, hookTimeout: 120_000 });

let farm: TestCoordinator;
beforeAll(async () => {
  farm = await testCoordinator();
});
afterAll(() => farm[Symbol.asyncDispose]());

const AGE_MS = 15_000;
const close = (): Promise<number> => closeBatches(farm.db, new Date(farm.clock.now()), AGE_MS);
const stateOf = async (id: BatchId): Promise<string> =>
  (await farm.db.selectFrom('batches').select('state').where('id', '=', id).executeTakeFirstOrThrow()).state;

describe('the open batch of a node', () => {
  it('is one per job, node and kind', async () => {
    const [a, b] = [await farm.addNode(), await farm.addNode()];
    const [one, two] = [await farm.addJob(), await farm.addJob()];
    const now = new Date(farm.clock.now());
    const key = { jobId: one.id, nodeId: a.id, address: a.address, kind: 'render' as const };
    const first = await openBatch(farm.db, key, now);
    expect(await openBatch(farm.db, key, now)).toBe(first);
    const others = [
      await openBatch(farm.db, { ...key, jobId: two.id }, now),
      await openBatch(farm.db, { ...key, nodeId: b.id }, now),
      await openBatch(farm.db, { ...key, kind: 'finish' }, now),
    ];
    expect(new Set([first, ...others]).size).toBe(4);
  });

  it('is one even when it is opened twice in the same moment', async () => {
    const node = await farm.addNode();
    const { id } = await farm.addJob();
    const key = { jobId: id, nodeId: node.id, address: node.address, kind: 'render' as const };
    const ids = await Promise.all([1, 2, 3].map(() => openBatch(farm.db, key, new Date(farm.clock.now()))));
    expect(new Set(ids).size).toBe(1);
  });

  it('is opened for many nodes and jobs together, in the order asked, several of one node among them', async () => {
    const [a, b] = [await farm.addNode(), await farm.addNode()];
    const jobs = [await farm.addJob(), await farm.addJob()];
    const keys = [a, b].flatMap(({ id: nodeId, address }) =>
      jobs.map(({ id: jobId }) => ({ jobId, nodeId, address, kind: 'render' as const })),
    );
    const now = new Date(farm.clock.now());
    const before = await openBatch(farm.db, keys[2] as (typeof keys)[number], now);
    const opened = await openBatches(farm.db, keys, now);
    expect(new Set(opened.map(({ id }) => id)).size).toBe(4);
    expect(opened[2]?.id).toBe(before);
    expect(await openBatches(farm.db, keys.toReversed(), now)).toEqual(opened.toReversed());
    const rows = await farm.db
      .selectFrom('batches')
      .select(['node_id', 'lane'])
      .where(
        'id',
        'in',
        opened.map(({ id }) => id),
      )
      .execute();
    for (const node of [a, b])
      expect(
        rows
          .filter((row) => row.node_id === node.id)
          .map(({ lane }) => lane)
          .sort(),
      ).toEqual([0, 1]);
  });

  it('is followed by a new one once it is closed', async () => {
    const node = await farm.addNode();
    const { id, tiles } = await farm.addJob();
    await deliver(farm, node, tiles);
    const old = (await farm.batchOf(id)).id;
    await close();
    const key = { jobId: id, nodeId: node.id, address: node.address, kind: 'render' as const };
    expect(await openBatch(farm.db, key, new Date(farm.clock.now()))).not.toBe(old);
  });

  it('tells its leaves in the order in which they came, and its price', async () => {
    const node = await farm.addNode();
    const { id, tiles } = await farm.addJob({ tilesPerFrame: 3 });
    await deliver(farm, node, [...tiles].reverse());
    const { id: batchId, chain_key: batchKey } = await farm.batchOf(id);
    const rows = await Promise.all([...tiles].reverse().map((tile) => farm.task(tile.id)));
    expect(await batchState(farm.db, batchId)).toEqual({
      batchId,
      batchKey,
      leaves: rows.map((row) => row.leaf),
      amount: 3_000n,
    });
  });
});

describe('the lane of a batch', () => {
  const partsOf = async (id: BatchId) => {
    const row = await farm.db
      .selectFrom('batches')
      .selectAll()
      .where('id', '=', id)
      .executeTakeFirstOrThrow();
    return partsOfBatchKey(row.chain_key as Bytes32);
  };
  const settle = (id: BatchId) =>
    farm.db.updateTable('batches').set({ state: 'settled' }).where('id', '=', id).execute();
  const now = () => new Date(farm.clock.now());

  it('is the smallest that no unsettled batch of the node is in, and its generation was never used there', async () => {
    const node = await farm.addNode();
    const open = async (): Promise<BatchId> => {
      const { id } = await farm.addJob();
      const key = { jobId: id, nodeId: node.id, address: node.address, kind: 'render' as const };
      return await openBatch(farm.db, key, now());
    };
    const [a, b, c] = [await open(), await open(), await open()];
    const { address } = node;
    expect(await partsOf(a)).toEqual({ node: address, lane: 0, generation: 1n });
    expect(await partsOf(b)).toEqual({ node: address, lane: 1, generation: 1n });
    expect(await partsOf(c)).toEqual({ node: address, lane: 2, generation: 1n });
    await settle(b);
    await settle(a);
    expect(await partsOf(await open())).toEqual({ node: address, lane: 0, generation: 2n });
    expect(await partsOf(await open())).toEqual({ node: address, lane: 1, generation: 2n });
    expect(await partsOf(await open())).toEqual({ node: address, lane: 3, generation: 1n });
  });

  it('is another for batches that are opened in the same moment', async () => {
    const node = await farm.addNode();
    const jobs = [await farm.addJob(), await farm.addJob(), await farm.addJob()];
    const ids = await Promise.all(
      jobs.map(({ id }) =>
        openBatch(
          farm.db,
          { jobId: id, nodeId: node.id, address: node.address, kind: 'render' as const },
          now(),
        ),
      ),
    );
    const lanes = (await Promise.all(ids.map(partsOf))).map(({ lane }) => lane);
    expect(lanes.sort()).toEqual([0, 1, 2]);
  });

  it('is free again when the job ends and nothing was put into the batch', async () => {
    const node = await farm.addNode();
    const { id } = await farm.addJob();
    const key = { jobId: id, nodeId: node.id, address: node.address, kind: 'render' as const };
    const batch = await openBatch(farm.db, key, now());
    await endEmptyBatches(farm.db, id);
    expect(await stateOf(batch)).toBe('settled');
    const other = { ...key, jobId: (await farm.addJob()).id };
    expect(await partsOf(await openBatch(farm.db, other, now()))).toMatchObject({ lane: 0, generation: 2n });
  });
});

describe('closing batches', () => {
  it('leaves an empty batch open, however old', async () => {
    const node = await farm.addNode();
    const { id } = await farm.addJob();
    const key = { jobId: id, nodeId: node.id, address: node.address, kind: 'render' as const };
    const batch = await openBatch(farm.db, key, new Date(0));
    await close();
    expect(await stateOf(batch)).toBe('open');
  });

  it('leaves a young batch open while tiles of the job are queued', async () => {
    const node = await farm.addNode();
    const { id, tiles } = await farm.addJob();
    await deliver(farm, node, tiles.slice(0, 1));
    const batch = await farm.batchOf(id);
    await close();
    expect(await stateOf(batch.id)).toBe('open');
    farm.clock.advance(AGE_MS);
    await close();
    expect(await stateOf(batch.id)).toBe('open');
    farm.clock.advance(1);
    expect(await close()).toBeGreaterThanOrEqual(1);
    expect(await stateOf(batch.id)).toBe('closed');
  });

  it('leaves an old batch open where only those are looked at that can grow no further', async () => {
    const node = await farm.addNode();
    const [{ id, tiles }, other] = [await farm.addJob(), await farm.addJob()];
    await deliver(farm, node, tiles.slice(0, 1));
    await deliver(farm, node, other.tiles);
    const [growing, grown] = [await farm.batchOf(id), await farm.batchOf(other.id)];
    farm.clock.advance(AGE_MS + 1);
    await closeBatches(farm.db, new Date(farm.clock.now()), null);
    expect(await stateOf(growing.id)).toBe('open');
    expect(await stateOf(grown.id)).toBe('closed');
    await close();
    expect(await stateOf(growing.id)).toBe('closed');
  });

  it('leaves a batch open while its node is at work on a task of its kind, and closes it when only others are', async () => {
    const [slow, fast] = [await farm.addNode(), await farm.addNode()];
    const { id, tiles } = await farm.addJob({ tilesPerFrame: 3 });
    await deliver(farm, slow, tiles.slice(0, 1));
    const slowBatch = await farm.batchOf(id);
    await leaseTo(farm, slow, tiles[1] as TaskRow);
    await deliver(farm, fast, tiles.slice(2));
    const fastBatch = await farm.batchOf(id);
    await close();
    expect(await stateOf(slowBatch.id)).toBe('open');
    expect(await stateOf(fastBatch.id)).toBe('closed');
  });

  it('closes a batch of tiles when all tiles are delivered, though finish tasks still wait', async () => {
    const node = await farm.addNode();
    const { id, tiles } = await farm.addJob();
    await deliver(farm, node, tiles);
    await close();
    expect((await farm.batchOf(id)).state).toBe('closed');
  });

  it('closes the batches of a job that has ended, so that what was delivered is still paid', async () => {
    const node = await farm.addNode();
    const { id, tiles } = await farm.addJob({ tilesPerFrame: 3 });
    await deliver(farm, node, tiles.slice(0, 1));
    await leaseTo(farm, node, tiles[1] as TaskRow);
    await farm.db.transaction().execute((tx) => endJob(farm.context, tx, id, 'cancelled', null));
    await close();
    expect((await farm.batchOf(id)).state).toBe('closed');
  });
});
