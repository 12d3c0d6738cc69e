import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { endJob, type JobEnd } from '../../coordinator/scheduling/end-job.ts';
import { failTask } from '../../coordinator/scheduling/fail-task.ts';
import { graceLeases } from '../../coordinator/scheduling/lost-leases.ts';
import type { TaskId } from '../../protocol/ids.ts';
import type { FailureClass } from '../../protocol/messages.ts';
import {
  type TaskRow,
  type TestCoordinator,
  type TestNode,
  testCoordinator,
} from '../support/coordinator-context.ts';
import { deliver, leaseTo } from './delivery.ts';

vi.setConfig({ testTimeout: 30_000, hookTimeout: 60_000 });

let farm: TestCoordinator;
beforeAll(async () => {
  farm = await testCoordinator();
});
afterAll(() => farm[Symbol.asyncDispose]());
// "Every node failed" speaks of all nodes of the farm, so each test has a farm to itself.
beforeEach(() => farm.everybodyLeaves());

async function fail(
  node: TestNode,
  task: TaskRow,
  failureClass: FailureClass,
  message = 'it broke',
): Promise<void> {
  const { id: taskId, token } = task;
  await failTask(farm.context, node.id, { taskId, token, failureClass, code: 'RENDER_FAILED', message });
}

describe('a node that fails a task', () => {
  it('puts it back in the queue for others, with the reason', async () => {
    const node = await farm.addNode();
    await farm.addNode();
    const { id, tiles } = await farm.addJob();
    const task = await leaseTo(farm, node, tiles[0] as TaskRow);
    await fail(node, task, 'node', 'out of memory');
    expect(await farm.task(task.id)).toMatchObject({
      state: 'queued',
      published: false,
      lease_until: null,
      progress: 0,
    });
    expect(await farm.eventsOf(id)).toEqual([
      expect.objectContaining({ type: 'task.requeued', nodeId: node.id, reason: 'out of memory' }),
    ]);
    expect((await farm.job(id)).state).toBe('active');
  });

  it('cannot fail a task it no longer holds', async () => {
    const [node, other] = [await farm.addNode(), await farm.addNode()];
    const { tiles } = await farm.addJob();
    const task = await leaseTo(farm, node, tiles[0] as TaskRow);
    await expect(fail(other, task, 'node')).rejects.toMatchObject({ code: 'LEASE_LOST' });
    await expect(fail(node, { ...task, token: task.token + 1 }, 'node')).rejects.toMatchObject({
      code: 'LEASE_LOST',
    });
    expect((await farm.task(task.id)).state).toBe('leased');
  });

  it('fails the job as the third different node on one task, naming the task and the last words', async () => {
    await farm.addNode();
    const { id, tiles } = await farm.addJob({ frames: [12] });
    for (let nth = 1; nth <= 3; nth++) {
      expect((await farm.job(id)).state).toBe('active');
      const node = await farm.addNode();
      farm.clock.advance(1);
      await fail(node, await leaseTo(farm, node, tiles[1] as TaskRow), 'task', `words of node ${nth}`);
    }
    const job = await farm.job(id);
    expect(job.state).toBe('failed');
    expect(job.reason).toBe('3 nodes failed on tile 1 of frame 12; the last: words of node 3');
    expect((await farm.task(tiles[0]?.id as TaskId)).state).toBe('dropped');
  });

  it('fails the job when it was the only one online', async () => {
    const node = await farm.addNode();
    await farm.addNode({ online: false });
    const { id, tiles } = await farm.addJob();
    await fail(node, await leaseTo(farm, node, tiles[0] as TaskRow), 'node');
    expect(await farm.job(id)).toMatchObject({
      state: 'failed',
      reason: expect.stringContaining('every node failed on'),
    });
  });

  it('fails no job while another node is online that may still try', async () => {
    const [first] = [await farm.addNode(), await farm.addNode()];
    const { id, tiles } = await farm.addJob();
    await fail(first, await leaseTo(farm, first, tiles[0] as TaskRow), 'node');
    expect((await farm.job(id)).state).toBe('active');
  });

  it('fails the job when the only other node online is excluded from it', async () => {
    const [failing, excluded] = [await farm.addNode(), await farm.addNode()];
    const { id, tiles } = await farm.addJob();
    await farm.db
      .insertInto('job_exclusions')
      .values({ job_id: id, node_id: excluded.id, reason: 'cheated' })
      .execute();
    await fail(failing, await leaseTo(farm, failing, tiles[0] as TaskRow), 'node');
    expect((await farm.job(id)).state).toBe('failed');
  });

  it('fails the job when the only other node online has another engine', async () => {
    const failing = await farm.addNode();
    await farm.addNode({ engine: 'blender-4.3.2' });
    const { id, tiles } = await farm.addJob();
    await fail(failing, await leaseTo(farm, failing, tiles[0] as TaskRow), 'node');
    expect((await farm.job(id)).state).toBe('failed');
  });

  it('fails no job right after the coordinator was away, when no node could be heard of', async () => {
    const [failing] = [await farm.addNode(), await farm.addNode()];
    const { id, tiles } = await farm.addJob();
    const task = await leaseTo(farm, failing, tiles[0] as TaskRow);
    // Nobody could send a heartbeat meanwhile; the other node is as alive as this one.
    farm.clock.advance(10 * farm.context.config.leaseMs);
    await graceLeases(farm.context);
    await fail(failing, task, 'node');
    expect((await farm.job(id)).state).toBe('active');
  });

  it('counts for nothing when the network was at fault, however often', async () => {
    const node = await farm.addNode();
    const { id, tiles } = await farm.addJob();
    for (let nth = 1; nth <= 5; nth++)
      await fail(node, await leaseTo(farm, node, tiles[0] as TaskRow), 'infrastructure');
    expect((await farm.job(id)).state).toBe('active');
    expect(await farm.task(tiles[0]?.id as TaskId)).toMatchObject({ state: 'queued', token: 5 });
  });
});

describe('ending a job', () => {
  const end = (id: Parameters<typeof endJob>[2], how: JobEnd, reason: string | null) =>
    farm.db.transaction().execute((tx) => endJob(farm.context, tx, id, how, reason));

  it.each(['opening', 'active'] as const)(
    'drops every task of a job that is %s and that nobody has delivered',
    async (state) => {
      const { id, tiles, finishes } = await farm.addJob({ state });
      expect(await end(id, 'cancelled', 'on request')).toBe(true);
      for (const task of [...tiles, ...finishes]) expect((await farm.task(task.id)).state).toBe('dropped');
      const job = await farm.job(id);
      expect(job).toMatchObject({
        state: 'cancelled',
        reason: 'on request',
        finished_at: new Date(farm.clock.now()),
      });
      expect(await farm.eventsOf(id)).toEqual([{ type: 'job.cancelled', reason: 'on request' }]);
    },
  );

  it('takes the lease from a node that is at work and keeps what was delivered', async () => {
    const node = await farm.addNode();
    const { id, tiles } = await farm.addJob();
    await deliver(farm, node, tiles.slice(0, 1));
    const leased = await leaseTo(farm, node, tiles[1] as TaskRow);
    await end(id, 'cancelled', null);
    expect(await farm.task(leased.id)).toMatchObject({ state: 'dropped', lease_until: null });
    expect((await farm.task(tiles[0]?.id as TaskId)).state).toBe('delivered');
  });

  it('keeps the first ending', async () => {
    const { id } = await farm.addJob();
    expect(await end(id, 'failed', 'three nodes failed')).toBe(true);
    expect(await end(id, 'cancelled', 'on request')).toBe(false);
    expect(await farm.job(id)).toMatchObject({ state: 'failed', reason: 'three nodes failed' });
    expect(await farm.eventsOf(id)).toEqual([{ type: 'job.failed', reason: 'three nodes failed' }]);
  });

  it('changes nothing where there is no such job', async () => {
    expect(await end('job_nosuchjob' as Parameters<typeof endJob>[2], 'failed', null)).toBe(false);
  });
});
