import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { failTask } from '../../coordinator/scheduling/fail-task.ts';
import {
  forgetPublished,
  publishQueued,
  republishLost,
} from '../../coordinator/scheduling/publish-queued.ts';
import type { TaskId } from '../../protocol/ids.ts';
import { type TaskRow, type TestCoordinator, testCoordinator } from '../support/coordinator-context.ts';
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
  farm.queue.letGo.length = 0;
  farm.queue.onPublish = async () => undefined;
});

const publishedIds = (): TaskId[] => farm.queue.published.map((pointer) => pointer.taskId);

describe('publishing what is queued', () => {
  it('publishes each queued task of an active job once, oldest job first', async () => {
    const older = await farm.addJob({ frames: [1, 2], tilesPerFrame: 1 });
    const newer = await farm.addJob({ tilesPerFrame: 1 });
    await farm.addJob({ state: 'opening' });
    expect((await publishQueued(farm.db, farm.queue)).published).toBe(3);
    expect(publishedIds()).toEqual([...older.tiles, ...newer.tiles].map((task) => task.id));
    expect((await publishQueued(farm.db, farm.queue)).published).toBe(0);
  });

  it('looks at no other jobs where it is known which ones ran short', async () => {
    const one = await farm.addJob({ tilesPerFrame: 1 });
    const two = await farm.addJob({ tilesPerFrame: 1 });
    expect((await publishQueued(farm.db, farm.queue, new Set([two.id]))).published).toBe(1);
    expect(publishedIds()).toEqual(two.tiles.map((task) => task.id));
    expect((await publishQueued(farm.db, farm.queue)).published).toBe(1);
    expect(publishedIds().slice(1)).toEqual(one.tiles.map((task) => task.id));
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
    expect((await publishQueued(farm.db, farm.queue)).published).toBe(0);

    depth.mockResolvedValueOnce(Number(onTheList) - 1);
    expect(await republishLost(farm.db, farm.queue)).toBe(true);
    expect((await publishQueued(farm.db, farm.queue)).published).toBe(Number(onTheList));
    expect(publishedIds()).toEqual(expect.arrayContaining(tiles.map((tile) => tile.id)));
    depth.mockRestore();
  });
});
