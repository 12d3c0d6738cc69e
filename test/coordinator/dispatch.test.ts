import type { KyselyPlugin } from 'kysely';
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import type { z } from 'zod';
import { Dispatcher } from '../../coordinator/scheduling/dispatcher.ts';
import { failTask } from '../../coordinator/scheduling/fail-task.ts';
import { requireWorkingNode, welcomeNode } from '../../coordinator/scheduling/nodes.ts';
import {
  forgetPublished,
  publishQueued,
  republishLost,
} from '../../coordinator/scheduling/publish-queued.ts';
import { submitJob } from '../../coordinator/submission/jobs.ts';
import { Scenes } from '../../coordinator/submission/scenes.ts';
import { MAX_MESSAGE_BYTES } from '../../platform/nats/connection.ts';
import { addressSchema, digestSchema, nodeIdSchema, type TaskId } from '../../protocol/ids.ts';
import type { SceneManifest } from '../../protocol/job.ts';
import { type helloSchema, leaseRunSchema, MAX_RUN, PROTOCOL_VERSION } from '../../protocol/messages.ts';
import {
  DEVICE_CLASS,
  ENGINE,
  SCENE,
  type TaskRow,
  type TestCoordinator,
  testCoordinator,
} from '../support/coordinator-context.ts';
import { completeTask, completionOf, deliver, leaseTo } from './delivery.ts';

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
  farm.queue.letGo.length = 0;
  farm.queue.onPublish = async () => undefined;
});

const publishedIds = (): TaskId[] => farm.queue.published.map((pointer) => pointer.taskId);

/** A loaded machine may take long; what is waited for comes at once on a free one. */
const PATIENT = { timeout: 30_000, interval: 10 };

describe('publishing what is queued', () => {
  it('publishes each queued task of an active job once, oldest job first', async () => {
    const older = await farm.addJob({ frames: [1, 2], tilesPerFrame: 1 });
    const newer = await farm.addJob({ tilesPerFrame: 1 });
    await farm.addJob({ state: 'opening' });
    expect(await publishQueued(farm.db, farm.queue)).toBe(3);
    expect(publishedIds()).toEqual([...older.tiles, ...newer.tiles].map((task) => task.id));
    expect(await publishQueued(farm.db, farm.queue)).toBe(0);
  });

  it('publishes a task again for its next stay in the queue', async () => {
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
    expect(publishedIds()).toEqual([taskId, taskId]);
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
    expect(publishedIds()).toEqual([tiles[0]?.id, tiles[0]?.id]);
  });

  it('publishes everything queued again after a start', async () => {
    const { tiles } = await farm.addJob();
    await publishQueued(farm.db, farm.queue);
    farm.queue.published.length = 0;
    await forgetPublished(farm.db);
    await publishQueued(farm.db, farm.queue);
    expect(publishedIds()).toEqual(expect.arrayContaining(tiles.map((tile) => tile.id)));
  });

  it('publishes everything queued again when the list has become shorter than what was published', async () => {
    const { tiles } = await farm.addJob({ tilesPerFrame: 3 });
    await publishQueued(farm.db, farm.queue);
    const depth = vi.spyOn(farm.queue, 'depth');
    // Other jobs of this file have tasks in the queue as well; all of them are on the list.
    const { onTheList } = await farm.db
      .selectFrom('tasks')
      .innerJoin('jobs', 'jobs.id', 'tasks.job_id')
      .select((query) => query.fn.countAll<string>().as('onTheList'))
      .where('tasks.state', '=', 'queued')
      .where('published', '=', true)
      .where('jobs.state', '=', 'active')
      .executeTakeFirstOrThrow();

    depth.mockResolvedValueOnce(Number(onTheList));
    expect(await republishLost(farm.db, farm.queue)).toBe(false);
    farm.queue.published.length = 0;
    expect(await publishQueued(farm.db, farm.queue)).toBe(0);

    depth.mockResolvedValueOnce(Number(onTheList) - 1);
    expect(await republishLost(farm.db, farm.queue)).toBe(true);
    expect(await publishQueued(farm.db, farm.queue)).toBe(Number(onTheList));
    expect(publishedIds()).toEqual(expect.arrayContaining(tiles.map((tile) => tile.id)));
    depth.mockRestore();
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
    engines: [ENGINE],
  });

  it('answers a node that waits as soon as a pointer arrives, and takes the pointer off the list', async () => {
    const node = await farm.addNode();
    const { id: jobId, tiles } = await farm.addJob({ tilesPerFrame: 1 });
    const dispatch = await dispatcher();
    const reply = dispatch.lease(known(node), undefined, idle);
    const taskId = tiles[0]?.id as TaskId;
    farm.queue.deliver({ taskId, jobId });
    const { run } = await reply;
    expect(leaseRunSchema.parse(run)).toMatchObject({
      jobId,
      scene: SCENE,
      tasks: [{ taskId, token: 1, price: 1_000n }],
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
    const replies = [dispatch.lease(known(a), undefined, idle), dispatch.lease(known(b), undefined, idle)];
    for (const tile of tiles) farm.queue.deliver({ taskId: tile.id, jobId });
    const given = (await Promise.all(replies)).map((reply) => reply.run?.tasks[0]?.taskId);
    expect(new Set(given)).toEqual(new Set(tiles.map((tile) => tile.id)));
  });

  it('gives a node its half of what is there at once, where it is more of what it has just done', async () => {
    const [node, other] = [await farm.addNode(), await farm.addNode()];
    const tiled = await farm.addJob({ frames: [1, 2], tilesPerFrame: 12 });
    const whole = await farm.addJob({ frames: [1, 2], whole: true });
    const dispatch = await dispatcher();
    const run = { scene: SCENE, kind: 'render' as const, tasks: 4 };
    const arrive = ({ id: jobId, tiles, wholes }: typeof tiled): void => {
      for (const { id: taskId } of [...tiles, ...wholes]) farm.queue.deliver({ taskId, jobId });
    };
    await deliver(farm, node, tiled.tiles.splice(0, 12));
    arrive(tiled);
    const given = async (asked: typeof run | undefined, to = node): Promise<TaskId[]> =>
      (await dispatch.lease(known(to), asked, idle)).run?.tasks.map((task) => task.taskId) ?? [];
    const ids = tiled.tiles.map((tile) => tile.id);
    // As many as it asks for; half of the 8 that are left; one where it says nothing; and from then on two share.
    expect(await given(run)).toEqual(ids.slice(0, 4));
    expect(await given({ ...run, tasks: 16 })).toEqual(ids.slice(4, 8));
    expect(await given(undefined, other)).toEqual(ids.slice(8, 9));
    expect(await given({ ...run, tasks: 16 })).toEqual(ids.slice(9, 10));
    expect(await given({ ...run, kind: 'finish' as never })).toEqual(ids.slice(10, 11));
    arrive(whole);
    // The last tile, and none of the whole frames with it.
    expect(await given({ ...run, tasks: 16 })).toEqual(ids.slice(11));
    expect(await given({ ...run, tasks: 16 })).toEqual([whole.wholes[0]?.id]);
    expect((await farm.eventsOf(tiled.id)).filter((event) => event.type === 'task.leased')).toHaveLength(12);
  });

  it('gives a device no more than three runs at a time, and its next when one was delivered', async () => {
    const node = await farm.addNode();
    const { id: jobId, tiles } = await farm.addJob({ tilesPerFrame: 200 });
    // Enough for all that it may ever have at a time.
    await deliver(farm, node, tiles.slice(0, 3 * MAX_RUN));
    const dispatch = await dispatcher();
    for (const { id: taskId } of tiles.slice(3 * MAX_RUN)) farm.queue.deliver({ taskId, jobId });
    const run = { scene: SCENE, kind: 'render' as const, tasks: MAX_RUN };
    const taken: number[] = [];
    for (let asked = 0; asked < 3; asked++)
      taken.push((await dispatch.lease(known(node), run, idle)).run?.tasks.length ?? 0);
    expect(taken).toEqual([MAX_RUN, MAX_RUN, MAX_RUN]);
    const waiting = dispatch.lease(known(node), run, idle);
    const [first] = await farm.db
      .selectFrom('tasks')
      .selectAll()
      .where('job_id', '=', jobId)
      .where('state', '=', 'leased')
      .execute();
    await completeTask(farm.context, node.id, await completionOf(farm, node, first as TaskRow));
    dispatch.wake();
    expect((await waiting).run?.tasks).toHaveLength(1);
  });

  it('answers the older question of a node when it asks again', async () => {
    const node = await farm.addNode();
    const dispatch = await dispatcher();
    const stopping = new AbortController();
    const older = dispatch.lease(known(node), undefined, stopping.signal);
    const newer = dispatch.lease(known(node), undefined, stopping.signal);
    expect(await older).toMatchObject({ run: null, reason: 'asked again meanwhile' });
    stopping.abort();
    expect(await newer).toMatchObject({ run: null });
  });

  it('takes pointers off the list whose task is no longer queued', async () => {
    const [node, other] = [await farm.addNode(), await farm.addNode()];
    const stale = await farm.addJob({ tilesPerFrame: 1 });
    const fresh = await farm.addJob({ tilesPerFrame: 1 });
    const leased = await leaseTo(farm, other, stale.tiles[0] as TaskRow);
    const dispatch = await dispatcher();
    const waiting = dispatch.lease(known(node), undefined, idle);
    farm.queue.deliver({ taskId: leased.id, jobId: stale.id });
    await vi.waitFor(() => expect(farm.queue.taken).toEqual([leased.id]), PATIENT);
    farm.queue.deliver({ taskId: fresh.tiles[0]?.id as TaskId, jobId: fresh.id });
    expect((await waiting).run?.tasks[0]?.taskId).toBe(fresh.tiles[0]?.id);
  });

  it('keeps a pointer that arrives while it looks for stale ones', async () => {
    const [node, other] = [await farm.addNode(), await farm.addNode()];
    const stale = await farm.addJob({ tilesPerFrame: 1 });
    const fresh = await farm.addJob({ tilesPerFrame: 1 });
    const freshId = fresh.tiles[0]?.id as TaskId;
    const leased = await leaseTo(farm, other, stale.tiles[0] as TaskRow);
    let arrived = false;
    const arrival: KyselyPlugin = {
      transformQuery: ({ node: query }) => query,
      // The first question that finds nothing is the claim; the answer to the next is what is still queued.
      transformResult: async ({ result }) => {
        questions += 1;
        if (questions === 2) {
          arrived = true;
          farm.queue.deliver({ taskId: freshId, jobId: fresh.id });
        }
        return result;
      },
    };
    let questions = 0;
    const dispatch = new Dispatcher({ ...farm.context, db: farm.db.withPlugin(arrival) });
    await dispatch.start();
    const waiting = dispatch.lease(known(node), undefined, idle);
    farm.queue.deliver({ taskId: leased.id, jobId: stale.id });
    expect((await waiting).run?.tasks[0]?.taskId).toBe(freshId);
    expect(arrived).toBe(true);
    // Taken off the list in this order: the stale one after the question, the fresh one with its lease.
    expect(farm.queue.taken).toEqual([leased.id, freshId]);
  });

  it('lets go of its pointers when it holds as many as it may and none is for those who wait', async () => {
    const node = await farm.addNode();
    const full = await farm.addJob({ tilesPerFrame: 256, engine: 'blender-4.3.2' });
    const behind = await farm.addJob({ tilesPerFrame: 1 });
    const dispatch = await dispatcher();
    const waiting = dispatch.lease(known(node), undefined, idle);
    for (const tile of full.tiles.slice(0, 255)) farm.queue.deliver({ taskId: tile.id, jobId: full.id });
    // A node that asks now is looked for among these, too; 255 are not yet too many.
    const second = await farm.addNode();
    const stopping = new AbortController();
    const secondWaiting = dispatch.lease(known(second), undefined, stopping.signal);
    await farm.db.selectFrom('jobs').select('id').execute();
    stopping.abort();
    await secondWaiting;
    expect(farm.queue.letGo).toEqual([]);
    farm.queue.deliver({ taskId: full.tiles[255]?.id as TaskId, jobId: full.id });
    await vi.waitFor(() => expect(farm.queue.letGo).toEqual(full.tiles.map((tile) => tile.id)), PATIENT);
    expect(farm.queue.taken).toEqual([]);
    farm.queue.deliver({ taskId: behind.tiles[0]?.id as TaskId, jobId: behind.id });
    expect((await waiting).run?.tasks[0]?.taskId).toBe(behind.tiles[0]?.id);
  });
});

describe('nodes', () => {
  const hello = (
    address: string,
    { engine = ENGINE, deviceClass = DEVICE_CLASS } = {},
  ): z.output<typeof helloSchema> => ({
    protocolVersion: PROTOCOL_VERSION,
    address: addressSchema.parse(address),
    engines: [{ id: engine, deviceClass }],
  });
  const [mine, theirs] = [`0x${'a1'.repeat(20)}`, `0x${'b2'.repeat(20)}`];

  it('are written down at their first hello and brought up to date at the next', async () => {
    const id = nodeIdSchema.parse('newcomer');
    await welcomeNode(farm.context, id, hello(mine));
    farm.clock.advance(1_000);
    // As a farm that was updated meanwhile finds it.
    await farm.db.updateTable('nodes').set({ engine: 'blender-2.8' }).where('id', '=', id).execute();
    await welcomeNode(farm.context, id, hello(mine));
    expect(await farm.node(id)).toMatchObject({
      engine: ENGINE,
      device_class: DEVICE_CLASS,
      last_seen_at: new Date(farm.clock.now()),
    });
  });

  it.each([
    ['another engine', { engine: 'blender-4.3.2' }],
    ['another class of CPU', { deviceClass: 'cpu-sse42' }],
  ])('with %s than this farm can check are refused and not written down', async (_what, other) => {
    const id = nodeIdSchema.parse('otherwise');
    await expect(welcomeNode(farm.context, id, hello(mine, other))).rejects.toMatchObject({
      code: 'NODE_NOT_SERVED',
      message: expect.stringContaining(Object.values(other).join()),
    });
    const known = await farm.db.selectFrom('nodes').select('id').where('id', '=', id).executeTakeFirst();
    expect(known).toBeUndefined();
  });

  it('that were known and come back with another engine stay as they were', async () => {
    const id = nodeIdSchema.parse('updated');
    await welcomeNode(farm.context, id, hello(mine));
    const before = await farm.node(id);
    farm.clock.advance(1_000);
    await expect(
      welcomeNode(farm.context, id, hello(mine, { engine: 'blender-4.3.2' })),
    ).rejects.toMatchObject({ code: 'NODE_NOT_SERVED' });
    expect(await farm.node(id)).toEqual(before);
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
      engines: [ENGINE],
    });
  });
});

describe('submitting a job', () => {
  const idle = new AbortController().signal;

  it('writes down the whole job: frames, tasks, prices, and an event', async () => {
    const id = await submitJob(
      farm.context,
      new Scenes(farm.context),
      {
        scene: SCENE,
        name: 'scene.blend',
        frames: [2, 1],
        tiles: { columns: 2, rows: 1 },
      },
      idle,
    );
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
      submitJob(farm.context, new Scenes(farm.context), { scene, name: 'a' }, idle),
    ).rejects.toMatchObject({
      code: 'NOT_FOUND',
      kept: 'nothing was submitted',
    });
  });
});

describe('a scene whose list of files is too long for a message', () => {
  /** Files with names of this letter, so that the list is about this many letters long. */
  function manifestOf(letters: number, letter: string): SceneManifest {
    const count = Math.ceil(letters / 500);
    const files = Array.from({ length: count }, (_, index) => ({
      path: `${letter.repeat(370)}-${String(index).padStart(6, '0')}`,
      digest: digestSchema.parse('cd'.repeat(32)),
      sizeBytes: 1,
    }));
    return { main: files[0]?.path ?? '', files };
  }
  const submit = (manifest: SceneManifest) =>
    new Scenes(farm.context).submit(manifest, new AbortController().signal);

  it('is refused before anything is looked at, and one that is short enough is not', async () => {
    const [fits, tooLong] = [
      manifestOf(0.4 * MAX_MESSAGE_BYTES, 'a'),
      manifestOf(0.6 * MAX_MESSAGE_BYTES, 'a'),
    ];
    expect(JSON.stringify(fits).length).toBeLessThan(MAX_MESSAGE_BYTES / 2);
    expect(JSON.stringify(tooLong).length).toBeGreaterThan(MAX_MESSAGE_BYTES / 2);
    await expect(submit(tooLong)).rejects.toMatchObject({
      code: 'TOO_LARGE',
      kept: 'nothing was submitted',
      message: expect.stringContaining(String(tooLong.files.length)),
    });
    // Not too long: refused for the next thing that is wrong with it.
    await expect(submit(fits)).rejects.toMatchObject({ code: 'NOT_FOUND' });
  });

  // Until coordinator/submission/scenes.ts counts bytes and not letters: this list is larger than any message.
  it('is refused by its bytes, whatever alphabet its names are in', async () => {
    const manifest = manifestOf(0.45 * MAX_MESSAGE_BYTES, '\u6f22');
    expect(Buffer.byteLength(JSON.stringify(manifest))).toBeGreaterThan(MAX_MESSAGE_BYTES);
    await expect(submit(manifest)).rejects.toMatchObject({ code: 'TOO_LARGE' });
  });
});
