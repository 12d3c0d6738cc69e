import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { closeBatches } from '../../coordinator/settlement/open-batch.ts';
import { escrowDomain } from '../../platform/chain/signing.ts';
import { FORGERIES } from '../adversaries/messages.ts';
import { type TaskRow, type TestCoordinator, testCoordinator } from '../support/coordinator-context.ts';
import { batchFor, completeTask, completionOf, deliver, leaseTo, receiptFor, signRun } from './delivery.ts';

vi.setConfig({ testTimeout: 30_000, hookTimeout: 120_000 });

let farm: TestCoordinator;
beforeAll(async () => {
  farm = await testCoordinator();
});
afterAll(() => farm[Symbol.asyncDispose]());

describe('a node that hopes', () => {
  it.each(FORGERIES)('$hopes is refused, and nothing is written down', async ({ make }) => {
    const [node, other] = [await farm.addNode(), await farm.addNode()];
    const job = await farm.addJob({ tilesPerFrame: 3 });
    const [first, second] = job.tiles as [TaskRow, TaskRow];
    const foreign = await receiptFor(farm, other, await leaseTo(farm, other, first));
    const task = await leaseTo(farm, node, second);
    const honest = await completionOf(farm, node, task);
    const { chainId, escrowAddress } = farm.context.chain;
    const { receipt, batch } = make({
      ...{ node, receipt: honest.receipt, foreign },
      batch: await batchFor(farm, node, task),
      domain: escrowDomain(chainId, escrowAddress),
    });
    await expect(completeTask(farm.context, node.id, { ...honest, receipt, batch })).rejects.toMatchObject({
      code: 'MESSAGE_INVALID',
    });
    expect(await farm.task(task.id)).toMatchObject({ state: 'leased', receipt: null, batch_id: null });
    expect(await farm.batchOf(job.id)).toMatchObject({ receipts: 0, root: null, signature: null });
    // The same node may still hand in what it should have.
    expect(await completeTask(farm.context, node.id, honest)).toMatchObject({ moved: null });
  });

  it('to change its root until the draw suits is told to sign another batch; the one that goes on chain stays', async () => {
    const node = await farm.addNode();
    const job = await farm.addJob({ tilesPerFrame: 3 });
    const [first, second] = job.tiles as [TaskRow, TaskRow];
    await deliver(farm, node, [first]);
    const before = await batchFor(farm, node, first);
    const task = await leaseTo(farm, node, second);
    const receipt = await receiptFor(farm, node, task);
    farm.clock.advance(20_000);
    await farm.db.updateTable('tasks').set({ state: 'queued' }).where('id', '=', task.id).execute();
    await closeBatches(farm.db, new Date(farm.clock.now()), 15_000);
    await farm.db.updateTable('tasks').set({ state: 'leased' }).where('id', '=', task.id).execute();
    const closed = await farm.batchOf(job.id);
    expect(closed).toMatchObject({ state: 'closed', id: before.batchId });
    const again = {
      ...(await completionOf(farm, node, task)),
      batch: signRun(farm, node.key, before, [receipt]),
    };
    const reply = await completeTask(farm.context, node.id, again);
    expect(reply.moved?.batchId).not.toBe(before.batchId);
    expect(reply.moved?.batchKey).not.toBe(before.batchKey);
    const kept = await farm.db
      .selectFrom('batches')
      .selectAll()
      .where('id', '=', closed.id)
      .executeTakeFirst();
    expect(kept).toMatchObject({ root: closed.root, signature: closed.signature, receipts: 1 });
  });
});
