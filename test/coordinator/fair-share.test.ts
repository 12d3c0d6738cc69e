/** Shares as they come out of the real dispatcher and database, on nodes that take their time on a clock of the test's own. */
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { Dispatcher } from '../../coordinator/scheduling/dispatcher.ts';
import { publishQueued } from '../../coordinator/scheduling/publish-queued.ts';
import type { JobId, NodeId } from '../../protocol/ids.ts';
import {
  ENGINE,
  type TestCoordinator,
  type TestNode,
  testCoordinator,
} from '../support/coordinator-context.ts';
import { completeTask, completionOf } from './delivery.ts';

vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });

let farm: TestCoordinator;
beforeAll(async () => {
  farm = await testCoordinator();
});
afterAll(() => farm[Symbol.asyncDispose]());
beforeEach(async () => {
  await farm.db.updateTable('jobs').set({ state: 'cancelled' }).execute();
});

type Done = { job: JobId; ms: number };

/** Nodes render until `enough`; returns what they did, in order. `lasts`: what a task of a job takes. */
async function play(
  nodes: readonly TestNode[],
  lasts: (job: JobId) => number,
  enough: (done: readonly Done[]) => boolean,
  mostAtOnce: (busy: ReadonlyMap<NodeId, JobId>) => void = () => undefined,
): Promise<Done[]> {
  let taken = true;
  const dispatcher = new Dispatcher(farm.context, () => {
    taken = true;
  });
  await dispatcher.start();
  farm.queue.onPublish = async (pointer) => farm.queue.deliver(pointer);
  const stopping = new AbortController();
  const done: Done[] = [];
  const busy = new Map<NodeId, { atMs: number; finish: () => Promise<void>; job: JobId }>();
  const ask = async (node: TestNode): Promise<void> => {
    const known = { ...node, engines: [ENGINE] };
    const { run } = await dispatcher.lease(known, undefined, stopping.signal);
    const [leased] = run?.tasks ?? [];
    if (run === null || leased === undefined) return;
    const ms = lasts(run.jobId);
    const finish = async (): Promise<void> => {
      const completion = {
        ...(await completionOf(farm, node, await farm.task(leased.taskId))),
        renderMs: ms,
      };
      expect((await completeTask(farm.context, node.id, completion)).moved).toBeNull();
      done.push({ job: run.jobId, ms });
    };
    busy.set(node.id, { atMs: farm.clock.now() + ms, finish, job: run.jobId });
    mostAtOnce(new Map([...busy].map(([id, { job }]) => [id, job])));
  };
  await publishQueued(farm.db, farm.queue);
  const waiting = new Map(nodes.map((node) => [node.id, ask(node)]));
  for (;;) {
    if (taken) {
      taken = false;
      await publishQueued(farm.db, farm.queue);
    }
    // Who got something has its answer before the clock goes on.
    await dispatcher.idle();
    await Promise.all(
      [...waiting].filter(([id]) => !dispatcher.waiting.includes(id)).map(([, asked]) => asked),
    );
    const next = [...busy].sort(([, a], [, b]) => a.atMs - b.atMs)[0];
    if (next === undefined) throw new Error('nobody has anything to do');
    const [id, { atMs, finish }] = next;
    farm.clock.advance(Math.max(0, atMs - farm.clock.now()));
    await finish();
    busy.delete(id);
    if (enough(done)) break;
    const node = nodes.find((one) => one.id === id);
    if (node !== undefined && !dispatcher.waiting.includes(id)) waiting.set(id, ask(node));
    dispatcher.wake();
  }
  stopping.abort();
  farm.queue.onPublish = async () => undefined;
  return done;
}

function shareOf(done: readonly Done[], job: JobId): number {
  const all = done.reduce((sum, { ms }) => sum + ms, 0);
  return done.filter((one) => one.job === job).reduce((sum, { ms }) => sum + ms, 0) / all;
}

const framesTo = (count: number): number[] => Array.from({ length: count }, (_, index) => index + 1);

async function nodes(count: number): Promise<TestNode[]> {
  const made: TestNode[] = [];
  for (let index = 0; index < count; index++) made.push(await farm.addNode());
  return made;
}

describe('the dispatcher, over some time', () => {
  it('gives a job of priority 80 four times the nodes of one of 20, whose tasks are longer', async () => {
    const high = await farm.addJob({ frames: framesTo(200), whole: true, exr: false, priority: 80 });
    const low = await farm.addJob({ frames: framesTo(100), whole: true, exr: false, priority: 20 });
    const lasts = (job: JobId): number => (job === high.id ? 1_000 : 3_000);
    const done = await play(await nodes(10), lasts, ({ length }) => length === 160);
    // 4:1 within 10 %.
    expect(Math.abs(shareOf(done, high.id) / shareOf(done, low.id) - 4)).toBeLessThan(0.4);
  });

  it('gives each of two accounts half, though one has a hundred times the tasks', async () => {
    const many = await farm.addJob({ frames: framesTo(5_000), whole: true, exr: false, account: 'many' });
    const few = await farm.addJob({ frames: framesTo(50), whole: true, exr: false, account: 'few' });
    const isFew = ({ job }: Done): boolean => job === few.id;
    const done = await play(
      await nodes(8),
      () => 1_000,
      (all) => all.filter(isFew).length === 48,
    );
    expect(Math.abs(shareOf(done, few.id) - 0.5)).toBeLessThan(0.025);
    expect(Math.abs(shareOf(done, many.id) - 0.5)).toBeLessThan(0.025);
  });

  it('keeps to the nodes that a job and an account may have at once', async () => {
    const limited = await farm.addJob({
      frames: framesTo(40),
      whole: true,
      exr: false,
      priority: 100,
      maxNodes: 2,
    });
    const other = await farm.addJob({ frames: framesTo(40), whole: true, exr: false, account: 'small' });
    await farm.db.insertInto('accounts').values({ name: 'small', max_nodes: 3 }).execute();
    const most = new Map<JobId, number>();
    await play(
      await nodes(7),
      () => 1_000,
      ({ length }) => length === 30,
      (busy) => {
        for (const id of [limited.id, other.id]) {
          const now = [...busy.values()].filter((job) => job === id).length;
          most.set(id, Math.max(now, most.get(id) ?? 0));
        }
      },
    );
    expect(most.get(limited.id)).toBe(2);
    expect(most.get(other.id)).toBe(3);
  });
});
