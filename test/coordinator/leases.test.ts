import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { stillQueued } from '../../coordinator/scheduling/claim-run.ts';
import { endJob } from '../../coordinator/scheduling/end-job.ts';
import { failTask } from '../../coordinator/scheduling/fail-task.ts';
import { extendLeases } from '../../coordinator/scheduling/heartbeat.ts';
import { TASK_TIMEOUT_MS } from '../../coordinator/scheduling/lease-run.ts';
import { graceLeases, requeueLostLeases } from '../../coordinator/scheduling/lost-leases.ts';
import type { TaskId } from '../../protocol/ids.ts';
import type { FailureClass } from '../../protocol/messages.ts';
import {
  type TaskRow,
  type TestCoordinator,
  type TestNode,
  testCoordinator,
} from '../support/coordinator-context.ts';
import { claim as claimOf, completeTask, completionOf, deliver, leaseTo } from './delivery.ts';

vi.setConfig({ testTimeout: 30_000, hookTimeout: 60_000 });

let farm: TestCoordinator;
beforeAll(async () => {
  farm = await testCoordinator();
});
afterAll(() => farm[Symbol.asyncDispose]());

const claim = (node: TestNode, tasks: readonly { id: TaskId }[], engine?: string): Promise<TaskRow | null> =>
  claimOf(farm, node, tasks, engine);

async function fail(node: TestNode, task: TaskRow, failureClass: FailureClass): Promise<void> {
  const { id: taskId, token } = task;
  await failTask(farm.context, node.id, {
    taskId,
    token,
    failureClass,
    code: 'RENDER_FAILED',
    message: 'it broke',
  });
}

describe('claiming a task', () => {
  it('writes the lease down: node, deadline, next token, no progress', async () => {
    const node = await farm.addNode();
    const { tiles } = await farm.addJob();
    const task = await claim(node, tiles);
    const until = new Date(farm.clock.now() + farm.context.config.leaseMs);
    expect(task).toMatchObject({
      state: 'leased',
      node_id: node.id,
      token: 1,
      progress: 0,
      lease_until: until,
      leased_at: new Date(farm.clock.now()),
    });
    expect(await farm.task(task?.id as TaskId)).toEqual(task);
  });

  it('takes the oldest job first, and within a job the tiles in order', async () => {
    const node = await farm.addNode();
    const older = await farm.addJob();
    const newer = await farm.addJob();
    const held = [...newer.tiles, ...older.tiles].reverse();
    const order = [await claim(node, held), await claim(node, held), await claim(node, held)];
    expect(order.map((task) => task?.id)).toEqual([
      older.tiles[0]?.id,
      older.tiles[1]?.id,
      newer.tiles[0]?.id,
    ]);
  });

  it('takes a finish task before tiles, but no finish task that still waits for its tiles', async () => {
    const node = await farm.addNode();
    const { tiles, finishes } = await farm.addJob({ frames: [1, 2], tilesPerFrame: 1 });
    const [first, second] = finishes;
    await farm.db
      .updateTable('tasks')
      .set({ state: 'queued' })
      .where('id', '=', first?.id as TaskId)
      .execute();
    const held = [...tiles, ...finishes];
    const order = [
      await claim(node, held),
      await claim(node, held),
      await claim(node, held),
      await claim(node, held),
    ];
    expect(order.map((task) => task?.id)).toEqual([first?.id, tiles[0]?.id, tiles[1]?.id, undefined]);
    expect((await farm.task(second?.id as TaskId)).state).toBe('waiting');
  });

  it('takes only what this coordinator holds', async () => {
    const node = await farm.addNode();
    const { tiles } = await farm.addJob();
    expect((await claim(node, tiles.slice(1)))?.id).toBe(tiles[1]?.id);
    expect(await claim(node, [])).toBeNull();
  });

  it.each(['opening', 'failed', 'cancelled', 'completed'] as const)(
    'takes nothing of a job that is %s',
    async (state) => {
      const node = await farm.addNode();
      expect(await claim(node, (await farm.addJob({ state })).tiles)).toBeNull();
    },
  );

  it('takes nothing for another engine', async () => {
    const node = await farm.addNode();
    const { tiles } = await farm.addJob({ engine: 'blender-4.3.2' });
    expect(await claim(node, tiles)).toBeNull();
    expect((await claim(node, tiles, 'blender-4.3.2'))?.id).toBe(tiles[0]?.id);
  });

  it('gives a node nothing of a job it is excluded from, and others still get it', async () => {
    const [cheat, honest] = [await farm.addNode(), await farm.addNode()];
    const { id, tiles } = await farm.addJob();
    await farm.db
      .insertInto('job_exclusions')
      .values({ job_id: id, node_id: cheat.id, reason: 'cheated' })
      .execute();
    expect(await claim(cheat, tiles)).toBeNull();
    expect((await claim(honest, tiles))?.id).toBe(tiles[0]?.id);
  });

  it.each(['node', 'task'] as const)(
    'never gives a task back to a node that failed it (%s)',
    async (failureClass) => {
      const [failing, other] = [await farm.addNode(), await farm.addNode()];
      const { tiles } = await farm.addJob({ tilesPerFrame: 1 });
      await fail(failing, await leaseTo(farm, failing, tiles[0] as TaskRow), failureClass);
      expect(await claim(failing, tiles)).toBeNull();
      expect((await claim(other, tiles))?.id).toBe(tiles[0]?.id);
    },
  );

  it('gives a task back to a node whose network failed', async () => {
    const node = await farm.addNode();
    const { tiles } = await farm.addJob({ tilesPerFrame: 1 });
    await fail(node, await leaseTo(farm, node, tiles[0] as TaskRow), 'infrastructure');
    expect(await claim(node, tiles)).toMatchObject({ id: tiles[0]?.id, token: 2 });
  });

  it('never gives one task to two nodes that ask in the same moment', async () => {
    const nodes = await Promise.all(Array.from({ length: 6 }, () => farm.addNode()));
    const { tiles } = await farm.addJob({ tilesPerFrame: 4 });
    const claims = await Promise.all(nodes.map((node) => claim(node, tiles)));
    const given = claims.filter((task) => task !== null).map((task) => task.id);
    expect(new Set(given)).toEqual(new Set(tiles.map((tile) => tile.id)));
    expect(given).toHaveLength(4);
  });

  it('gives a node four tasks of a job at a time, the next when one is back, more when it has delivered', async () => {
    const [greedy, other] = [await farm.addNode(), await farm.addNode()];
    const { tiles: held } = await farm.addJob({ tilesPerFrame: 9 });
    const given: (TaskRow | null)[] = [];
    for (let asked = 0; asked < 5; asked++) given.push(await claim(greedy, held));
    expect(given.map((task) => task?.id)).toEqual([...held.slice(0, 4).map((task) => task.id), undefined]);
    expect((await claim(other, held))?.id).toBe(held[4]?.id);
    const another = await farm.addJob({ tilesPerFrame: 1 });
    expect((await claim(greedy, another.tiles))?.id).toBe(another.tiles[0]?.id);
    await fail(greedy, given[0] as TaskRow, 'node');
    expect((await claim(greedy, held))?.id).toBe(held[5]?.id);
    expect(await claim(greedy, held)).toBeNull();
    // One of them is done: one less in flight, and one more may be.
    await completeTask(farm.context, greedy.id, await completionOf(farm, greedy, given[3] as TaskRow));
    expect((await claim(greedy, held))?.id).toBe(held[6]?.id);
    expect((await claim(greedy, held))?.id).toBe(held[7]?.id);
    expect(await claim(greedy, held)).toBeNull();
  });

  it('gives a node that has delivered in other jobs as many more of a new one', async () => {
    const node = await farm.addNode();
    const before = await farm.addJob({ tilesPerFrame: 3 });
    await deliver(farm, node, before.tiles);
    const { tiles: held } = await farm.addJob({ tilesPerFrame: 9 });
    const given: (TaskRow | null)[] = [];
    for (let asked = 0; asked < 8; asked++) given.push(await claim(node, held));
    expect(given.filter((task) => task !== null)).toHaveLength(7);
  });

  it('leaves a task to others with which a node failed ten times, though nothing counts against it', async () => {
    const [unlucky, other] = [await farm.addNode(), await farm.addNode()];
    const { tiles } = await farm.addJob({ tilesPerFrame: 1 });
    for (let times = 0; times < 10; times++)
      await fail(unlucky, await leaseTo(farm, unlucky, tiles[0] as TaskRow), 'infrastructure');
    expect(await claim(unlucky, tiles)).toBeNull();
    expect(await claim(other, tiles)).toMatchObject({ id: tiles[0]?.id, token: 11 });
  });

  describe('that its node was silent about', () => {
    beforeEach(() => farm.everybodyLeaves());

    /** A task that this node took and was not heard of again with; the node is back now. */
    async function lostBy(silent: TestNode) {
      const job = await farm.addJob({ tilesPerFrame: 2 });
      const lost = await leaseTo(farm, silent, job.tiles[0] as TaskRow);
      farm.clock.advance(farm.context.config.leaseMs + 1);
      await requeueLostLeases(farm.context);
      await extendLeases(farm.context, silent.id, []);
      return { ...job, lost };
    }

    it('leaves it to another node that is online, and gives the silent one the rest of the job', async () => {
      const [silent, other] = [await farm.addNode(), await farm.addNode()];
      const { tiles, lost } = await lostBy(silent);
      expect((await claim(silent, tiles))?.id).toBe(tiles[1]?.id);
      expect(await claim(silent, tiles)).toBeNull();
      expect(await claim(other, tiles)).toMatchObject({ id: lost.id, token: 2 });
    });

    it('gives it back to the silent one when nobody else is online', async () => {
      const silent = await farm.addNode();
      await farm.addNode({ online: false });
      const { tiles, lost } = await lostBy(silent);
      expect(await claim(silent, tiles)).toMatchObject({ id: lost.id, token: 2 });
    });

    it('gives it back to the silent one when the other is excluded from the job', async () => {
      const [silent, cheat] = [await farm.addNode(), await farm.addNode()];
      const { id, tiles, lost } = await lostBy(silent);
      await farm.db
        .insertInto('job_exclusions')
        .values({ job_id: id, node_id: cheat.id, reason: 'cheated' })
        .execute();
      expect((await claim(silent, tiles))?.id).toBe(lost.id);
    });

    const unable: [string, (other: TestNode, lost: TaskRow) => Promise<unknown>][] = [
      [
        'has failed it itself',
        (other, lost) =>
          farm.db
            .insertInto('task_failures')
            .values({
              task_id: lost.id,
              node_id: other.id,
              failure_class: 'node',
              code: 'X',
              message: 'it broke',
              at: new Date(0),
            })
            .execute(),
      ],
      [
        'is quarantined',
        (other) =>
          farm.db
            .updateTable('nodes')
            .set({ quarantined_until: new Date(farm.clock.now() + 3_600_000) })
            .where('id', '=', other.id)
            .execute(),
      ],
      [
        'has another engine',
        (other) =>
          farm.db.updateTable('nodes').set({ engine: 'blender-4.3.2' }).where('id', '=', other.id).execute(),
      ],
    ];
    it.each(unable)('gives it back to the silent one when the other %s', async (_what, become) => {
      const [silent, other] = [await farm.addNode(), await farm.addNode()];
      const { tiles, lost } = await lostBy(silent);
      await become(other, lost);
      expect((await claim(silent, tiles))?.id).toBe(lost.id);
    });

    it('gives it back to the silent one once another has held it since', async () => {
      const [silent, other] = [await farm.addNode(), await farm.addNode()];
      const { tiles, lost } = await lostBy(silent);
      await fail(other, await leaseTo(farm, other, lost), 'infrastructure');
      expect(await claim(silent, tiles)).toMatchObject({ id: lost.id, token: 3 });
    });
  });
});

describe('pointers that can be taken off the list', () => {
  it('are those whose task is not queued or whose job has ended', async () => {
    const node = await farm.addNode();
    const active = await farm.addJob();
    const opening = await farm.addJob({ state: 'opening' });
    const ended = await farm.addJob({ state: 'cancelled' });
    const leased = await leaseTo(farm, node, active.tiles[0] as TaskRow);
    const held = [...active.tiles, ...opening.tiles, ...ended.tiles].map((task) => task.id);
    const queued = await stillQueued(farm.db, held);
    expect(queued).toEqual(new Set([active.tiles[1]?.id, ...opening.tiles.map((task) => task.id)]));
    expect(queued.has(leased.id)).toBe(false);
  });
});

describe('heartbeats', () => {
  it('extend the lease, keep the progress and show that the node is there', async () => {
    const node = await farm.addNode();
    const { tiles } = await farm.addJob();
    const { id: taskId, token } = await leaseTo(farm, node, tiles[0] as TaskRow);
    farm.clock.advance(5_000);
    expect(await extendLeases(farm.context, node.id, [{ taskId, token, progress: 0.5 }])).toEqual([]);
    const until = new Date(farm.clock.now() + farm.context.config.leaseMs);
    expect(await farm.task(taskId)).toMatchObject({ lease_until: until, progress: 0.5 });
    expect((await farm.node(node.id)).last_seen_at).toEqual(new Date(farm.clock.now()));
  });

  it('show that a node without a lease is there', async () => {
    const node = await farm.addNode({ online: false });
    expect(await extendLeases(farm.context, node.id, [])).toEqual([]);
    expect((await farm.node(node.id)).last_seen_at).toEqual(new Date(farm.clock.now()));
  });

  it('are told what is lost: an old token, another node, a cancelled job, a task that never was', async () => {
    const [node, other] = [await farm.addNode(), await farm.addNode()];
    const kept = await farm.addJob();
    const cancelled = await farm.addJob();
    const mine = await leaseTo(farm, node, kept.tiles[0] as TaskRow);
    const theirs = await leaseTo(farm, other, kept.tiles[1] as TaskRow);
    const gone = await leaseTo(farm, node, cancelled.tiles[0] as TaskRow);
    await endJob(farm.context, farm.db, cancelled.id, 'cancelled', 'on request');
    const none = 'task_nosuchtask' as TaskId;
    const leases = [
      { taskId: mine.id, token: mine.token, progress: 0 },
      { taskId: theirs.id, token: theirs.token, progress: 0 },
      { taskId: gone.id, token: gone.token, progress: 0 },
      { taskId: none, token: 1, progress: 0 },
    ];
    expect(await extendLeases(farm.context, node.id, leases)).toEqual([theirs.id, gone.id, none]);
    const stale = [{ taskId: mine.id, token: mine.token + 1, progress: 0 }];
    expect(await extendLeases(farm.context, node.id, stale)).toEqual([mine.id]);
  });
});

describe('a lease that is never given up', () => {
  it('is extended for an hour and not longer, and the task is somebody else’s then', async () => {
    const [eager, other] = [await farm.addNode(), await farm.addNode()];
    const { tiles } = await farm.addJob({ tilesPerFrame: 1 });
    const { id: taskId, token } = await leaseTo(farm, eager, tiles[0] as TaskRow);
    const beat = (): Promise<TaskId[]> =>
      extendLeases(farm.context, eager.id, [{ taskId, token, progress: 0.5 }]);
    farm.clock.advance(TASK_TIMEOUT_MS - 1);
    expect(await beat()).toEqual([]);
    const until = (await farm.task(taskId)).lease_until;
    farm.clock.advance(1);
    expect(await beat()).toEqual([taskId]);
    expect(await farm.task(taskId)).toMatchObject({ state: 'leased', lease_until: until });
    farm.clock.advance(farm.context.config.leaseMs);
    await requeueLostLeases(farm.context);
    expect(await claim(other, tiles)).toMatchObject({ id: taskId, token: token + 1 });
    // Its hour begins with its own lease, not with the first one.
    expect(await extendLeases(farm.context, other.id, [{ taskId, token: token + 1, progress: 0 }])).toEqual(
      [],
    );
  });
});

describe('leases that ran out', () => {
  it('put the task back with its reason, once, and kill the old token', async () => {
    const [silent, other] = [await farm.addNode(), await farm.addNode()];
    const { id, tiles } = await farm.addJob({ tilesPerFrame: 1 });
    const lease = await leaseTo(farm, silent, tiles[0] as TaskRow);
    farm.clock.advance(farm.context.config.leaseMs + 1);
    expect(await requeueLostLeases(farm.context)).toBeGreaterThanOrEqual(1);
    expect(await farm.task(lease.id)).toMatchObject({
      state: 'queued',
      published: false,
      losses: 1,
      lease_until: null,
    });
    expect(await farm.eventsOf(id)).toEqual([
      expect.objectContaining({
        type: 'task.requeued',
        nodeId: silent.id,
        reason: expect.stringContaining(silent.id),
      }),
    ]);
    expect(await requeueLostLeases(farm.context)).toBe(0);
    expect((await claim(other, tiles))?.token).toBe(2);
    expect(
      await extendLeases(farm.context, silent.id, [{ taskId: lease.id, token: lease.token, progress: 1 }]),
    ).toEqual([lease.id]);
  });

  it('leave a lease alone that still runs', async () => {
    const node = await farm.addNode();
    const { tiles } = await farm.addJob();
    const lease = await leaseTo(farm, node, tiles[0] as TaskRow);
    farm.clock.advance(farm.context.config.leaseMs);
    await requeueLostLeases(farm.context);
    expect((await farm.task(lease.id)).state).toBe('leased');
  });

  it('fail the job when one task took five nodes down with it', async () => {
    const { id, tiles } = await farm.addJob({ tilesPerFrame: 2, frames: [9] });
    const killer = tiles[0] as TaskRow;
    for (let loss = 1; loss <= 5; loss++) {
      expect((await farm.job(id)).state).toBe('active');
      await leaseTo(farm, await farm.addNode(), killer);
      farm.clock.advance(farm.context.config.leaseMs + 1);
      await requeueLostLeases(farm.context);
    }
    const job = await farm.job(id);
    expect(job.state).toBe('failed');
    expect(job.reason).toContain('frame 9');
    expect((await farm.task(killer.id)).state).toBe('dropped');
    expect((await farm.task(tiles[1]?.id as TaskId)).state).toBe('dropped');
  });

  it('get their full time once more after the coordinator was away', async () => {
    const node = await farm.addNode();
    const { tiles } = await farm.addJob();
    const lease = await leaseTo(farm, node, tiles[0] as TaskRow);
    farm.clock.advance(10 * farm.context.config.leaseMs);
    await graceLeases(farm.context);
    await requeueLostLeases(farm.context);
    expect(await farm.task(lease.id)).toMatchObject({ state: 'leased', losses: 0 });
  });
});
