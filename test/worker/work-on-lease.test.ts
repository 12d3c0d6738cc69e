import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { endJob } from '../../coordinator/scheduling/end-job.ts';
import { applyOutcome, UNJUDGED } from '../../coordinator/settlement/apply-outcome.ts';
import { closeBatches } from '../../coordinator/settlement/open-batch.ts';
import { receiptOf } from '../../coordinator/settlement/receipts.ts';
import { FarmError } from '../../protocol/errors.ts';
import type { JobId } from '../../protocol/ids.ts';
import type { LeaseGrant } from '../../protocol/messages.ts';
import { workOn } from '../../worker/work-on-lease.ts';
import { tempFolder } from '../platform/temp-folder.ts';
import { type TaskRow, type TestCoordinator, testCoordinator } from '../support/coordinator-context.ts';
import { type FakeNode, fakeNode } from './fake-node.ts';

vi.setConfig({ testTimeout: 60_000, hookTimeout: 120_000 });

const never = new AbortController().signal;
let farm: TestCoordinator;
let folder: Awaited<ReturnType<typeof tempFolder>>;
let fake: FakeNode;
beforeAll(async () => {
  farm = await testCoordinator();
});
afterAll(() => farm[Symbol.asyncDispose]());
beforeEach(async () => {
  folder = await tempFolder();
  fake = await fakeNode(farm, folder.path);
});
afterEach(() => folder[Symbol.asyncDispose]());

const frames = (count: number) =>
  farm.addJob({ frames: Array.from({ length: count }, (_, index) => index + 1), whole: true, exr: false });
const work = (grant: LeaseGrant, signal = never) => workOn(fake.node, grant, () => undefined, signal);
const completions = () => fake.asked.filter((verb) => verb === 'complete').length;
const cancel = (id: JobId) =>
  farm.db.transaction().execute((tx) => endJob(farm.context, tx, id, 'cancelled', 'not needed'));

/** The states of the tasks, and which batches they are in. */
async function statesOf(tasks: readonly TaskRow[]) {
  const rows = await Promise.all(tasks.map((task) => farm.task(task.id)));
  return { states: rows.map((row) => row.state), batches: new Set(rows.map((row) => row.batch_id)).size };
}

describe('receipts of one batch', () => {
  it('are signed one on top of the other without asking, although all leases are from before', async () => {
    const job = await frames(3);
    const grants = [];
    for (const task of job.wholes) grants.push(await fake.grant(task));
    expect(grants.map((grant) => grant.batch.leaves)).toEqual([[], [], []]);
    for (const grant of grants) await work(grant);
    expect(await statesOf(job.wholes)).toEqual({
      states: ['delivered', 'delivered', 'delivered'],
      batches: 1,
    });
    expect(completions()).toBe(3);
  });

  it('of tasks that are done side by side are handed in together, under one signature', async () => {
    const job = await frames(3);
    const grants = [];
    for (const task of job.wholes) grants.push(await fake.grant(task));
    await Promise.all(grants.map((grant) => work(grant)));
    expect(await statesOf(job.wholes)).toMatchObject({ batches: 1 });
    expect(completions()).toBe(1);
    expect(fake.renderer.opened).toBe(1);
  });

  it('go to the next batch when theirs was closed: the answer says which, and it is signed for', async () => {
    const job = await frames(2);
    const [first, second] = [
      await fake.grant(job.wholes[0] as TaskRow),
      await fake.grant(job.wholes[1] as TaskRow),
    ];
    await work(first);
    await farm.db.updateTable('batches').set({ state: 'closed' }).where('job_id', '=', job.id).execute();
    await work(second);
    expect(await statesOf(job.wholes)).toEqual({ states: ['delivered', 'delivered'], batches: 2 });
    expect(completions()).toBe(3);
  });

  it('do not wedge the node when a batch is settled without a verdict and its task comes back', async () => {
    const job = await frames(1);
    const task = job.wholes[0] as TaskRow;
    await work(await fake.grant(task));
    await closeBatches(farm.db, new Date(farm.clock.now()), 1_000);
    await applyOutcome(farm.context, await farm.batchOf(job.id), UNJUDGED);
    expect((await farm.task(task.id)).state).toBe('queued');
    await work(await fake.grant(task));
    const failures = await farm.db
      .selectFrom('task_failures')
      .select('message')
      .where('task_id', '=', task.id)
      .execute();
    expect(failures).toEqual([]);
    expect((await farm.task(task.id)).state).toBe('delivered');
  });

  it('are not lost when the node has forgotten the batch', async () => {
    const job = await frames(2);
    const [first, second] = [
      await fake.grant(job.wholes[0] as TaskRow),
      await fake.grant(job.wholes[1] as TaskRow),
    ];
    await work(first);
    await fake.restart();
    await work(second);
    expect(await statesOf(job.wholes)).toEqual({ states: ['delivered', 'delivered'], batches: 1 });
    expect(completions()).toBe(3);
  });
});

describe('a coordinator that goes away while a frame is delivered', () => {
  it('gets it again once it is back', async () => {
    let away = 2;
    fake.setNetwork((verb) => (verb === 'complete' && away-- > 0 ? 'drop' : 'pass'));
    const job = await frames(1);
    await work(await fake.grant(job.wholes[0] as TaskRow));
    expect((await statesOf(job.wholes)).states).toEqual(['delivered']);
    expect(fake.asked).not.toContain('fail');
  });

  it('may have taken it although its answer was lost: the EXR is still there to be handed over', async () => {
    let lost = 1;
    fake.setNetwork((verb) => (verb === 'complete' && lost-- > 0 ? 'lose' : 'pass'));
    const job = await frames(2);
    const [first, second] = [
      await fake.grant(job.wholes[0] as TaskRow),
      await fake.grant(job.wholes[1] as TaskRow),
    ];
    await work(first);
    const row = await farm.task(first.taskId);
    expect(row.state).toBe('delivered');
    const { exrDigest } = receiptOf(row);
    expect(fake.node.kept.confirmed(10)).toEqual([exrDigest]);
    await work(second);
    expect(await statesOf(job.wholes)).toEqual({ states: ['delivered', 'delivered'], batches: 1 });
    expect(fake.asked).not.toContain('fail');
  });
});

describe('a farm whose disk is full', () => {
  it('is waited for: it is no fault of the node, which keeps what it has rendered', async () => {
    const refused = new FarmError('DISK_FULL', 'no space left');
    const sending = vi.spyOn(fake.node.blobs, 'putFile').mockRejectedValueOnce(refused);
    const job = await frames(1);
    await work(await fake.grant(job.wholes[0] as TaskRow));
    expect(sending).toHaveBeenCalledTimes(2);
    expect((await statesOf(job.wholes)).states).toEqual(['delivered']);
    expect(fake.asked).not.toContain('fail');
    expect(fake.renderer.begun).toHaveLength(1);
  });
});

/** Resolves once the renderer has begun this frame; the frame itself waits until `go` is called. */
function heldFrame(held: number): { begun: Promise<void>; go: () => void } {
  let [begin, go]: (() => void)[] = [];
  const begun = new Promise<void>((resolve) => {
    begin = resolve;
  });
  const going = new Promise<void>((resolve) => {
    go = resolve;
  });
  fake.renderer.hold = async (frame) => {
    if (frame !== held) return;
    begin?.();
    await going;
  };
  return { begun, go: () => go?.() };
}

describe('two tasks in flight', () => {
  it('one is cancelled while it renders: the other gets a new renderer and is delivered', async () => {
    const doomed = await farm.addJob({ frames: [1], whole: true, exr: false });
    const fine = await farm.addJob({ frames: [2], whole: true, exr: false });
    const { begun } = heldFrame(1);
    const first = work(await fake.grant(doomed.wholes[0] as TaskRow));
    await begun;
    const second = work(await fake.grant(fine.wholes[0] as TaskRow));
    await cancel(doomed.id);
    await Promise.all([first, second]);
    expect((await statesOf(doomed.wholes)).states).toEqual(['dropped']);
    expect((await statesOf(fine.wholes)).states).toEqual(['delivered']);
    expect(fake.renderer.opened).toBe(2);
    expect(fake.asked).not.toContain('fail');
  });

  it('the one that waits is cancelled: the one that renders goes on in its renderer', async () => {
    const fine = await farm.addJob({ frames: [1], whole: true, exr: false });
    const doomed = await farm.addJob({ frames: [2], whole: true, exr: false });
    const { begun, go } = heldFrame(1);
    const first = work(await fake.grant(fine.wholes[0] as TaskRow));
    await begun;
    const second = work(await fake.grant(doomed.wholes[0] as TaskRow));
    await cancel(doomed.id);
    // The node hears of it with its next heartbeat. Each lease asks again when it was answered, in order: by the
    // sixth the cancelled one was.
    const heartbeats = fake.asked.length;
    await vi.waitUntil(() => fake.asked.length > heartbeats + 5, { timeout: 30_000 });
    go();
    await Promise.all([first, second]);
    expect((await statesOf(fine.wholes)).states).toEqual(['delivered']);
    expect(fake.renderer.opened).toBe(1);
    expect(fake.renderer.begun).not.toContain(2);
  });

  it('are both given back when the node is stopped, for the next node to have at once', async () => {
    const job = await frames(2);
    const { begun } = heldFrame(1);
    const stopping = new AbortController();
    const first = work(await fake.grant(job.wholes[0] as TaskRow), stopping.signal);
    await begun;
    const second = work(await fake.grant(job.wholes[1] as TaskRow), stopping.signal);
    stopping.abort();
    await Promise.all([first, second]);
    expect((await statesOf(job.wholes)).states).toEqual(['queued', 'queued']);
    const failures = await farm.db
      .selectFrom('task_failures')
      .select('failure_class')
      .where('node_id', '=', fake.node.config.nodeId)
      .execute();
    expect(failures.map((failure) => failure.failure_class)).toEqual(['infrastructure', 'infrastructure']);
    expect(fake.node.kept.confirmed(10)).toEqual([]);
  });
});
