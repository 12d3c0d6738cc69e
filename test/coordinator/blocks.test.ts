/** Nodes that a person keeps away from a job or a task, over the real database and the HTTP routes. */
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { AdmissionLoop } from '../../coordinator/admission/admission-loop.ts';
import { createApp } from '../../coordinator/api/app.ts';
import { jobView } from '../../coordinator/api/views.ts';
import { whyView } from '../../coordinator/api/why-view.ts';
import { endHopelessJobs } from '../../coordinator/scheduling/able-nodes.ts';
import { block, releaseBlocked, unblock } from '../../coordinator/scheduling/blocks.ts';
import { giveCopy } from '../../coordinator/scheduling/copies/give-copies.ts';
import { Dispatcher } from '../../coordinator/scheduling/dispatcher.ts';
import { extendLeases } from '../../coordinator/scheduling/heartbeat.ts';
import { publishQueued } from '../../coordinator/scheduling/publish-queued.ts';
import { quarantine } from '../../coordinator/settlement/quarantine.ts';
import { Scenes } from '../../coordinator/submission/scenes.ts';
import { listen } from '../../platform/http/listen.ts';
import { jobIdSchema, nodeIdSchema, taskIdSchema } from '../../protocol/ids.ts';
import { jobViewSchema } from '../../protocol/job.ts';
import type { LeaseReply } from '../../protocol/messages.ts';
import {
  ENGINE,
  type TaskRow,
  type TestCoordinator,
  type TestJob,
  type TestNode,
  testCoordinator,
} from '../support/coordinator-context.ts';
import { claim, completeTask, completionOf, leaseTo } from './delivery.ts';

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

const SAID = { by: 'ada', reason: 'its frames are too dark' };

async function made(tilesPerFrame = 2): Promise<{ dark: TestNode; other: TestNode; job: TestJob }> {
  const [dark, other] = [await farm.addNode(), await farm.addNode()];
  return { dark, other, job: await farm.addJob({ tilesPerFrame }) };
}

/** What the dispatcher has for a node: the way of many claims in one statement. */
async function dispatched(node: TestNode): Promise<LeaseReply['run']> {
  const dispatcher = new Dispatcher(farm.context);
  await dispatcher.start();
  farm.queue.onPublish = async (pointer) => farm.queue.deliver(pointer);
  await farm.db.updateTable('tasks').set({ published: false }).where('state', '=', 'queued').execute();
  const stopping = new AbortController();
  const asked = dispatcher.lease({ ...node, engines: [ENGINE] }, undefined, stopping.signal);
  await publishQueued(farm.db, farm.queue);
  await dispatcher.idle();
  stopping.abort();
  return (await asked).run;
}

describe('a node that is kept away from a job', () => {
  it('gets nothing of it, however it asks, and others and other jobs are as before', async () => {
    const { dark, other, job } = await made();
    await block(farm.context, job.id, { nodeId: dark.id, ...SAID });
    expect(await claim(farm, dark, job.tiles)).toBeNull();
    expect(await dispatched(dark)).toBeNull();
    expect((await dispatched(other))?.jobId).toBe(job.id);
    const another = await farm.addJob({ tilesPerFrame: 1 });
    expect((await dispatched(dark))?.jobId).toBe(another.id);
  });

  it('loses what it has of it at once, without blame; what it has of others it keeps', async () => {
    const { dark, other, job } = await made();
    const another = await farm.addJob({ tilesPerFrame: 1 });
    const taken = await leaseTo(farm, dark, job.tiles[0] as TaskRow);
    const kept = await leaseTo(farm, dark, another.tiles[0] as TaskRow);
    await block(farm.context, job.id, { nodeId: dark.id, ...SAID });
    expect(await farm.task(taken.id)).toMatchObject({ state: 'queued', losses: 0, published: false });
    const leases = [taken, kept].map(({ id: taskId, token }) => ({ taskId, token, progress: 0 }));
    expect(await extendLeases(farm.context, dark.id, leases)).toEqual([taken.id]);
    await expect(
      completeTask(farm.context, dark.id, await completionOf(farm, dark, taken)),
    ).rejects.toMatchObject({ code: 'LEASE_LOST' });
    expect(await farm.eventsOf(job.id)).toEqual([
      { type: 'node.blocked', nodeId: dark.id, ...SAID },
      expect.objectContaining({
        ...{ type: 'task.requeued', nodeId: dark.id },
        reason: `${dark.id} is kept away from it by ada: its frames are too dark`,
      }),
    ]);
    expect((await claim(farm, other, [taken]))?.id).toBe(taken.id);
    expect((await farm.node(dark.id)).quarantined_until).toBeNull();
  });

  it('is shown with the job and in why, and what was said last counts', async () => {
    const { dark, job } = await made();
    await block(farm.context, job.id, { nodeId: dark.id, by: 'bob', reason: 'a try' });
    await block(farm.context, job.id, { nodeId: dark.id, ...SAID });
    const atMs = farm.clock.now();
    expect(jobViewSchema.parse(await jobView(farm.context, job.id)).blocks).toEqual([
      { nodeId: dark.id, taskId: null, ...SAID, atMs },
    ]);
    const said = await whyView(farm.context, job.id);
    expect(said.nodes).toContainEqual({
      ...{ stand: 'blocked', ids: [dark.id] },
      text: 'is kept away from this job by ada: its frames are too dark',
    });
  });

  it('comes back when it is let back, and a job is not given up for want of it', async () => {
    const { dark, other, job } = await made();
    for (const { id: nodeId } of [dark, other]) await block(farm.context, job.id, { nodeId, ...SAID });
    expect(await endHopelessJobs(farm.context)).toBe(0);
    expect((await whyView(farm.context, job.id)).summary).toBe(
      '2 tasks wait: no node may take them; nearest to it: 2 nodes (is kept away from this job by ada: its frames are too dark)',
    );
    await unblock(farm.context, job.id, { nodeId: dark.id, by: 'ada' });
    expect((await jobView(farm.context, job.id)).blocks.map(({ nodeId }) => nodeId)).toEqual([other.id]);
    expect((await dispatched(dark))?.jobId).toBe(job.id);
    expect((await farm.eventsOf(job.id)).map(({ type }) => type)).toContain('node.unblocked');
  });

  it('may be one that was at a task beside another node, which goes on', async () => {
    const { dark, other, job } = await made(1);
    const {
      id: taskId,
      token,
      job_id: jobId,
      kind,
      frame,
      tile,
    } = await leaseTo(farm, dark, job.tiles[0] as TaskRow);
    const lease = { taskId, token, jobId, kind, frame, tile, nodeId: dark.id, sinceMs: 0, avoid: [] };
    const copy = await giveCopy(farm.context, { lease, node: other, reason: 'it takes long' });
    expect(copy?.node_id).toBe(other.id);
    await block(farm.context, job.id, { nodeId: other.id, ...SAID });
    expect(await farm.task(taskId)).toMatchObject({ state: 'leased', node_id: dark.id });
    await block(farm.context, job.id, { nodeId: dark.id, ...SAID });
    expect(await farm.task(taskId)).toMatchObject({ state: 'queued', losses: 0 });
  });

  it('does not keep what it was given in the moment in which it was blocked', async () => {
    const { dark, job } = await made(1);
    // As of a claim that had looked before: the block is there, and the lease, too.
    const leased = await leaseTo(farm, dark, job.tiles[0] as TaskRow);
    await farm.db
      .insertInto('job_exclusions')
      .values({
        ...{ job_id: job.id, node_id: dark.id, reason: 'x', set_by: 'ada', set_at: new Date(0) },
      })
      .execute();
    expect(await releaseBlocked(farm.context)).toBe(1);
    expect((await farm.task(leased.id)).state).toBe('queued');
    expect(await releaseBlocked(farm.context)).toBe(0);
  });
});

describe('a node that is kept away from one task', () => {
  it('gets the others of the job, and loses only that one', async () => {
    const { dark, other, job } = await made(2);
    const [first, second] = job.tiles as [TaskRow, TaskRow];
    await leaseTo(farm, dark, first);
    const kept = await leaseTo(farm, dark, second);
    await block(farm.context, job.id, { nodeId: dark.id, taskId: first.id, ...SAID });
    expect((await farm.task(first.id)).state).toBe('queued');
    expect(await farm.task(kept.id)).toMatchObject({ state: 'leased', node_id: dark.id });
    expect(await claim(farm, dark, [first])).toBeNull();
    expect(await dispatched(dark)).toBeNull();
    expect((await jobView(farm.context, job.id)).blocks).toEqual([
      expect.objectContaining({ nodeId: dark.id, taskId: first.id }),
    ]);
    expect((await whyView(farm.context, job.id)).nodes).toContainEqual(
      expect.objectContaining({ stand: 'works', ids: [dark.id] }),
    );
    expect((await dispatched(other))?.tasks.map(({ taskId }) => taskId)).toEqual([first.id]);
  });

  it('does not get it where the dispatcher had looked at the task before', async () => {
    const { dark, job } = await made(2);
    const [first, second] = job.tiles as [TaskRow, TaskRow];
    const dispatcher = new Dispatcher(farm.context);
    await dispatcher.start();
    const stopping = new AbortController();
    // Somebody without the engine waits, so that what is held is looked at and stays.
    const nobody = dispatcher.lease(
      { ...(await farm.addNode()), engines: ['blender-9.9.9'] },
      undefined,
      stopping.signal,
    );
    for (const { id: taskId } of [first, second]) farm.queue.deliver({ taskId, jobId: job.id });
    await dispatcher.idle();
    await block(farm.context, job.id, { nodeId: dark.id, taskId: first.id, ...SAID });
    const asked = dispatcher.lease({ ...dark, engines: [ENGINE] }, undefined, stopping.signal);
    await dispatcher.idle();
    await dispatcher.idle();
    stopping.abort();
    expect((await asked).run?.tasks.map(({ taskId }) => taskId)).toEqual([second.id]);
    expect((await nobody).run).toBeNull();
    await unblock(farm.context, job.id, { nodeId: dark.id, taskId: first.id, by: 'ada' });
    expect((await claim(farm, dark, [first]))?.id).toBe(first.id);
  });
});

describe('the route', () => {
  it('is for who has the key, says what is wrong with a request, and answers with the job', async () => {
    const { dark, job } = await made();
    const app = createApp(
      farm.context,
      new Scenes(farm.context),
      new AdmissionLoop(farm.context, () => undefined),
      { ask: async () => ({ ok: true, parts: {} }) } as never,
      () => undefined,
      new AbortController().signal,
    );
    await using http = await listen(app, 0);
    const send = async (path: string, body: object, key = farm.context.secrets.apiKey) => {
      const response = await fetch(new URL(`/api/v1/jobs/${job.id}/${path}`, http.url), {
        method: 'POST',
        body: JSON.stringify(body),
        headers: { 'content-type': 'application/json', authorization: `Bearer ${key}` },
      });
      return { status: response.status, body: await response.json() };
    };
    const asked = { nodeId: dark.id, ...SAID };
    expect((await send('block', asked, 'another-key')).status).toBe(401);
    const twoLines = await send('block', { ...asked, reason: 'a\nb' });
    expect(twoLines).toMatchObject({ status: 400, body: { detail: expect.stringContaining('reason') } });
    expect((await jobView(farm.context, job.id)).blocks).toEqual([]);
    const done = await send('block', asked);
    expect([done.status, jobViewSchema.parse(done.body).blocks]).toEqual([
      200,
      [expect.objectContaining({ nodeId: dark.id, ...SAID })],
    ]);
    const undone = await send('unblock', { nodeId: dark.id, by: 'ada' });
    expect([undone.status, jobViewSchema.parse(undone.body).blocks]).toEqual([200, []]);
  });
});

describe('what cannot be said', () => {
  it('is told with its reason, and changes nothing', async () => {
    const { dark, job } = await made();
    const { context } = farm;
    const blocking = (id = job.id, changes = {}) =>
      block(context, id, { nodeId: dark.id, ...SAID, ...changes });
    await expect(blocking(jobIdSchema.parse('job_none'))).rejects.toMatchObject({ code: 'NOT_FOUND' });
    await expect(blocking(job.id, { nodeId: nodeIdSchema.parse('nobody') })).rejects.toThrow(
      'no node nobody',
    );
    await expect(blocking(job.id, { taskId: taskIdSchema.parse('task_none') })).rejects.toThrow(
      'has no task task_none',
    );
    const ended = await farm.addJob({ state: 'completed' });
    await expect(blocking(ended.id)).rejects.toMatchObject({ code: 'JOB_ENDED' });
    await expect(unblock(context, job.id, { nodeId: dark.id, by: 'ada' })).rejects.toMatchObject({
      code: 'NOT_FOUND',
    });
    expect((await jobView(context, job.id)).blocks).toEqual([]);
    expect(await farm.eventsOf(job.id)).toEqual([]);
  });

  it('is that a verdict is over: it takes the place of what a person said', async () => {
    const { dark, job } = await made();
    await leaseTo(farm, dark, job.tiles[0] as TaskRow);
    await block(farm.context, job.id, { nodeId: dark.id, ...SAID });
    const batch = { job_id: job.id, node_id: dark.id } as never;
    await quarantine(farm.context, farm.db, batch, 'its pixels differ', new Date(farm.clock.now()));
    await block(farm.context, job.id, { nodeId: dark.id, ...SAID });
    const verdict = { nodeId: dark.id, taskId: null, by: null, reason: 'its pixels differ', atMs: null };
    expect((await jobView(farm.context, job.id)).blocks).toEqual([verdict]);
    await expect(unblock(farm.context, job.id, { nodeId: dark.id, by: 'ada' })).rejects.toMatchObject({
      code: 'BLOCK_STANDS',
    });
    expect((await jobView(farm.context, job.id)).blocks).toEqual([verdict]);
  });
});
