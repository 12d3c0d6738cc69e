import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { closeBatches } from '../../coordinator/settlement/open-batch.ts';
import { HandOver } from '../../coordinator/verification/hand-over.ts';
import { VerifierDesk } from '../../coordinator/verification/verifier-desk.ts';
import { addressOf, escrowDomain, newPrivateKey, signVerdict } from '../../platform/chain/signing.ts';
import { toJson } from '../../platform/json.ts';
import {
  type Address,
  type Bytes32,
  bytes32Schema,
  digestSchema,
  verifierIdSchema,
} from '../../protocol/ids.ts';
import type { NextWork } from '../../protocol/messages.ts';
import type { Evidence, Verdict } from '../../protocol/verdict.ts';
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
const another = verifierIdSchema.parse('another');
const [key, anotherKey] = [newPrivateKey(), newPrivateKey()];
const [own, theirs] = [addressOf(key), addressOf(anotherKey)];
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
  farm.context.config.verifiers = [
    { id: verifier, address: own },
    { id: another, address: theirs },
  ];
  makeDesk();
});
afterAll(() => farm[Symbol.asyncDispose]());

/** A batch whose seed is drawn, and that one of the verifiers is asked about. */
async function drawn(asked: readonly Address[] = [own]): Promise<BatchRow> {
  const node = await farm.addNode();
  const job = await farm.addJob();
  await deliver(farm, node, job.tiles);
  return await draw(job, asked);
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

async function draw(job: TestJob, asked: readonly Address[] = [own]): Promise<BatchRow> {
  await closeBatches(farm.db, new Date(farm.clock.now()), 1_000);
  await farm.db
    .updateTable('batches')
    .set({
      ...{ state: 'drawn', seed: someBytes32(), drawn_at: new Date(farm.clock.now()) },
      asked: JSON.stringify(asked),
    })
    .where('job_id', '=', job.id)
    .execute();
  return await farm.batchOf(job.id);
}

async function verdictOn(
  batch: BatchRow,
  { signer = key, outcome = 'pass', ...changes }: Partial<Evidence> & { signer?: typeof key } = {},
): Promise<Verdict> {
  const seed = batch.seed as Bytes32;
  const evidence: Evidence = {
    ...{ version: 3, batchId: batch.id, batchKey: batch.chain_key as Bytes32, jobId: batch.job_id },
    ...{ scene: SCENE, precision: 'float', thresholds: 'sameClass', seed, root: batch.root as Bytes32 },
    ...{ outcome, engine: ENGINE, deviceClass: DEVICE_CLASS, comparisons: [] },
    ...changes,
  };
  const digest = await farm.context.blobs.putBytes(Buffer.from(toJson(evidence)));
  const { chainId, escrowAddress } = farm.context.chain;
  const batchKey = batch.chain_key as Bytes32;
  const terms = { batchKey, seed, outcome, evidence: bytes32Schema.parse(`0x${digest}`) };
  const signature = signVerdict(escrowDomain(chainId, escrowAddress), terms, signer);
  return { batchId: batch.id, seed, outcome, evidence: digest, signature };
}

const commit = (batch: BatchRow, digit = '1', from = verifier) =>
  desk.rendered(from, batch.id, batch.seed as Bytes32, [digestSchema.parse(digit.repeat(64))]);

const wordsOf = (batch: BatchRow) =>
  farm.db.selectFrom('verdicts').selectAll().where('batch_id', '=', batch.id).orderBy('seq').execute();

describe('a verdict', () => {
  it('is taken after the commitment to own pixels, and kept with its evidence', async () => {
    const batch = await drawn();
    expect((await commit(batch)).receipts).toHaveLength(2);
    const { outcome, evidence, signature, ...verdict } = await verdictOn(batch);
    await desk.verdict(verifier, { ...verdict, outcome, evidence, signature });
    expect(await wordsOf(batch)).toMatchObject([
      { verifier: own, verifier_id: verifier, role: 'first', seed: batch.seed, outcome, evidence, signature },
    ]);
    expect(await farm.eventsOf(batch.job_id)).toContainEqual(
      expect.objectContaining({ type: 'batch.attested', verifier, role: 'first', outcome }),
    );
  });

  it('is refused before that commitment', async () => {
    const batch = await drawn();
    await expect(desk.verdict(verifier, await verdictOn(batch))).rejects.toMatchObject({
      code: 'MESSAGE_INVALID',
    });
    expect(await wordsOf(batch)).toEqual([]);
  });

  it('stands on the first commitment, which cannot be changed after the claim was shown', async () => {
    const batch = await drawn();
    await commit(batch, '1');
    await commit(batch, '2');
    expect(await wordsOf(batch)).toMatchObject([{ crop_digests: ['1'.repeat(64)] }]);
  });

  it('is kept for each verifier, and each has committed to its own pixels', async () => {
    const batch = await drawn([own]);
    await commit(batch, '1');
    await desk.verdict(verifier, await verdictOn(batch, { outcome: 'fail' }));
    await farm.db
      .updateTable('batches')
      .set({ state: 'second', asked: JSON.stringify([theirs]) })
      .where('id', '=', batch.id)
      .execute();
    await expect(desk.verdict(another, await verdictOn(batch, { signer: anotherKey }))).rejects.toThrow(
      'before a commitment',
    );
    await commit(batch, '2', another);
    await desk.verdict(another, await verdictOn(batch, { signer: anotherKey }));
    expect(await wordsOf(batch)).toMatchObject([
      { verifier: own, role: 'first', outcome: 'fail', crop_digests: ['1'.repeat(64)] },
      { verifier: theirs, role: 'second', outcome: 'pass', crop_digests: ['2'.repeat(64)] },
    ]);
  });

  it('is one: the same again changes nothing, and another is refused', async () => {
    const batch = await drawn();
    await commit(batch);
    const verdict = await verdictOn(batch);
    await desk.verdict(verifier, verdict);
    await desk.verdict(verifier, verdict);
    await expect(desk.verdict(verifier, await verdictOn(batch, { outcome: 'fail' }))).rejects.toThrow(
      'has given its word',
    );
    expect(await wordsOf(batch)).toMatchObject([{ outcome: 'pass' }]);
    const told = (await farm.eventsOf(batch.job_id)).filter(({ type }) => type === 'batch.attested');
    expect(told).toHaveLength(1);
  });

  it('of a verifier that the chain does not ask is refused, and it is shown no claim', async () => {
    const batch = await drawn([theirs]);
    await expect(commit(batch)).rejects.toMatchObject({ code: 'MESSAGE_INVALID' });
    await expect(desk.verdict(verifier, await verdictOn(batch))).rejects.toMatchObject({
      code: 'MESSAGE_INVALID',
    });
    const stranger = verifierIdSchema.parse('stranger');
    await expect(commit(batch, '1', stranger)).rejects.toMatchObject({ code: 'UNAUTHORIZED' });
  });

  it('cannot be prepared before the hand-over is over: no claim is shown and no commitment taken', async () => {
    const { batch, arrive } = await drawnFrame();
    await expect(commit(batch)).rejects.toMatchObject({ code: 'MESSAGE_INVALID' });
    expect(await wordsOf(batch)).toEqual([]);
    await arrive();
    const claim = await commit(batch);
    expect(claim.receipts).toHaveLength(1);
    expect(claim.withheld).toEqual([]);
  });

  it('rests on what was there in time: an EXR that came later stays missing for every verifier', async () => {
    const { batch, arrive } = await drawnFrame();
    farm.clock.advance(farm.context.config.handOverMs + 1);
    const claim = await commit(batch);
    expect(claim.withheld).toEqual([claim.receipts[0]?.exrDigest]);
    await arrive();
    await farm.db
      .updateTable('batches')
      .set({ state: 'second', asked: JSON.stringify([theirs]) })
      .where('id', '=', batch.id)
      .execute();
    expect((await commit(batch, '2', another)).withheld).toEqual(claim.withheld);
  });

  it('signed by somebody else is refused', async () => {
    const batch = await drawn();
    await commit(batch);
    const forged = await verdictOn(batch, { signer: anotherKey });
    await expect(desk.verdict(verifier, forged)).rejects.toMatchObject({ code: 'UNAUTHORIZED' });
  });

  it('signed for another batch, though of the same seed, is refused', async () => {
    const [batch, other] = [await drawn(), await drawn()];
    await farm.db.updateTable('batches').set({ seed: batch.seed }).where('id', '=', other.id).execute();
    await commit(batch);
    const { signature } = await verdictOn({ ...other, seed: batch.seed });
    const replayed = { ...(await verdictOn(batch)), signature };
    await expect(desk.verdict(verifier, replayed)).rejects.toMatchObject({ code: 'UNAUTHORIZED' });
  });

  it.each<[string, Partial<Evidence>]>([
    ['another seed', { seed: someBytes32() }],
    ['another root', { root: someBytes32() }],
    ['another batch', { batchKey: someBytes32() }],
  ])('whose evidence speaks of %s is refused', async (_what, changes) => {
    const batch = await drawn();
    await commit(batch);
    await expect(desk.verdict(verifier, await verdictOn(batch, changes))).rejects.toMatchObject({
      code: 'MESSAGE_INVALID',
    });
    expect(await wordsOf(batch)).toMatchObject([{ outcome: null }]);
  });

  it('whose evidence says another outcome is refused', async () => {
    const batch = await drawn();
    await commit(batch);
    const { evidence } = await verdictOn(batch, { outcome: 'fail' });
    const honest = await verdictOn(batch);
    const { chainId, escrowAddress } = farm.context.chain;
    const terms = { batchKey: batch.chain_key as Bytes32, seed: honest.seed, outcome: 'pass' as const };
    const signature = signVerdict(
      escrowDomain(chainId, escrowAddress),
      { ...terms, evidence: bytes32Schema.parse(`0x${evidence}`) },
      key,
    );
    await expect(desk.verdict(verifier, { ...honest, evidence, signature })).rejects.toMatchObject({
      code: 'MESSAGE_INVALID',
    });
  });

  it('on a seed that the chain drew anew meanwhile is refused, and the new draw waits for one of its own', async () => {
    const batch = await drawn();
    await commit(batch);
    const verdict = await verdictOn(batch);
    const seed = someBytes32();
    await farm.db.updateTable('batches').set({ seed }).where('id', '=', batch.id).execute();
    await expect(desk.verdict(verifier, verdict)).rejects.toMatchObject({ code: 'MESSAGE_INVALID' });
    const anew = { ...batch, seed };
    await commit(anew, '3');
    await desk.verdict(verifier, await verdictOn(anew));
    expect(await wordsOf(batch)).toMatchObject([
      { seed: batch.seed, outcome: null },
      { seed, outcome: 'pass' },
    ]);
  });
});

describe('what a verifier is given', () => {
  const stopping = new AbortController();
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

  it('is what the chain asks of it and of nobody else; a restart of one frees only its own', async () => {
    const [first, second] = [await drawn([own]), await drawn([theirs])];
    expect(await desk.next(verifier, stopping.signal)).toMatchObject(challengeOn(first));
    expect(await desk.next(another, stopping.signal)).toMatchObject(challengeOn(second));
    expect(await desk.next(verifier, stopping.signal)).toMatchObject(challengeOn(first));
    expect(await desk.next(another, stopping.signal)).toMatchObject(challengeOn(second));
  });

  it('is the same batch for every member of a committee, and no more once it has said its word', async () => {
    const batch = await drawn([own, theirs]);
    await farm.db.updateTable('batches').set({ state: 'committee' }).where('id', '=', batch.id).execute();
    expect(await desk.next(verifier, stopping.signal)).toMatchObject(challengeOn(batch));
    expect(await desk.next(another, stopping.signal)).toMatchObject(challengeOn(batch));
    await commit(batch);
    await desk.verdict(verifier, await verdictOn(batch));
    expect(await askOnce(verifier)).toEqual(NOTHING);
    expect(await wordsOf(batch)).toMatchObject([{ role: 'committee', verifier: own }]);
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
    const question = desk.next(another, stopping.signal);
    await askOnce(verifier);
    await askOnce(verifier);
    const batch = await drawn([theirs]);
    desk.wake();
    expect(await question).toMatchObject(challengeOn(batch));
  });

  it('rests two seconds after it failed, also for the one that asks again', async () => {
    const batch = await drawn();
    await desk.next(verifier, stopping.signal);
    await desk.failed(verifier, batch.id, 'Blender crashed');
    expect(await askOnce(verifier)).toEqual(NOTHING);
    farm.clock.advance(2_000);
    expect(await desk.next(verifier, stopping.signal)).toMatchObject(challengeOn(batch));
  });

  it('is not what a node still has to hand over; what lies behind it comes first', async () => {
    const { batch, arrive } = await drawnFrame();
    const behind = await drawn();
    expect(await desk.next(verifier, stopping.signal)).toMatchObject(challengeOn(behind));
    await commit(behind);
    await desk.verdict(verifier, await verdictOn(behind));
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

  it('is secrets to reveal for all batches that wait for one, and the same again after two seconds', async () => {
    const [first, second] = [await drawn(), await drawn()];
    await farm.db
      .updateTable('batches')
      .set({ state: 'committed', seed: null })
      .where('id', 'in', [first.id, second.id])
      .execute();
    const batches = [first, second].map(({ id, chain_key }) => ({ batchId: id, batchKey: chain_key }));
    expect(await desk.next(verifier, stopping.signal)).toEqual({ kind: 'secrets', batches });
    expect(await askOnce(verifier)).toEqual(NOTHING);
    farm.clock.advance(2_000);
    expect(await desk.next(verifier, stopping.signal)).toEqual({ kind: 'secrets', batches });
  });
});
