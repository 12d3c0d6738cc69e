import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { closeBatches } from '../../coordinator/settlement/open-batch.ts';
import { HandOver } from '../../coordinator/verification/hand-over.ts';
import { VerifierDesk } from '../../coordinator/verification/verifier-desk.ts';
import { batchKey } from '../../platform/chain/keys.ts';
import { addressOf, escrowDomain, newPrivateKey, signVerdict } from '../../platform/chain/signing.ts';
import { toJson } from '../../platform/json.ts';
import { type Bytes32, bytes32Schema, digestSchema, verifierIdSchema } from '../../protocol/ids.ts';
import type { NextWork } from '../../protocol/messages.ts';
import type { Evidence, Outcome, Verdict } from '../../protocol/verdict.ts';
import {
  type BatchRow,
  DEVICE_CLASS,
  ENGINE,
  SCENE,
  someBytes32,
  type TaskRow,
  type TestCoordinator,
  type TestJob,
  testCoordinator,
} from '../support/coordinator-context.ts';
import { deliver, exrOf } from './delivery.ts';

vi.setConfig({ testTimeout: 30_000, hookTimeout: 120_000 });

const verifier = verifierIdSchema.parse('verifier');
const key = newPrivateKey();
let farm: TestCoordinator;
let desk: VerifierDesk;
let handOver: HandOver;
/** Wired as the coordinator does it. */
function makeDesk(): void {
  handOver = new HandOver(farm.context, () => desk.wake());
  desk = new VerifierDesk(farm.context, handOver, () => undefined);
}
beforeAll(async () => {
  farm = await testCoordinator();
  farm.context.config.verifierAddress = addressOf(key);
  makeDesk();
});
afterAll(() => farm[Symbol.asyncDispose]());

/** A batch whose seed is drawn. */
async function drawn(): Promise<BatchRow> {
  const node = await farm.addNode();
  const job = await farm.addJob();
  await deliver(farm, node, job.tiles);
  return await draw(job);
}

/** A drawn batch with one whole frame whose EXR is still with its node; `arrive` is what the node does about it. */
async function drawnFrame(): Promise<{ batch: BatchRow; arrive: () => Promise<void> }> {
  const node = await farm.addNode();
  const job = await farm.addJob({ whole: true, exr: false });
  await deliver(farm, node, job.wholes);
  const exr = exrOf(node, job.wholes[0] as TaskRow);
  return {
    batch: await draw(job),
    arrive: async () => {
      await farm.context.blobs.putBytes(exr);
      await handOver.answer(node.id, [], AbortSignal.abort());
    },
  };
}

async function draw(job: TestJob): Promise<BatchRow> {
  await closeBatches(farm.db, new Date(farm.clock.now()), 1_000);
  await farm.db
    .updateTable('batches')
    .set({ state: 'drawn', seed: someBytes32(), drawn_at: new Date(farm.clock.now()) })
    .where('job_id', '=', job.id)
    .execute();
  return await farm.batchOf(job.id);
}

async function verdictOn(batch: BatchRow, changes: Partial<Evidence> = {}, signer = key): Promise<Verdict> {
  const evidence: Evidence = {
    version: 2,
    batchId: batch.id,
    jobId: batch.job_id,
    scene: SCENE,
    precision: 'float',
    thresholds: 'sameClass',
    seed: batch.seed as Bytes32,
    root: batch.root as Bytes32,
    outcome: 'pass',
    engine: ENGINE,
    deviceClass: DEVICE_CLASS,
    comparisons: [],
    ...changes,
  };
  const digest = await farm.context.blobs.putBytes(Buffer.from(toJson(evidence)));
  const outcome: Outcome = 'pass';
  const { chainId, escrowAddress } = farm.context.chain;
  const terms = { batchKey: batchKey(batch.id), outcome, evidence: bytes32Schema.parse(`0x${digest}`) };
  return {
    batchId: batch.id,
    outcome,
    evidence: digest,
    signature: signVerdict(escrowDomain(chainId, escrowAddress), terms, signer),
  };
}

const commit = (batch: BatchRow, digit = '1') =>
  desk.rendered(batch.id, [digestSchema.parse(digit.repeat(64))]);

describe('a verdict', () => {
  it('is taken after the commitment to own pixels, and noted with its evidence', async () => {
    const batch = await drawn();
    expect((await commit(batch)).receipts).toHaveLength(2);
    const verdict = await verdictOn(batch);
    await desk.verdict(verifier, verdict);
    expect(await farm.batchOf(batch.job_id)).toMatchObject({
      state: 'judged',
      outcome: 'pass',
      evidence: verdict.evidence,
      verdict_signature: verdict.signature,
    });
  });

  it('is refused before that commitment', async () => {
    const batch = await drawn();
    await expect(desk.verdict(verifier, await verdictOn(batch))).rejects.toMatchObject({
      code: 'MESSAGE_INVALID',
    });
    expect((await farm.batchOf(batch.job_id)).state).toBe('drawn');
  });

  it('stands on the first commitment, which cannot be changed after the claim was shown', async () => {
    const batch = await drawn();
    await commit(batch, '1');
    await commit(batch, '2');
    expect((await farm.batchOf(batch.job_id)).crop_digests).toEqual(['1'.repeat(64)]);
  });

  it('cannot be prepared before the hand-over is over: no claim is shown and no commitment taken', async () => {
    const { batch, arrive } = await drawnFrame();
    await expect(commit(batch)).rejects.toMatchObject({ code: 'MESSAGE_INVALID' });
    expect((await farm.batchOf(batch.job_id)).crop_digests).toBeNull();
    await arrive();
    expect((await commit(batch)).receipts).toHaveLength(1);
  });

  it('of somebody else is refused', async () => {
    const batch = await drawn();
    await commit(batch);
    const forged = await verdictOn(batch, {}, newPrivateKey());
    await expect(desk.verdict(verifier, forged)).rejects.toMatchObject({ code: 'UNAUTHORIZED' });
  });

  it.each<[string, Partial<Evidence>]>([
    ['another seed', { seed: someBytes32() }],
    ['another root', { root: someBytes32() }],
    ['another outcome', { outcome: 'fail' }],
  ])('whose evidence speaks of %s is refused', async (_what, changes) => {
    const batch = await drawn();
    await commit(batch);
    await expect(desk.verdict(verifier, await verdictOn(batch, changes))).rejects.toMatchObject({
      code: 'MESSAGE_INVALID',
    });
    expect((await farm.batchOf(batch.job_id)).state).toBe('drawn');
  });

  it('on a seed that the chain drew anew while the evidence was read counts for nothing', async () => {
    const batch = await drawn();
    await commit(batch);
    const verdict = await verdictOn(batch);
    const size = vi.spyOn(farm.context.blobs, 'size').mockImplementationOnce(async (digest) => {
      await farm.db
        .updateTable('batches')
        .set({ seed: someBytes32(), crop_digests: null })
        .where('id', '=', batch.id)
        .execute();
      size.mockRestore();
      return await farm.context.blobs.size(digest);
    });
    await desk.verdict(verifier, verdict).catch(() => undefined);
    expect((await farm.batchOf(batch.job_id)).state).toBe('drawn');
    const judged = (await farm.eventsOf(batch.job_id)).filter((event) => event.type === 'batch.judged');
    expect(judged).toEqual([]);
  });
});

describe('what a verifier is given', () => {
  const stopping = new AbortController();
  const another = verifierIdSchema.parse('another');
  /** Asks and goes away at once when there is nothing. */
  async function askOnce(from: typeof verifier): Promise<NextWork> {
    const leaving = new AbortController();
    const found = desk.next(from, leaving.signal);
    // The desk has looked before this: a question to the same database that was asked later.
    await farm.db.selectFrom('batches').select('id').execute();
    leaving.abort();
    return await found;
  }
  const challengeOn = (batch: BatchRow) => ({ kind: 'challenge', challenge: { batchId: batch.id } });
  const NOTHING = { kind: 'none' };

  beforeEach(async () => {
    makeDesk();
    await farm.db.updateTable('batches').set({ state: 'settled' }).execute();
  });

  it('is one challenge, and nobody else gets it meanwhile', async () => {
    const batch = await drawn();
    expect(await desk.next(verifier, stopping.signal)).toMatchObject(challengeOn(batch));
    expect(await askOnce(another)).toEqual(NOTHING);
  });

  it('is the same challenge again at once when it was restarted and asks', async () => {
    const batch = await drawn();
    expect(await desk.next(verifier, stopping.signal)).toMatchObject(challengeOn(batch));
    expect(await desk.next(verifier, stopping.signal)).toMatchObject(challengeOn(batch));
  });

  it('is another challenge when a second verifier asks, and a restart of one frees only its own', async () => {
    const [first, second] = [await drawn(), await drawn()];
    expect(await desk.next(verifier, stopping.signal)).toMatchObject(challengeOn(first));
    expect(await desk.next(another, stopping.signal)).toMatchObject(challengeOn(second));
    expect(await desk.next(verifier, stopping.signal)).toMatchObject(challengeOn(first));
    expect(await desk.next(another, stopping.signal)).toMatchObject(challengeOn(second));
  });

  it('is nothing for an older question once it asks again', async () => {
    const older = desk.next(verifier, stopping.signal);
    const leaving = new AbortController();
    const newer = desk.next(verifier, leaving.signal);
    expect(await older).toEqual(NOTHING);
    leaving.abort();
    expect(await newer).toEqual(NOTHING);
  });

  it('leaves another verifier’s question open when it asks again', async () => {
    const theirs = desk.next(another, stopping.signal);
    await askOnce(verifier);
    await askOnce(verifier);
    const batch = await drawn();
    desk.wake();
    expect(await theirs).toMatchObject(challengeOn(batch));
  });

  it('rests two seconds after it failed, also for the one that asks again', async () => {
    const batch = await drawn();
    await desk.next(verifier, stopping.signal);
    desk.failed(verifier, batch.id, 'Blender crashed');
    expect(await askOnce(verifier)).toEqual(NOTHING);
    farm.clock.advance(2_000);
    expect(await desk.next(verifier, stopping.signal)).toMatchObject(challengeOn(batch));
  });

  it('is free for others ten minutes after the last that was heard', async () => {
    const batch = await drawn();
    await desk.next(verifier, stopping.signal);
    farm.clock.advance(10 * 60_000 - 1);
    expect(await askOnce(another)).toEqual(NOTHING);
    farm.clock.advance(1);
    expect(await desk.next(another, stopping.signal)).toMatchObject(challengeOn(batch));
  });

  it('is not what a node still has to hand over; what lies behind it comes first', async () => {
    const { batch, arrive } = await drawnFrame();
    const behind = await drawn();
    expect(await desk.next(verifier, stopping.signal)).toMatchObject(challengeOn(behind));
    await desk.verdict(verifier, await commit(behind).then(() => verdictOn(behind)));
    const waiting = desk.next(verifier, stopping.signal);
    await arrive();
    expect(await waiting).toMatchObject(challengeOn(batch));
  });

  it('is what a node has not handed over in its time, for then that is the finding', async () => {
    const { batch } = await drawnFrame();
    farm.clock.advance(farm.context.config.handOverMs);
    expect(await askOnce(verifier)).toEqual(NOTHING);
    farm.clock.advance(1);
    expect(await desk.next(verifier, stopping.signal)).toMatchObject(challengeOn(batch));
  });

  it('is given to one of two verifiers that ask in the same moment', async () => {
    const { arrive } = await drawnFrame();
    await arrive();
    let asked = 0;
    let bothAsked = (): void => undefined;
    const gate = new Promise<void>((resolve) => {
      bothAsked = resolve;
    });
    vi.spyOn(handOver, 'isOver').mockImplementation(async () => {
      if (++asked === 2) bothAsked();
      await gate;
      return true;
    });
    const leaving = new AbortController();
    const answers = [verifier, another].map((from) => desk.next(from, leaving.signal));
    await Promise.race(answers);
    // Whoever else got it has it by now: the desk's own questions to this database were asked before these.
    for (let question = 0; question < 5; question++)
      await farm.db.selectFrom('batches').select('id').execute();
    leaving.abort();
    expect((await Promise.all(answers)).map((work) => work.kind).sort()).toEqual(['challenge', 'none']);
  });

  it('is a secret to reveal, one batch after the other, and the same one again after two seconds', async () => {
    const [first, second] = [await drawn(), await drawn()];
    await farm.db
      .updateTable('batches')
      .set({ state: 'committed', seed: null })
      .where('id', 'in', [first.id, second.id])
      .execute();
    const secretOf = (batch: BatchRow) => ({ kind: 'secret', batchId: batch.id });
    expect(await desk.next(verifier, stopping.signal)).toEqual(secretOf(first));
    expect(await desk.next(verifier, stopping.signal)).toEqual(secretOf(second));
    expect(await askOnce(verifier)).toEqual(NOTHING);
    farm.clock.advance(2_000);
    expect(await desk.next(verifier, stopping.signal)).toEqual(secretOf(first));
  });
});
