import type { KyselyPlugin } from 'kysely';
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { Dispatcher } from '../../coordinator/scheduling/dispatcher.ts';
import { MAX_HELD } from '../../coordinator/scheduling/held-tasks.ts';
import { publishQueued } from '../../coordinator/scheduling/publish-queued.ts';
import type { nodeIdSchema, TaskId } from '../../protocol/ids.ts';
import { leaseRunSchema, MAX_RUN } from '../../protocol/messages.ts';
import {
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

/** A loaded machine may take long; what is waited for comes at once on a free one. */
const PATIENT = { timeout: 30_000, interval: 10 };

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

  it('gives what it holds to a node that waits at another coordinator, and then no more to its own', async () => {
    const [near, far] = [await farm.addNode(), await farm.addNode()];
    const { id: jobId, tiles } = await farm.addJob({ tilesPerFrame: 2 });
    const coordinators: Dispatcher[] = [];
    const made = (other: number): Dispatcher =>
      new Dispatcher(farm.context, undefined, {
        waiting: () => coordinators[other]?.othersWait(),
        offer: (pointers) => coordinators[other]?.borrow(pointers),
      });
    const [holds, hasNone] = [made(1), made(0)];
    coordinators.push(holds, hasNone);
    await holds.start();
    // One after the other: whatever came first, the task or the node, it is given.
    const early = hasNone.lease(known(far), undefined, idle);
    farm.queue.deliver({ taskId: tiles[0]?.id as TaskId, jobId });
    expect((await early).run?.tasks.map((task) => task.taskId)).toEqual([tiles[0]?.id]);
    farm.queue.deliver({ taskId: tiles[1]?.id as TaskId, jobId });
    await holds.idle();
    farm.clock.advance(1_000);
    const late = await hasNone.lease(known(far), undefined, idle);
    expect(late.run?.tasks.map((task) => task.taskId)).toEqual([tiles[1]?.id]);

    // What the other one gave away is gone here too, as soon as somebody asks for it.
    const stop = new AbortController();
    const none = holds.lease(known(near), undefined, stop.signal);
    await holds.idle();
    await vi.waitFor(
      () => expect([...farm.queue.taken].sort()).toEqual(tiles.map(({ id }) => id).sort()),
      PATIENT,
    );
    stop.abort();
    expect((await none).run).toBeNull();
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
    const asking = new WeakSet<object>();
    const arrival: KyselyPlugin = {
      transformQuery: ({ node: query, queryId }) => {
        // The question what is still queued.
        if (JSON.stringify(query).includes("j.state in ('opening', 'active')")) asking.add(queryId);
        return query;
      },
      transformResult: async ({ result, queryId }) => {
        if (asking.has(queryId) && !arrived) {
          arrived = true;
          farm.queue.deliver({ taskId: freshId, jobId: fresh.id });
        }
        return result;
      },
    };
    const dispatch = new Dispatcher({ ...farm.context, db: farm.db.withPlugin(arrival) });
    await dispatch.start();
    const waiting = dispatch.lease(known(node), undefined, idle);
    farm.queue.deliver({ taskId: leased.id, jobId: stale.id });
    expect((await waiting).run?.tasks[0]?.taskId).toBe(freshId);
    expect(arrived).toBe(true);
    // Taken off the list in this order: the stale one after the question, the fresh one with its lease.
    expect(farm.queue.taken).toEqual([leased.id, freshId]);
  });

  it('serves a job that begins while it reads which jobs there are', async () => {
    const node = await farm.addNode();
    const earlier = await farm.addJob({ tilesPerFrame: 1, engine: 'blender-4.3.2' });
    const { id: jobId, tiles } = await farm.addJob({ tilesPerFrame: 1 });
    const taskId = tiles[0]?.id as TaskId;
    const reading = new WeakSet<object>();
    let reads = 0;
    const tooEarly: KyselyPlugin = {
      transformQuery: ({ node: query, queryId }) => {
        if (JSON.stringify(query).includes('share_base as account_base')) reading.add(queryId);
        return query;
      },
      transformResult: async ({ result, queryId }) => {
        if (!reading.has(queryId) || reads++ > 0) return result;
        farm.queue.deliver({ taskId, jobId });
        return { ...result, rows: result.rows.filter((row) => row['id'] !== jobId) };
      },
    };
    const dispatch = new Dispatcher({ ...farm.context, db: farm.db.withPlugin(tooEarly) });
    await dispatch.start();
    const waiting = dispatch.lease(known(node), undefined, idle);
    farm.queue.deliver({ taskId: earlier.tiles[0]?.id as TaskId, jobId: earlier.id });
    expect((await waiting).run?.tasks[0]?.taskId).toBe(taskId);
    expect(reads).toBeGreaterThan(1);
  });

  it('gives the place of a node that is done to the next one at once', async () => {
    const [one, two] = [await farm.addNode(), await farm.addNode()];
    const { id: jobId, tiles } = await farm.addJob({ tilesPerFrame: 2, maxNodes: 1 });
    const dispatch = await dispatcher();
    const first = dispatch.lease(known(one), undefined, idle);
    for (const { id: taskId } of tiles) farm.queue.deliver({ taskId, jobId });
    const leased = (await first).run?.tasks[0]?.taskId as TaskId;
    const second = dispatch.lease(known(two), undefined, idle);
    await dispatch.idle();
    expect(dispatch.waiting).toEqual([two.id]);
    await completeTask(farm.context, one.id, await completionOf(farm, one, await farm.task(leased)));
    dispatch.wake();
    expect((await second).run?.tasks).toHaveLength(1);
  });

  it('lets go of its pointers when it holds as many as it may and none is for those who wait', async () => {
    const node = await farm.addNode();
    const full = await farm.addJob({ tilesPerFrame: MAX_HELD, engine: 'blender-4.3.2' });
    const behind = await farm.addJob({ tilesPerFrame: 1 });
    const dispatch = await dispatcher();
    const waiting = dispatch.lease(known(node), undefined, idle);
    for (const tile of full.tiles.slice(0, -1)) farm.queue.deliver({ taskId: tile.id, jobId: full.id });
    // A node that asks now is looked for among these, too; one less is not yet too many.
    const second = await farm.addNode();
    const stopping = new AbortController();
    const secondWaiting = dispatch.lease(known(second), undefined, stopping.signal);
    await farm.db.selectFrom('jobs').select('id').execute();
    stopping.abort();
    await secondWaiting;
    expect(farm.queue.letGo).toEqual([]);
    farm.queue.deliver({ taskId: full.tiles.at(-1)?.id as TaskId, jobId: full.id });
    await vi.waitFor(() => expect(farm.queue.letGo).toEqual(full.tiles.map((tile) => tile.id)), PATIENT);
    expect(farm.queue.taken).toEqual([]);
    farm.queue.deliver({ taskId: behind.tiles[0]?.id as TaskId, jobId: behind.id });
    expect((await waiting).run?.tasks[0]?.taskId).toBe(behind.tiles[0]?.id);
  });
});
