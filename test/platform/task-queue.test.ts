import type { NatsConnection } from 'nats';
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { type HeldPointer, openTaskQueue } from '../../platform/nats/task-queue.ts';
import { jobIdSchema, taskIdSchema } from '../../protocol/ids.ts';
import { TASKS_STREAM, type TaskPointer } from '../../protocol/messages.ts';
import { type NatsFixture, startNats } from './nats-server-fixture.ts';

vi.setConfig({ testTimeout: 30_000, hookTimeout: 60_000 });

let nats: NatsFixture;
let coordinator: NatsConnection;
beforeAll(async () => {
  nats = await startNats();
  coordinator = await nats.as('coordinator');
});
afterAll(() => nats[Symbol.asyncDispose]());

describe('the to-do list', () => {
  // A list of its own for each test, whatever the one before left on it.
  beforeEach(async () => {
    const manager = await coordinator.jetstreamManager();
    await manager.streams.delete(TASKS_STREAM).catch(() => false);
  });

  let names = 0;
  const pointer = (): TaskPointer => {
    names += 1;
    return { jobId: jobIdSchema.parse('job_q'), taskId: taskIdSchema.parse(`task_q${names}`) };
  };
  type Arrivals = {
    all: HeldPointer[];
    until(count: number): Promise<HeldPointer[]>;
    take: (held: HeldPointer) => void;
  };
  function arrivals(): Arrivals {
    const all: HeldPointer[] = [];
    return {
      all,
      take: (held) => void all.push(held),
      until: (count) =>
        vi.waitFor(
          () => {
            if (all.length < count) throw new Error(`${all.length} of ${count} pointers came`);
            return all;
          },
          { timeout: 20_000, interval: 10 },
        ),
    };
  }
  const emptied = (depth: () => Promise<number>): Promise<void> =>
    vi.waitFor(async () => expect(await depth()).toBe(0), { timeout: 10_000, interval: 10 });

  it('hands out what was published, keeps it while it is held, and forgets it when it is done', async () => {
    await using queue = await openTaskQueue(coordinator);
    const wanted = [pointer(), pointer(), pointer()];
    for (const one of wanted) await queue.publish([one]);
    expect(await queue.depth()).toBe(3);
    const got = arrivals();
    await queue.hold(16, got.take);
    const held = await got.until(3);
    expect(held.map(({ jobId, taskId }) => ({ jobId, taskId }))).toEqual(wanted);
    expect(await queue.depth()).toBe(3);
    for (const one of held) one.done();
    await emptied(queue.depth);
  });

  it('has a pointer twice that was published twice, and holds it once', async () => {
    await using queue = await openTaskQueue(coordinator);
    const one = pointer();
    await queue.publish([one]);
    await queue.publish([one]);
    expect(await queue.depth()).toBe(2);
    const got = arrivals();
    await queue.hold(16, got.take);
    const held = await got.until(2);
    expect(held.map((each) => each.taskId)).toEqual([one.taskId, one.taskId]);
    // The first of the two was taken off when the second arrived; one answer is enough for both.
    await vi.waitFor(async () => expect(await queue.depth()).toBe(1), { timeout: 10_000, interval: 10 });
    held[1]?.done();
    await emptied(queue.depth);
  });

  // Until platform/nats/task-queue.ts `later` frees the place: the server counts a delayed nak as still pending.
  it('takes up what stands behind when it lets go of something for a while', async () => {
    await using queue = await openTaskQueue(coordinator);
    const wanted = [pointer(), pointer(), pointer()];
    for (const one of wanted) await queue.publish([one]);
    const got = arrivals();
    await queue.hold(2, got.take);
    const [first, second] = await got.until(2);
    first?.later();
    second?.later();
    const third = (await got.until(3))[2];
    expect(third?.taskId).toBe(wanted[2]?.taskId);
    third?.done();
    // What was let go of is still on the list and comes again.
    for (const held of (await got.until(5)).slice(3)) held.done();
    expect(new Set(got.all.slice(3).map((held) => held.taskId))).toEqual(
      new Set(wanted.slice(0, 2).map((one) => one.taskId)),
    );
    await emptied(queue.depth);
  });

  it('gives what a closed coordinator held to another one', async () => {
    const other = await nats.as('coordinator');
    const one = pointer();
    const first = await openTaskQueue(other);
    await first.publish([one]);
    const mine = arrivals();
    await first.hold(16, mine.take);
    await mine.until(1);
    await first[Symbol.asyncDispose]();
    await other.flush();
    await using second = await openTaskQueue(coordinator);
    const theirs = arrivals();
    await second.hold(16, theirs.take);
    const [again] = await theirs.until(1);
    expect(again?.taskId).toBe(one.taskId);
    again?.done();
    await emptied(second.depth);
  });

  it('holds no more at a time than it was told to', async () => {
    await using queue = await openTaskQueue(coordinator);
    for (let count = 0; count < 5; count++) await queue.publish([pointer()]);
    const got = arrivals();
    await queue.hold(2, got.take);
    await got.until(2);
    const manager = await coordinator.jetstreamManager();
    const info = await manager.consumers.info(TASKS_STREAM, 'dispatch');
    expect({ held: info.num_ack_pending, waiting: info.num_pending }).toEqual({ held: 2, waiting: 3 });
    expect(got.all).toHaveLength(2);
    for (let next = 0; next < 5; next++) (await got.until(next + 1))[next]?.done();
    await emptied(queue.depth);
  });

  it('throws away what is no pointer instead of stopping at it', async () => {
    await using queue = await openTaskQueue(coordinator);
    const got = arrivals();
    await coordinator.jetstream().publish('task.job_q.task_evil', 'not json');
    await queue.hold(16, got.take);
    const good = pointer();
    await queue.publish([good]);
    const [held] = await got.until(1);
    expect(held?.taskId).toBe(good.taskId);
    held?.done();
    await emptied(queue.depth);
  });
});
