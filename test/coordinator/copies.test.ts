/** Copies of late tasks, over the real database: handed out, one of two wins, the other is not blamed. */
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { whyView } from '../../coordinator/api/why-view.ts';
import { completeAll } from '../../coordinator/scheduling/complete-tasks.ts';
import { giveCopy } from '../../coordinator/scheduling/copies/give-copies.ts';
import { LEAST_TIMES } from '../../coordinator/scheduling/copies/late.ts';
import { Dispatcher } from '../../coordinator/scheduling/dispatcher.ts';
import { failTask } from '../../coordinator/scheduling/fail-task.ts';
import { extendLeases } from '../../coordinator/scheduling/heartbeat.ts';
import { graceLeases, releaseLeases, requeueLostLeases } from '../../coordinator/scheduling/lost-leases.ts';
import { readUnchanged } from '../../coordinator/scheduling/read-facts.ts';
import type { Delivery } from '../../protocol/messages.ts';
import {
  ENGINE,
  type TaskRow,
  type TestCoordinator,
  type TestJob,
  type TestNode,
  testCoordinator,
} from '../support/coordinator-context.ts';
import { type Completion, claim, completeTask, completionOf, deliver, leaseTo } from './delivery.ts';

vi.setConfig({ testTimeout: 30_000, hookTimeout: 60_000 });

let farm: TestCoordinator;
beforeAll(async () => {
  farm = await testCoordinator();
});
afterAll(() => farm[Symbol.asyncDispose]());
beforeEach(async () => {
  await farm.everybodyLeaves();
  const open = ['waiting', 'queued', 'leased'] as const;
  await farm.db.updateTable('tasks').set({ state: 'dropped' }).where('state', 'in', open).execute();
  await farm.db.updateTable('jobs').set({ state: 'cancelled' }).where('state', '=', 'active').execute();
});

/** Long after the lease, while its node is alive. */
async function beatFor(node: TestNode, task: TaskRow, durationMs: number): Promise<void> {
  const step = farm.context.config.leaseMs / 2;
  for (let passed = 0; passed < durationMs; passed += step) {
    farm.clock.advance(step);
    expect(await beat(node, task)).toEqual([]);
  }
}
const beat = (node: TestNode, { id: taskId, token }: TaskRow) =>
  extendLeases(farm.context, node.id, [{ taskId, token, progress: 0.1 }]);

/** A job of which everything is delivered but one frame, which its node has had for a minute. */
async function atTheEnd(): Promise<{ slow: TestNode; quick: TestNode; job: TestJob; late: TaskRow }> {
  const [slow, quick] = [await farm.addNode(), await farm.addNode()];
  const frames = Array.from({ length: LEAST_TIMES + 1 }, (_, index) => index + 1);
  const job = await farm.addJob({ frames, whole: true, exr: false });
  const [last, ...others] = job.wholes.toReversed();
  if (last === undefined) throw new Error('a job without frames');
  await deliver(farm, quick, others.toReversed());
  const late = await leaseTo(farm, slow, last);
  await beatFor(slow, late, 60_000);
  return { slow, quick, job, late };
}

/** The same, and the other node has its copy. */
async function copied() {
  const made = await atTheEnd();
  const { id: taskId, token, job_id: jobId, kind, frame, tile } = made.late;
  const lease = { taskId, token, jobId, kind, frame, tile, nodeId: made.slow.id, sinceMs: 0, avoid: [] };
  const copy = await giveCopy(farm.context, { lease, node: made.quick, reason: 'it takes long' });
  if (copy === null) throw new Error('no copy was given');
  return { ...made, copy };
}

const known = ({ id, address }: TestNode) => ({ id, address, engines: [ENGINE] });
const asMessage = ({ id: nodeId }: TestNode, { batch, ...delivery }: Completion) => {
  const deliveries: Delivery[] = [delivery];
  return { nodeId, message: { deliveries, batch } };
};
const receiptsOf = async ({ id }: TestJob): Promise<number> => {
  const batches = await farm.db.selectFrom('batches').select('receipts').where('job_id', '=', id).execute();
  return batches.reduce((sum, { receipts }) => sum + receipts, 0);
};
const troubles = async (task: TaskRow) => ({
  losses: (await farm.task(task.id)).losses,
  failures: await farm.db
    .selectFrom('task_failures')
    .select('node_id')
    .where('task_id', '=', task.id)
    .execute(),
});
const NONE = { losses: 0, failures: [] };

describe('the last frame of a job, which its node is slow with', () => {
  it('goes to the idle node that waits, which wins, and the slow one is told at its next heartbeat', async () => {
    const { slow, quick, job, late } = await atTheEnd();
    const dispatch = new Dispatcher(farm.context);
    await dispatch.start();
    const stop = new AbortController();
    const own = dispatch.lease(known(slow), undefined, stop.signal);
    const reply = dispatch.lease(known(quick), undefined, stop.signal);
    await dispatch.giveCopies();
    const { run } = await reply;
    expect(run).toMatchObject({ jobId: job.id, tasks: [{ taskId: late.id, token: late.token + 1 }] });
    expect((await farm.eventsOf(job.id)).at(-1)).toMatchObject({
      ...{ type: 'task.copied', taskId: late.id, nodeId: quick.id, ofNodeId: slow.id },
      reason: expect.stringMatching(`${slow.id} has been at it for 60 s; others of this job took 1.2 s`),
    });
    expect((await whyView(farm.context, job.id)).summary).toBe(
      `nothing waits for a node: 1 task is being rendered; ${quick.id} has a copy of frame ${late.frame}, ` +
        `which ${slow.id} has had for 60 s: whoever is done first`,
    );
    // Both work on it as far as limits and shares go, and nobody gets a third.
    expect((await readUnchanged(farm.db, farm.clock.now())).jobs.get(job.id)?.inFlight.size).toBe(2);
    const third = dispatch.lease(known(await farm.addNode()), undefined, stop.signal);
    await dispatch.giveCopies();

    expect(await beat(slow, late)).toEqual([]);
    const copy = await farm.task(late.id);
    const done = await completionOf(farm, quick, copy);
    expect(await completeTask(farm.context, quick.id, done)).toMatchObject({ moved: null, lost: [] });
    expect(await beat(slow, late)).toEqual([late.id]);
    await expect(
      completeTask(farm.context, slow.id, await completionOf(farm, slow, late)),
    ).rejects.toMatchObject({ code: 'LEASE_LOST' });
    expect(await farm.task(late.id)).toMatchObject({ state: 'delivered', node_id: quick.id });
    expect(await receiptsOf(job)).toBe(job.wholes.length);
    expect(await troubles(late)).toEqual(NONE);
    stop.abort();
    expect([(await own).run, (await third).run]).toEqual([null, null]);
  });

  it('is not copied while something is queued, nor for a node that has a task, nor twice', async () => {
    const { slow, quick, job, late } = await atTheEnd();
    const dispatch = new Dispatcher(farm.context);
    const stop = new AbortController();
    const waiting = dispatch.lease(known(quick), undefined, stop.signal);
    const other = await farm.addJob({ tilesPerFrame: 1 });
    await dispatch.giveCopies();
    expect((await farm.task(late.id)).node_id).toBe(slow.id);
    const busy = await leaseTo(farm, quick, other.tiles[0] as TaskRow);
    await dispatch.giveCopies();
    expect((await farm.task(late.id)).node_id).toBe(slow.id);
    await farm.db.updateTable('tasks').set({ state: 'dropped' }).where('id', '=', busy.id).execute();
    await dispatch.giveCopies();
    expect((await waiting).run).toMatchObject({ jobId: job.id });
    const types = (await farm.eventsOf(job.id)).map(({ type }) => type);
    expect(types.filter((type) => type === 'task.copied')).toHaveLength(1);
    stop.abort();
  });

  it('is the slow node’s where that one is first after all, and the copy is over without blame', async () => {
    const { slow, quick, job, late, copy } = await copied();
    const done = await completionOf(farm, slow, late);
    expect(await completeTask(farm.context, slow.id, done)).toMatchObject({ moved: null, lost: [] });
    expect(await farm.task(late.id)).toMatchObject({ state: 'delivered', node_id: slow.id });
    expect(await beat(quick, copy)).toEqual([late.id]);
    await expect(
      completeTask(farm.context, quick.id, await completionOf(farm, quick, copy)),
    ).rejects.toMatchObject({ code: 'LEASE_LOST' });
    expect(await receiptsOf(job)).toBe(job.wholes.length);
    expect(await troubles(late)).toEqual(NONE);
  });

  it.each([0, 1])('is taken once where both deliver in the same moment (%s first)', async (first) => {
    const { slow, quick, job, late, copy } = await copied();
    const messages = [
      asMessage(slow, await completionOf(farm, slow, late)),
      asMessage(quick, await completionOf(farm, quick, copy)),
    ];
    const inOrder = first === 0 ? messages : messages.toReversed();
    const results = await completeAll(farm.context, inOrder);
    expect(results[0]).toMatchObject({ value: { moved: null, lost: [] } });
    expect(results[1]).toMatchObject({ error: { code: 'LEASE_LOST' } });
    expect((await farm.task(late.id)).node_id).toBe(inOrder[0]?.nodeId);
    expect(await receiptsOf(job)).toBe(job.wholes.length);
  });
});

describe('of two nodes with one task', () => {
  it('the slow one goes on where the one with the copy dies, and can still deliver and fail', async () => {
    const { slow, quick, job, late, copy } = await copied();
    await beatFor(slow, late, farm.context.config.leaseMs + 1);
    expect(await requeueLostLeases(farm.context)).toBe(1);
    expect(await farm.task(late.id)).toMatchObject({ state: 'leased', node_id: slow.id });
    expect((await farm.eventsOf(job.id)).at(-1)).toMatchObject({
      ...{ type: 'task.copy-ended', nodeId: quick.id, keptBy: slow.id },
      reason: expect.stringContaining('went silent'),
    });
    expect(await beat(quick, copy)).toEqual([late.id]);
    await beatFor(slow, late, 3 * farm.context.config.leaseMs);
    expect(await requeueLostLeases(farm.context)).toBe(0);
    await expect(
      completeTask(farm.context, quick.id, await completionOf(farm, quick, copy)),
    ).rejects.toMatchObject({ code: 'LEASE_LOST' });
    const done = await completionOf(farm, slow, late);
    expect(await completeTask(farm.context, slow.id, done)).toMatchObject({ moved: null, lost: [] });
    expect(await receiptsOf(job)).toBe(job.wholes.length);
  });

  it('the one with the copy goes on where the slow one dies', async () => {
    const { slow, quick, job, late, copy } = await copied();
    await beatFor(quick, copy, farm.context.config.leaseMs + 1);
    await requeueLostLeases(farm.context);
    expect((await farm.eventsOf(job.id)).at(-1)).toMatchObject({
      ...{ type: 'task.copy-ended', nodeId: slow.id, keptBy: quick.id },
    });
    expect(await beat(slow, late)).toEqual([late.id]);
    const done = await completionOf(farm, quick, copy);
    expect(await completeTask(farm.context, quick.id, done)).toMatchObject({ moved: null, lost: [] });
  });

  it('neither is missed where both die: the task is queued once, for others', async () => {
    const { slow, quick, late, copy } = await copied();
    farm.clock.advance(farm.context.config.leaseMs + 1);
    expect(await requeueLostLeases(farm.context)).toBe(1);
    expect(await farm.task(late.id)).toMatchObject({ state: 'queued', losses: 1 });
    expect([await beat(slow, late), await beat(quick, copy)]).toEqual([[late.id], [late.id]]);
    expect(await claim(farm, await farm.addNode(), [late])).toMatchObject({ token: copy.token + 1 });
    expect(await farm.db.selectFrom('task_copies').selectAll().execute()).toEqual([]);
  });

  it.each(['slow', 'quick'] as const)(
    'one may give it back (the %s one), and does not get it again',
    async (who) => {
      const { slow, quick, job, late, copy } = await copied();
      const [gone, stays] = who === 'slow' ? [slow, quick] : [quick, slow];
      const [lease, other] = who === 'slow' ? [late, copy] : [copy, late];
      const why = { failureClass: 'node' as const, code: 'X', message: 'it ran out of memory' };
      await failTask(farm.context, gone.id, { taskId: late.id, token: lease.token, ...why });
      expect(await farm.task(late.id)).toMatchObject({ state: 'leased', node_id: stays.id });
      expect((await troubles(late)).failures).toEqual([{ node_id: gone.id }]);
      expect(await beat(gone, lease)).toEqual([late.id]);
      expect(await beat(stays, other)).toEqual([]);
      // Alone with it, the other gives it back, too: now it is in the queue.
      await failTask(farm.context, stays.id, { taskId: late.id, token: other.token, ...why });
      const task = await farm.task(late.id);
      expect(['queued', 'dropped']).toContain(task.state);
      expect(await receiptsOf(job)).toBe(job.wholes.length - 1);
    },
  );

  it.each(['slow', 'quick'] as const)('one may be quarantined (the %s one)', async (who) => {
    const { slow, quick, late, copy } = await copied();
    const [gone, stays] = who === 'slow' ? [slow, quick] : [quick, slow];
    await releaseLeases(
      farm.context,
      farm.db,
      gone.id,
      'its node is quarantined',
      new Date(farm.clock.now()),
    );
    expect(await farm.task(late.id)).toMatchObject({ state: 'leased', node_id: stays.id, losses: 0 });
    const [lease, other] = who === 'slow' ? [late, copy] : [copy, late];
    expect([await beat(gone, lease), await beat(stays, other)]).toEqual([[late.id], []]);
    await releaseLeases(
      farm.context,
      farm.db,
      stays.id,
      'its node is quarantined',
      new Date(farm.clock.now()),
    );
    expect(await farm.task(late.id)).toMatchObject({ state: 'queued', losses: 0 });
  });

  it('both keep it over a start of the coordinator', async () => {
    const { slow, quick, late, copy } = await copied();
    farm.clock.advance(10 * farm.context.config.leaseMs);
    await graceLeases(farm.context);
    expect(await requeueLostLeases(farm.context)).toBe(0);
    expect([await beat(slow, late), await beat(quick, copy)]).toEqual([[], []]);
  });

  it('the time of both is what the job has used', async () => {
    const { quick, job, copy } = await copied();
    const used = async (): Promise<number> =>
      (await readUnchanged(farm.db, farm.clock.now())).jobs.get(job.id)?.usedMs ?? 0;
    const before = await used();
    await completeTask(farm.context, quick.id, await completionOf(farm, quick, copy));
    await requeueLostLeases(farm.context);
    // A minute of the slow one's; of the other one nothing passed yet by this clock.
    expect(await used()).toBe(before + 60_000);
  });
});
