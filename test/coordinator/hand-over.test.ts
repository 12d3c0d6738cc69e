import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { endJob } from '../../coordinator/scheduling/end-job.ts';
import { applyOutcome } from '../../coordinator/settlement/apply-outcome.ts';
import { closeBatches } from '../../coordinator/settlement/open-batch.ts';
import { drawnReceipts } from '../../coordinator/verification/build-challenge.ts';
import { graceHandOvers, HandOver } from '../../coordinator/verification/hand-over.ts';
import { digestBytes } from '../../platform/blobs/digest-file.ts';
import { RECEIPTS_PER_CHALLENGE } from '../../proof/policy.ts';
import { receiptLeaf } from '../../proof/receipts.ts';
import type { Digest, JobId } from '../../protocol/ids.ts';
import { KEPT_ANSWER_MS } from '../../protocol/messages.ts';
import {
  type BatchRow,
  someBytes32,
  type TaskRow,
  type TestCoordinator,
  type TestJob,
  type TestNode,
  testCoordinator,
} from '../support/coordinator-context.ts';
import {
  batchFor,
  completeTask,
  completionOf,
  deliver,
  ended,
  exrOf,
  leaseTo,
  signBatch,
} from './delivery.ts';

vi.setConfig({ testTimeout: 60_000, hookTimeout: 120_000 });

/** Ends a question at once: what is there now is the answer. */
const now = AbortSignal.abort();
const never = new AbortController().signal;
const NOTHING = { wanted: [], settled: [] };
const FRAMES = RECEIPTS_PER_CHALLENGE + 2;

let farm: TestCoordinator;
let handOver: HandOver;
let arrivals = 0;
beforeAll(async () => {
  farm = await testCoordinator();
  handOver = new HandOver(farm.context, () => arrivals++);
});
afterAll(() => farm[Symbol.asyncDispose]());

type Delivered = { node: TestNode; job: TestJob; kept: Digest[] };

/** Whole frames, delivered by one node in one batch; their EXRs are with the node. */
async function delivered(count = FRAMES): Promise<Delivered> {
  const node = await farm.addNode();
  const frames = Array.from({ length: count }, (_, index) => index + 1);
  const job = await farm.addJob({ frames, whole: true, exr: false });
  await deliver(farm, node, job.wholes);
  return { node, job, kept: job.wholes.map((task) => digestBytes(exrOf(node, task))) };
}

async function close(id: JobId): Promise<BatchRow> {
  await closeBatches(farm.db, new Date(farm.clock.now()), 1_000);
  expect((await farm.batchOf(id)).state).toBe('closed');
  return await farm.batchOf(id);
}

async function draw(id: JobId): Promise<{ batch: BatchRow; drawn: Digest[] }> {
  await close(id);
  await farm.db
    .updateTable('batches')
    .set({ state: 'drawn', seed: someBytes32(), drawn_at: new Date(farm.clock.now()) })
    .where('job_id', '=', id)
    .execute();
  const batch = await farm.batchOf(id);
  const receipts = await drawnReceipts(farm.context, batch);
  return { batch, drawn: receipts.map(({ receipt }) => receipt.exrDigest) };
}

/** The node sends the EXR of a digest. */
async function send({ node, job, kept }: Delivered, digest: Digest): Promise<void> {
  const task = job.wholes[kept.indexOf(digest)] as TaskRow;
  expect(await farm.context.blobs.putBytes(exrOf(node, task))).toBe(digest);
}

describe('a kept EXR', () => {
  it('is wanted only once its batch is drawn, and only if the draw hits it', async () => {
    const { node, job, kept } = await delivered();
    expect(await handOver.answer(node.id, kept, now)).toEqual(NOTHING);
    await close(job.id);
    expect(await handOver.answer(node.id, kept, now)).toEqual(NOTHING);
    const { drawn } = await draw(job.id);
    expect(drawn).toHaveLength(RECEIPTS_PER_CHALLENGE);
    expect(await handOver.answer(node.id, kept, now)).toEqual({ wanted: drawn, settled: [] });
  });

  it('is wanted of the node that made it and of no other', async () => {
    const { job, kept } = await delivered();
    await draw(job.id);
    const other = await farm.addNode();
    // To this node they are files that nobody knows.
    expect(await handOver.answer(other.id, kept, now)).toEqual({ wanted: [], settled: kept });
  });

  it('is wanted also where the question was asked before the node had it', async () => {
    const { node, job } = await delivered();
    const { drawn } = await draw(job.id);
    expect(await handOver.answer(node.id, [], now)).toEqual({ wanted: drawn, settled: [] });
  });

  it('is not wanted any more once it has come', async () => {
    const made = await delivered();
    const { drawn } = await draw(made.job.id);
    const [first, ...others] = drawn as [Digest, ...Digest[]];
    await send(made, first);
    expect((await handOver.answer(made.node.id, made.kept, now)).wanted).toEqual(others);
    for (const digest of others) await send(made, digest);
    expect(await handOver.answer(made.node.id, made.kept, now)).toEqual(NOTHING);
  });

  it.each(['pass', 'fail', 'inconclusive'] as const)(
    'can go after the verdict %s, and not before',
    async (outcome) => {
      const { node, job, kept } = await delivered();
      const { batch } = await draw(job.id);
      expect((await handOver.answer(node.id, kept, now)).settled).toEqual([]);
      await farm.db
        .updateTable('batches')
        .set({ state: 'judged', outcome })
        .where('id', '=', batch.id)
        .execute();
      expect(await handOver.answer(node.id, kept, now)).toEqual(NOTHING);
      await applyOutcome(farm.context, batch, ended(outcome));
      expect(await handOver.answer(node.id, kept, now)).toEqual({ wanted: [], settled: kept });
    },
  );

  it('of a cancelled job stays until its batch is settled, since it is checked and paid', async () => {
    const { node, job, kept } = await delivered();
    await farm.db.transaction().execute((tx) => endJob(farm.context, tx, job.id, 'cancelled', 'not needed'));
    const { batch, drawn } = await draw(job.id);
    expect(await handOver.answer(node.id, kept, now)).toEqual({ wanted: drawn, settled: [] });
    await applyOutcome(farm.context, batch, ended('pass'));
    expect((await handOver.answer(node.id, kept, now)).settled).toEqual(kept);
  });

  it('whose task was cancelled before it was delivered can go', async () => {
    const node = await farm.addNode();
    const job = await farm.addJob({ whole: true, exr: false });
    const task = await leaseTo(farm, node, job.wholes[0] as TaskRow);
    await farm.db.transaction().execute((tx) => endJob(farm.context, tx, job.id, 'cancelled', 'not needed'));
    const kept = [digestBytes(exrOf(node, task))];
    expect((await handOver.answer(node.id, kept, now)).settled).toEqual(kept);
  });
});

describe('a node that waits', () => {
  it('is answered by the next wake after something was drawn, and not by a wake for nothing', async () => {
    const { node, job, kept } = await delivered();
    let answered = false;
    const answer = handOver.answer(node.id, kept, never).then((reply) => {
      answered = true;
      return reply;
    });
    handOver.wake();
    // Another whole question and answer: long enough for the first one to have looked.
    await handOver.answer(node.id, kept, now);
    expect(answered).toBe(false);
    const { drawn } = await draw(job.id);
    handOver.wake();
    expect((await answer).wanted).toEqual(drawn);
  });

  it('is let go when the coordinator stops', async () => {
    const { node, kept } = await delivered(1);
    const stopping = new AbortController();
    const answer = handOver.answer(node.id, kept, stopping.signal);
    stopping.abort();
    expect(await answer).toEqual(NOTHING);
  });
});

describe('a hand-over', () => {
  it('is over when everything drawn has come', async () => {
    const made = await delivered();
    const { batch, drawn } = await draw(made.job.id);
    for (const digest of drawn) {
      expect(await handOver.isOver(batch)).toBe(false);
      await send(made, digest);
    }
    expect(await handOver.isOver(batch)).toBe(true);
  });

  it('is told of when the node asks again, which it does once it has delivered', async () => {
    const { node, kept } = await delivered(1);
    const before = arrivals;
    await handOver.answer(node.id, kept, now);
    expect(arrivals).toBe(before + 1);
  });

  it('is over when the node has had its time, and not a moment before', async () => {
    const { job } = await delivered();
    const { batch } = await draw(job.id);
    farm.clock.advance(farm.context.config.handOverMs);
    expect(await handOver.isOver(batch)).toBe(false);
    farm.clock.advance(1);
    expect(await handOver.isOver(batch)).toBe(true);
  });

  it('has its full time again after the coordinator was away', async () => {
    const { job } = await delivered();
    await draw(job.id);
    farm.clock.advance(farm.context.config.handOverMs + 1);
    await graceHandOvers(farm.context);
    expect(await handOver.isOver(await farm.batchOf(job.id))).toBe(false);
    farm.clock.advance(farm.context.config.handOverMs + 1);
    expect(await handOver.isOver(await farm.batchOf(job.id))).toBe(true);
  });

  it('begins, after a start, when a node that had asked before can have asked again', async () => {
    const { job } = await delivered();
    await draw(job.id);
    const restarted = new HandOver(farm.context, () => undefined, await graceHandOvers(farm.context));
    farm.clock.advance(KEPT_ANSWER_MS + farm.context.config.handOverMs);
    expect(await restarted.isOver(await farm.batchOf(job.id))).toBe(false);
    farm.clock.advance(1);
    expect(await restarted.isOver(await farm.batchOf(job.id))).toBe(true);
  });

  it('is nothing that tiles wait for', async () => {
    const node = await farm.addNode();
    const job = await farm.addJob();
    await deliver(farm, node, job.tiles);
    const { batch } = await draw(job.id);
    expect(await handOver.isOver(batch)).toBe(true);
  });
});

describe('delivering a whole frame', () => {
  async function leased(exr: boolean) {
    const node = await farm.addNode();
    const job = await farm.addJob({ whole: true, exr });
    const task = await leaseTo(farm, node, job.wholes[0] as TaskRow);
    return { node, job, task, message: await completionOf(farm, node, task) };
  }

  it('is taken without its EXR', async () => {
    const { node, task, message } = await leased(false);
    expect(await farm.context.blobs.has(message.receipt.exrDigest)).toBe(false);
    expect(await completeTask(farm.context, node.id, message)).toMatchObject({ moved: null });
    expect((await farm.task(task.id)).state).toBe('delivered');
  });

  it('is refused without its EXR where the artist asked for EXRs, and taken with it', async () => {
    const { node, task, message } = await leased(true);
    await expect(completeTask(farm.context, node.id, message)).rejects.toMatchObject({
      code: 'MESSAGE_INVALID',
      message: `the result ${message.receipt.exrDigest} was not delivered`,
    });
    expect((await farm.task(task.id)).state).toBe('leased');
    await farm.context.blobs.putBytes(exrOf(node, task));
    expect(await completeTask(farm.context, node.id, message)).toMatchObject({ moved: null });
  });

  it.each([
    ['that was not sent', digestBytes(Buffer.from('no such picture')), /was not delivered/],
    ['that the receipt does not name', null, /picture given is false/],
  ])('is refused without a picture: one %s', async (_what, pictureDigest, reason) => {
    const { node, task, message } = await leased(false);
    const receipt = { ...message.receipt, pictureDigest };
    const batch = await batchFor(farm, node, task);
    const signed = signBatch(farm, node.key, task.job_id, batch, receiptLeaf(receipt), receipt.price);
    await expect(
      completeTask(farm.context, node.id, { ...message, receipt, batch: signed }),
    ).rejects.toMatchObject({ code: 'MESSAGE_INVALID', message: expect.stringMatching(reason) });
    expect((await farm.task(task.id)).state).toBe('leased');
  });
});
