import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import type { z } from 'zod';
import { Dispatcher } from '../../coordinator/scheduling/dispatcher.ts';
import { failTask } from '../../coordinator/scheduling/fail-task.ts';
import { requireWorkingNode, welcomeNode } from '../../coordinator/scheduling/nodes.ts';
import { forgetPublished, publishQueued } from '../../coordinator/scheduling/publish-queued.ts';
import { submitJob } from '../../coordinator/submission/jobs.ts';
import { Scenes } from '../../coordinator/submission/scenes.ts';
import { addressSchema, digestSchema, nodeIdSchema, type TaskId } from '../../protocol/ids.ts';
import { type helloSchema, leaseGrantSchema, PROTOCOL_VERSION } from '../../protocol/messages.ts';
import {
  DEVICE_CLASS,
  ENGINE,
  SCENE,
  type TaskRow,
  type TestCoordinator,
  testCoordinator,
} from '../support/coordinator-context.ts';
import { leaseTo } from './delivery.ts';

vi.setConfig({ testTimeout: 30_000, hookTimeout: 60_000 });

let farm: TestCoordinator;
beforeAll(async () => {
  farm = await testCoordinator();
});
afterAll(() => farm[Symbol.asyncDispose]());
beforeEach(async () => {
  await publishQueued(farm.db, farm.queue);
  farm.queue.published.length = 0;
  farm.queue.taken.length = 0;
  farm.queue.onPublish = async () => undefined;
});

const publishedIds = (): TaskId[] => farm.queue.published.map((entry) => entry.pointer.taskId);

describe('publishing what is queued', () => {
  it('publishes each queued task of an active job once, oldest job first', async () => {
    const older = await farm.addJob({ frames: [1, 2], tilesPerFrame: 1 });
    const newer = await farm.addJob({ tilesPerFrame: 1 });
    await farm.addJob({ state: 'opening' });
    expect(await publishQueued(farm.db, farm.queue)).toBe(3);
    expect(publishedIds()).toEqual([...older.tiles, ...newer.tiles].map((task) => task.id));
    expect(await publishQueued(farm.db, farm.queue)).toBe(0);
  });

  it('publishes a task again for its next stay in the queue, under another attempt', async () => {
    const node = await farm.addNode();
    await farm.addNode();
    const { tiles } = await farm.addJob({ tilesPerFrame: 1 });
    await publishQueued(farm.db, farm.queue);
    const { id: taskId, token } = await leaseTo(farm, node, tiles[0] as TaskRow);
    await failTask(farm.context, node.id, {
      taskId,
      token,
      failureClass: 'node',
      code: 'X',
      message: 'it broke',
    });
    await publishQueued(farm.db, farm.queue);
    expect(farm.queue.published.map((entry) => entry.attempt)).toEqual([0, 1]);
  });

  it('publishes a task again that was leased and given back while its first pointer was on the way', async () => {
    const node = await farm.addNode();
    await farm.addNode();
    const { tiles } = await farm.addJob({ tilesPerFrame: 1 });
    farm.queue.onPublish = async () => {
      farm.queue.onPublish = async () => undefined;
      const { id: taskId, token } = await leaseTo(farm, node, tiles[0] as TaskRow);
      await failTask(farm.context, node.id, {
        taskId,
        token,
        failureClass: 'node',
        code: 'X',
        message: 'it broke',
      });
    };
    await publishQueued(farm.db, farm.queue);
    await publishQueued(farm.db, farm.queue);
    expect(farm.queue.published.map((entry) => entry.attempt)).toEqual([0, 1]);
  });

  it('publishes everything queued again after a start', async () => {
    const { tiles } = await farm.addJob();
    await publishQueued(farm.db, farm.queue);
    farm.queue.published.length = 0;
    await forgetPublished(farm.db);
    await publishQueued(farm.db, farm.queue);
    expect(publishedIds()).toEqual(expect.arrayContaining(tiles.map((tile) => tile.id)));
  });
});

describe('the dispatcher', () => {
  const idle = new AbortController().signal;
  async function dispatcher(): Promise<Dispatcher> {
    const made = new Dispatcher(farm.context);
    await made.start();
    return made;
  }
  const known = (node: { id: ReturnType<typeof nodeIdSchema.parse>; address: string }) => ({
    ...node,
    engine: ENGINE,
  });

  it('answers a node that waits as soon as a pointer arrives, and takes the pointer off the list', async () => {
    const node = await farm.addNode();
    const { id: jobId, tiles } = await farm.addJob({ tilesPerFrame: 1 });
    const dispatch = await dispatcher();
    const reply = dispatch.lease(known(node), idle);
    const taskId = tiles[0]?.id as TaskId;
    farm.queue.deliver({ taskId, jobId });
    const { grant } = await reply;
    expect(leaseGrantSchema.parse(grant)).toMatchObject({
      taskId,
      jobId,
      token: 1,
      scene: SCENE,
      price: 1_000n,
    });
    expect(farm.queue.taken).toEqual([taskId]);
    expect(await farm.eventsOf(jobId)).toEqual([
      expect.objectContaining({ type: 'task.leased', nodeId: node.id }),
    ]);
  });

  it('gives each of two waiting nodes another task', async () => {
    const [a, b] = [await farm.addNode(), await farm.addNode()];
    const { id: jobId, tiles } = await farm.addJob({ tilesPerFrame: 2 });
    const dispatch = await dispatcher();
    const replies = [dispatch.lease(known(a), idle), dispatch.lease(known(b), idle)];
    for (const tile of tiles) farm.queue.deliver({ taskId: tile.id, jobId });
    const given = (await Promise.all(replies)).map((reply) => reply.grant?.taskId);
    expect(new Set(given)).toEqual(new Set(tiles.map((tile) => tile.id)));
  });

  it('answers the older question of a node when it asks again', async () => {
    const node = await farm.addNode();
    const dispatch = await dispatcher();
    const stopping = new AbortController();
    const older = dispatch.lease(known(node), stopping.signal);
    const newer = dispatch.lease(known(node), stopping.signal);
    expect(await older).toMatchObject({ grant: null, reason: 'asked again meanwhile' });
    stopping.abort();
    expect(await newer).toMatchObject({ grant: null });
  });

  it('takes pointers off the list whose task is no longer queued', async () => {
    const [node, other] = [await farm.addNode(), await farm.addNode()];
    const stale = await farm.addJob({ tilesPerFrame: 1 });
    const fresh = await farm.addJob({ tilesPerFrame: 1 });
    const leased = await leaseTo(farm, other, stale.tiles[0] as TaskRow);
    const dispatch = await dispatcher();
    const waiting = dispatch.lease(known(node), idle);
    farm.queue.deliver({ taskId: leased.id, jobId: stale.id });
    await vi.waitFor(() => expect(farm.queue.taken).toEqual([leased.id]));
    farm.queue.deliver({ taskId: fresh.tiles[0]?.id as TaskId, jobId: fresh.id });
    expect((await waiting).grant?.taskId).toBe(fresh.tiles[0]?.id);
  });
});

describe('nodes', () => {
  const hello = (address: string, engine = ENGINE): z.output<typeof helloSchema> => ({
    protocolVersion: PROTOCOL_VERSION,
    address: addressSchema.parse(address),
    engine,
    deviceClass: DEVICE_CLASS,
  });
  const [mine, theirs] = [`0x${'a1'.repeat(20)}`, `0x${'b2'.repeat(20)}`];

  it('are written down at their first hello and brought up to date at the next', async () => {
    const id = nodeIdSchema.parse('newcomer');
    await welcomeNode(farm.context, id, hello(mine));
    farm.clock.advance(1_000);
    await welcomeNode(farm.context, id, hello(mine, 'blender-4.3.2'));
    expect(await farm.node(id)).toMatchObject({
      engine: 'blender-4.3.2',
      last_seen_at: new Date(farm.clock.now()),
    });
  });

  it('cannot take the name of another key', async () => {
    const id = nodeIdSchema.parse('famous');
    await welcomeNode(farm.context, id, hello(mine));
    await expect(welcomeNode(farm.context, id, hello(theirs))).rejects.toMatchObject({
      code: 'UNAUTHORIZED',
    });
    expect((await farm.node(id)).address).toBe(mine);
  });

  it('get no work before they said hello', async () => {
    await expect(requireWorkingNode(farm.context, nodeIdSchema.parse('stranger'))).rejects.toMatchObject({
      code: 'UNAUTHORIZED',
    });
  });

  it('get no work while they are quarantined, are told why, and work again afterwards', async () => {
    const node = await farm.addNode();
    const until = new Date(farm.clock.now() + 60_000);
    await farm.db
      .updateTable('nodes')
      .set({ quarantined_until: until, reason: 'black tile' })
      .where('id', '=', node.id)
      .execute();
    await expect(requireWorkingNode(farm.context, node.id)).rejects.toMatchObject({
      code: 'NODE_QUARANTINED',
      message: expect.stringContaining('black tile'),
    });
    farm.clock.advance(60_000);
    expect(await requireWorkingNode(farm.context, node.id)).toEqual({
      id: node.id,
      address: node.address,
      engine: ENGINE,
    });
  });
});

describe('submitting a job', () => {
  it('writes down the whole job: frames, tasks, prices, and an event', async () => {
    const id = await submitJob(farm.context, new Scenes(farm.context), {
      scene: SCENE,
      name: 'scene.blend',
      frames: [2, 1],
      tiles: { columns: 2, rows: 1 },
    });
    const job = await farm.job(id);
    const tasks = await farm.db
      .selectFrom('tasks')
      .selectAll()
      .where('job_id', '=', id)
      .orderBy('position')
      .execute();
    expect(job).toMatchObject({ state: 'opening', escrow: 'none', spent: '0' });
    expect(tasks.map((task) => [task.kind, task.frame, task.state])).toEqual([
      ['render', 2, 'queued'],
      ['render', 2, 'queued'],
      ['finish', 2, 'waiting'],
      ['render', 1, 'queued'],
      ['render', 1, 'queued'],
      ['finish', 1, 'waiting'],
    ]);
    expect(tasks.reduce((sum, task) => sum + BigInt(task.price), 0n)).toBe(BigInt(job.quote));
    expect(await farm.eventsOf(id)).toEqual([{ type: 'job.submitted', tasks: 6, quote: job.quote }]);
  });

  it('refuses a scene the farm does not know', async () => {
    const scene = digestSchema.parse('0'.repeat(64));
    await expect(
      submitJob(farm.context, new Scenes(farm.context), { scene, name: 'a' }),
    ).rejects.toMatchObject({
      code: 'NOT_FOUND',
      kept: 'nothing was submitted',
    });
  });
});
