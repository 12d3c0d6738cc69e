import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { completeAll, completeTasks } from '../../coordinator/scheduling/complete-tasks.ts';
import { requeueLostLeases } from '../../coordinator/scheduling/lost-leases.ts';
import { receiptOf } from '../../coordinator/settlement/receipts.ts';
import { newPrivateKey } from '../../platform/chain/signing.ts';
import { receiptLeaf, receiptRoot } from '../../proof/receipts.ts';
import { digestSchema, type TaskId } from '../../protocol/ids.ts';
import { type Complete, type Delivery, MAX_RECEIPTS } from '../../protocol/messages.ts';
import {
  type TaskRow,
  type TestCoordinator,
  type TestNode,
  testCoordinator,
} from '../support/coordinator-context.ts';
import {
  batchFor,
  type Completion,
  completeTask,
  completionOf,
  deliver,
  leaseTo,
  receiptFor,
  signBatch,
  signRun,
} from './delivery.ts';

vi.setConfig({ testTimeout: 30_000, hookTimeout: 60_000 });

let farm: TestCoordinator;
beforeAll(async () => {
  farm = await testCoordinator();
});
afterAll(() => farm[Symbol.asyncDispose]());

async function leased() {
  const node = await farm.addNode();
  const job = await farm.addJob();
  const task = await leaseTo(farm, node, job.tiles[0] as TaskRow);
  return { node, job, task };
}

const withoutBatch = ({ batch: _batch, ...delivery }: Completion): Delivery => delivery;

describe('delivering a task', () => {
  it('refuses who has lost it, also in the very moment in which its new node delivers it', async () => {
    const { node: silent, job, task } = await leased();
    const other = await farm.addNode();
    const late = await completionOf(farm, silent, task);
    farm.clock.advance(farm.context.config.leaseMs + 1);
    await requeueLostLeases(farm.context);
    const right = await completionOf(farm, other, await leaseTo(farm, other, task));
    const messages = [
      { nodeId: silent.id, message: { deliveries: [withoutBatch(late)], batch: late.batch } },
      { nodeId: other.id, message: { deliveries: [withoutBatch(right)], batch: right.batch } },
    ];
    const [refused, taken] = await completeAll(farm.context, messages);
    expect(refused).toMatchObject({ error: { code: 'LEASE_LOST' } });
    expect(taken).toMatchObject({ value: { moved: null, lost: [] } });
    const batches = await farm.db
      .selectFrom('batches')
      .select(['node_id', 'receipts'])
      .where('job_id', '=', job.id)
      .where('receipts', '>', 0)
      .execute();
    expect(batches).toEqual([{ node_id: other.id, receipts: 1 }]);
  });

  it('takes a right receipt: task, batch and event in one step', async () => {
    const { node, job, task } = await leased();
    const message = await completionOf(farm, node, task);
    expect(await completeTask(farm.context, node.id, message)).toMatchObject({ moved: null });
    const row = await farm.task(task.id);
    const leaf = receiptLeaf(message.receipt);
    expect(row).toMatchObject({
      state: 'delivered',
      leaf,
      batch_index: 0,
      lease_until: null,
      progress: 1,
      render_ms: 1_235,
    });
    expect(receiptOf(row)).toEqual(message.receipt);
    expect(await farm.batchOf(job.id)).toMatchObject({
      id: row.batch_id,
      state: 'open',
      receipts: 1,
      amount: '1000',
      root: receiptRoot([leaf]),
      signature: message.batch.signature,
      node_address: node.address,
    });
    expect(await farm.eventsOf(job.id)).toEqual([
      expect.objectContaining({ type: 'task.delivered', nodeId: node.id }),
    ]);
  });

  it('gathers receipts of one node and kind in one batch, in the order in which they came', async () => {
    const node = await farm.addNode();
    const { id, tiles } = await farm.addJob({ tilesPerFrame: 3 });
    await deliver(farm, node, tiles);
    const rows = await Promise.all(tiles.map((tile) => farm.task(tile.id)));
    expect(rows.map((row) => row.batch_index)).toEqual([0, 1, 2]);
    expect(new Set(rows.map((row) => row.batch_id)).size).toBe(1);
    const leaves = rows.map((row) => receiptLeaf(receiptOf(row)));
    expect(await farm.batchOf(id)).toMatchObject({ receipts: 3, amount: '3000', root: receiptRoot(leaves) });
  });

  it('counts the age of a batch from its first receipt, not from the lease', async () => {
    const { node, job, task } = await leased();
    await batchFor(farm, node, task);
    farm.clock.advance(9_000);
    await completeTask(farm.context, node.id, await completionOf(farm, node, task));
    expect((await farm.batchOf(job.id)).opened_at).toEqual(new Date(farm.clock.now()));
  });

  it('closes a batch that is full', async () => {
    const node = await farm.addNode();
    const { id, tiles } = await farm.addJob({ tilesPerFrame: MAX_RECEIPTS + 1 });
    await deliver(farm, node, tiles.slice(0, MAX_RECEIPTS));
    expect(await farm.batchOf(id)).toMatchObject({ state: 'closed', receipts: MAX_RECEIPTS });
    await deliver(farm, node, tiles.slice(MAX_RECEIPTS));
    expect(await farm.batchOf(id)).toMatchObject({ state: 'open', receipts: 1 });
  });

  it('refuses the same delivery a second time and keeps the first', async () => {
    const { node, job, task } = await leased();
    const message = await completionOf(farm, node, task);
    await completeTask(farm.context, node.id, message);
    await expect(completeTask(farm.context, node.id, message)).rejects.toMatchObject({ code: 'LEASE_LOST' });
    expect((await farm.batchOf(job.id)).receipts).toBe(1);
  });

  it('takes one of two deliveries that arrive in the same moment', async () => {
    const { node, job, task } = await leased();
    const message = await completionOf(farm, node, task);
    const both = await Promise.allSettled([
      completeTask(farm.context, node.id, message),
      completeTask(farm.context, node.id, message),
    ]);
    expect(both.map((one) => one.status).sort()).toEqual(['fulfilled', 'rejected']);
    expect(await farm.batchOf(job.id)).toMatchObject({ receipts: 1, amount: '1000' });
  });

  it('refuses a delivery under an old token with LEASE_LOST', async () => {
    const { node, task } = await leased();
    const message = await completionOf(farm, node, task);
    farm.clock.advance(farm.context.config.leaseMs + 1);
    await requeueLostLeases(farm.context);
    await expect(completeTask(farm.context, node.id, message)).rejects.toMatchObject({ code: 'LEASE_LOST' });
    // With nobody else there the same node gets it again, under another token.
    await farm.everybodyLeaves();
    await leaseTo(farm, node, task);
    await expect(completeTask(farm.context, node.id, message)).rejects.toMatchObject({ code: 'LEASE_LOST' });
    expect((await farm.task(task.id)).state).toBe('leased');
  });

  it('refuses the delivery of a task that another node leased', async () => {
    const { node, task } = await leased();
    const thief = await farm.addNode();
    const message = await completionOf(farm, node, task);
    await expect(completeTask(farm.context, thief.id, message)).rejects.toMatchObject({ code: 'LEASE_LOST' });
  });

  it('refuses a receipt whose files were not delivered', async () => {
    const { node, task } = await leased();
    const message = await completionOf(farm, node, task);
    const exrDigest = digestSchema.parse('e'.repeat(64));
    const receipt = { ...message.receipt, exrDigest };
    await expect(completeTask(farm.context, node.id, { ...message, receipt })).rejects.toMatchObject({
      code: 'MESSAGE_INVALID',
      message: expect.stringContaining(exrDigest),
    });
    expect((await farm.task(task.id)).state).toBe('leased');
  });

  it('refuses a receipt that does not fit the lease and keeps the lease', async () => {
    const { node, task } = await leased();
    const message = await completionOf(farm, node, task);
    const receipt = { ...message.receipt, samples: 1 };
    await expect(completeTask(farm.context, node.id, { ...message, receipt })).rejects.toMatchObject({
      code: 'MESSAGE_INVALID',
    });
    expect((await farm.task(task.id)).state).toBe('leased');
  });

  it('asks to sign again when the batch grew meanwhile, and takes that', async () => {
    const node = await farm.addNode();
    const { tiles } = await farm.addJob();
    const [first, second] = [
      await leaseTo(farm, node, tiles[0] as TaskRow),
      await leaseTo(farm, node, tiles[1] as TaskRow),
    ];
    const early = await completionOf(farm, node, second);
    await completeTask(farm.context, node.id, await completionOf(farm, node, first));
    const { moved } = await completeTask(farm.context, node.id, early);
    expect(moved).toMatchObject({ batchId: early.batch.batchId, amount: 1_000n });
    expect(moved?.leaves).toHaveLength(1);
    expect((await farm.task(second.id)).state).toBe('leased');
    if (moved === null) return;
    const leaf = receiptLeaf(early.receipt);
    const again = {
      ...early,
      batch: signBatch(farm, node.key, second.job_id, moved, leaf, early.receipt.price),
    };
    expect(await completeTask(farm.context, node.id, again)).toMatchObject({ moved: null });
  });

  it('asks to sign a new batch when the old one was closed meanwhile', async () => {
    const node = await farm.addNode();
    const { id, tiles } = await farm.addJob();
    await deliver(farm, node, tiles.slice(0, 1));
    const task = await leaseTo(farm, node, tiles[1] as TaskRow);
    const message = await completionOf(farm, node, task);
    await farm.db.updateTable('batches').set({ state: 'closed' }).where('job_id', '=', id).execute();
    const { moved } = await completeTask(farm.context, node.id, message);
    expect(moved).toMatchObject({ leaves: [], amount: 0n });
    expect(moved?.batchId).not.toBe(message.batch.batchId);
  });

  it.each([
    ['root', { root: `0x${'5'.repeat(64)}` }],
    ['amount', { amount: 2_000n }],
    ['count', { count: 2 }],
  ])('asks to sign again where the signed %s is not that of the batch', async (_what, changes) => {
    const { node, task } = await leased();
    const message = await completionOf(farm, node, task);
    const batch = { ...message.batch, ...changes } as typeof message.batch;
    expect((await completeTask(farm.context, node.id, { ...message, batch })).moved).not.toBeNull();
    expect((await farm.task(task.id)).state).toBe('leased');
  });

  it('refuses a batch that another key signed, and changes nothing', async () => {
    const { node, job, task } = await leased();
    const message = await completionOf(farm, node, task);
    const batch = await batchFor(farm, node, task);
    const forged = signBatch(
      farm,
      newPrivateKey(),
      job.id,
      batch,
      receiptLeaf(message.receipt),
      message.receipt.price,
    );
    await expect(completeTask(farm.context, node.id, { ...message, batch: forged })).rejects.toMatchObject({
      code: 'MESSAGE_INVALID',
      message: expect.stringContaining('not signed by the node'),
    });
    expect(await farm.batchOf(job.id)).toMatchObject({ receipts: 0, signature: null });
    expect((await farm.task(task.id)).state).toBe('leased');
  });

  it('refuses a signature for another job', async () => {
    const { node, task } = await leased();
    const other = await farm.addJob();
    const message = await completionOf(farm, node, task);
    const batch = await batchFor(farm, node, task);
    const replayed = signBatch(
      farm,
      node.key,
      other.id,
      batch,
      receiptLeaf(message.receipt),
      message.receipt.price,
    );
    await expect(completeTask(farm.context, node.id, { ...message, batch: replayed })).rejects.toMatchObject({
      code: 'MESSAGE_INVALID',
    });
  });

  it('refuses results of a job that has ended', async () => {
    const { node, job, task } = await leased();
    const message = await completionOf(farm, node, task);
    await farm.db.updateTable('tasks').set({ state: 'dropped' }).where('job_id', '=', job.id).execute();
    await expect(completeTask(farm.context, node.id, message)).rejects.toMatchObject({ code: 'LEASE_LOST' });
    expect((await farm.task(task.id as TaskId)).receipt).toBeNull();
  });
});

describe('delivering several tasks at once', () => {
  /** A node with the first tiles of a job, and its message with all of them. */
  async function leasedRun(count = 3) {
    const node = await farm.addNode();
    const job = await farm.addJob({ tilesPerFrame: count });
    const tasks: TaskRow[] = [];
    for (const tile of job.tiles) tasks.push(await leaseTo(farm, node, tile));
    return { node, job, tasks };
  }
  async function messageOf(node: TestNode, tasks: readonly TaskRow[]): Promise<Complete> {
    const deliveries: Delivery[] = [];
    for (const task of tasks) {
      const receipt = await receiptFor(farm, node, task);
      deliveries.push({ taskId: task.id, token: task.token, receipt, renderMs: 5, peakMemoryBytes: 1 });
    }
    const batch = await batchFor(farm, node, tasks[0] as TaskRow);
    const receipts = deliveries.map(({ receipt }) => receipt);
    return { deliveries, batch: signRun(farm, node.key, batch, receipts) };
  }
  const states = async (tasks: readonly TaskRow[]) =>
    Promise.all(tasks.map(async (task) => (await farm.task(task.id)).state));

  it('takes all of them under one signature, in their order, and queues the finish of a complete frame', async () => {
    const { node, job, tasks } = await leasedRun();
    const message = await messageOf(node, tasks);
    expect(await completeTasks(farm.context, node.id, message)).toEqual({
      moved: null,
      lost: [],
      queued: true,
    });
    const rows = await Promise.all(tasks.map((task) => farm.task(task.id)));
    expect(rows.map((row) => [row.state, row.batch_index])).toEqual([
      ['delivered', 0],
      ['delivered', 1],
      ['delivered', 2],
    ]);
    expect(rows.map(receiptOf)).toEqual(message.deliveries.map(({ receipt }) => receipt));
    expect(await farm.batchOf(job.id)).toMatchObject({
      receipts: 3,
      amount: '3000',
      root: message.batch.root,
    });
    const events = await farm.eventsOf(job.id);
    expect(events.map((event) => event.type)).toEqual(Array(3).fill('task.delivered'));
    const finish = await farm.db
      .selectFrom('tasks')
      .select('state')
      .where('job_id', '=', job.id)
      .where('kind', '=', 'finish')
      .execute();
    expect(finish).toEqual([{ state: 'queued' }]);
  });

  it('names the leases that are over and takes none; without them it takes the others', async () => {
    const { node, tasks } = await leasedRun();
    const message = await messageOf(node, tasks);
    const [first, second, third] = tasks as [TaskRow, TaskRow, TaskRow];
    await farm.db.updateTable('tasks').set({ state: 'dropped' }).where('id', '=', second.id).execute();
    const reply = await completeTasks(farm.context, node.id, message);
    expect(reply).toMatchObject({ moved: { leaves: [] }, lost: [second.id], queued: false });
    expect(await states(tasks)).toEqual(['leased', 'dropped', 'leased']);
    const again = await messageOf(node, [first, third]);
    expect(await completeTasks(farm.context, node.id, again)).toMatchObject({ moved: null, lost: [] });
    expect(await states(tasks)).toEqual(['delivered', 'dropped', 'delivered']);
  });

  it('takes none when one of them does not fit its lease', async () => {
    const { node, job, tasks } = await leasedRun();
    const message = await messageOf(node, tasks);
    const last = message.deliveries[2] as Delivery;
    const deliveries = [
      ...message.deliveries.slice(0, 2),
      { ...last, receipt: { ...last.receipt, samples: 1 } },
    ];
    await expect(completeTasks(farm.context, node.id, { ...message, deliveries })).rejects.toMatchObject({
      code: 'MESSAGE_INVALID',
      message: expect.stringContaining('samples'),
    });
    expect(await states(tasks)).toEqual(['leased', 'leased', 'leased']);
    expect(await farm.batchOf(job.id)).toMatchObject({ receipts: 0 });
  });

  it('refuses one result twice, and results of two jobs', async () => {
    const { node, tasks } = await leasedRun();
    const other = await farm.addJob();
    const foreign = await leaseTo(farm, node, other.tiles[0] as TaskRow);
    const message = await messageOf(node, tasks);
    const [first] = message.deliveries as [Delivery];
    for (const deliveries of [
      [first, first],
      [first, ...(await messageOf(node, [foreign])).deliveries],
    ]) {
      await expect(completeTasks(farm.context, node.id, { ...message, deliveries })).rejects.toMatchObject({
        code: 'MESSAGE_INVALID',
      });
    }
    expect(await states([...tasks, foreign])).toEqual(['leased', 'leased', 'leased', 'leased']);
  });

  it('asks to sign again where more receipts are signed than a batch takes', async () => {
    const node = await farm.addNode();
    const job = await farm.addJob({ tilesPerFrame: MAX_RECEIPTS + 2 });
    await deliver(farm, node, job.tiles.slice(0, MAX_RECEIPTS - 1));
    const rest: TaskRow[] = [];
    for (const tile of job.tiles.slice(MAX_RECEIPTS - 1)) rest.push(await leaseTo(farm, node, tile));
    const { moved } = await completeTasks(farm.context, node.id, await messageOf(node, rest));
    expect(moved?.leaves).toHaveLength(MAX_RECEIPTS - 1);
    expect(await states(rest)).toEqual(['leased', 'leased', 'leased']);
    expect(await farm.batchOf(job.id)).toMatchObject({ state: 'open', receipts: MAX_RECEIPTS - 1 });
  });
});
