/** The to-do list on three message servers: one of them is killed, whichever it is, and nothing is lost. */
import type { NatsConnection } from 'nats';
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { coordinatorCredential, newAuthority } from '../../platform/nats/authority.ts';
import { connectNats } from '../../platform/nats/connection.ts';
import { type HeldPointer, openTaskQueue } from '../../platform/nats/task-queue.ts';
import { jobIdSchema, taskIdSchema } from '../../protocol/ids.ts';
import { TASKS_STREAM, type TaskPointer } from '../../protocol/messages.ts';
import { type NatsCluster, startNatsCluster } from '../support/nats-cluster.ts';
import { tempFolder } from './temp-folder.ts';

vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });

const authority = newAuthority();
let folder: Awaited<ReturnType<typeof tempFolder>>;
let cluster: NatsCluster;
let nats: NatsConnection;
beforeAll(async () => {
  folder = await tempFolder();
  cluster = await startNatsCluster(folder.path, authority);
  const credential = await coordinatorCredential(authority.account);
  nats = await connectNats({ url: cluster.url }, 'coordinator', () => credential);
});
afterAll(async () => {
  await nats.close();
  await cluster[Symbol.asyncDispose]();
  await folder[Symbol.asyncDispose]();
});

let names = 0;
const pointer = (): TaskPointer => {
  names += 1;
  return { jobId: jobIdSchema.parse('job_q'), taskId: taskIdSchema.parse(`task_q${names}`) };
};

/** As the coordinator does: what a server that is going away did not take is published again. */
async function publishedIn(publish: () => Promise<void>): Promise<void> {
  await vi.waitFor(publish, { timeout: 60_000, interval: 200 });
}

it('goes on whichever of the three dies: what was published is handed out, and new work too', async () => {
  await using queue = await openTaskQueue(nats, { replicas: 3 });
  const manager = await nats.jetstreamManager();
  expect((await manager.streams.info(TASKS_STREAM)).config.num_replicas).toBe(3);
  const arrived = new Map<string, HeldPointer>();
  await queue.hold(64, (held) => void arrived.set(held.taskId, held));
  for (let victim = 0; victim < 3; victim++) {
    const before = [pointer(), pointer(), pointer()];
    await publishedIn(() => queue.publish(before));
    await cluster.kill(victim);
    const after = [pointer(), pointer(), pointer()];
    await publishedIn(() => queue.publish(after));
    const wanted = [...before, ...after].map((one) => one.taskId);
    await vi.waitFor(() => expect([...arrived.keys()]).toEqual(expect.arrayContaining(wanted)), {
      timeout: 60_000,
      interval: 50,
    });
    // Acknowledged once the servers that are left agree; one that was lost on its way comes again.
    await vi.waitFor(
      async () => {
        for (const held of arrived.values()) held.done();
        expect(await queue.depth()).toBe(0);
      },
      { timeout: 60_000, interval: 500 },
    );
    await cluster.startAgain(victim);
    // All three again, before the next one goes.
    await vi.waitFor(
      async () => {
        const { cluster: state } = await manager.streams.info(TASKS_STREAM);
        expect(state?.replicas?.map((one) => one.current && one.offline !== true)).toEqual([true, true]);
      },
      { timeout: 60_000, interval: 200 },
    );
  }
});
