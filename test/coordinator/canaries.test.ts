/** Canaries against the coordinator's own settlement and desk: how they are made, and what a wrong word on one brings. */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { CanaryLoop } from '../../coordinator/canaries/canary-loop.ts';
import { planCanary, rollCanary } from '../../coordinator/canaries/plan-canary.ts';
import { closeBatches } from '../../coordinator/settlement/open-batch.ts';
import { settleBatches } from '../../coordinator/settlement/settle-batches.ts';
import { buildChallenge } from '../../coordinator/verification/build-challenge.ts';
import { HandOver } from '../../coordinator/verification/hand-over.ts';
import { VerifierDesk } from '../../coordinator/verification/verifier-desk.ts';
import { addressOf, escrowDomain, newPrivateKey, signVerdict } from '../../platform/chain/signing.ts';
import { toJson } from '../../platform/json.ts';
import { createSyntheticRuntime } from '../../platform/render/synthetic/runtime.ts';
import {
  type BatchId,
  type Bytes32,
  type Digest,
  digestSchema,
  verifierIdSchema,
} from '../../protocol/ids.ts';
import { type Receipt, receiptSchema } from '../../protocol/receipt.ts';
import type { Challenge, Evidence, Outcome } from '../../protocol/verdict.ts';
import {
  type BatchRow,
  someBytes32,
  type TestCoordinator,
  testCoordinator,
} from '../support/coordinator-context.ts';
import { deliver } from './delivery.ts';
import { FakeEscrow, secretOf } from './fake-escrow.ts';

vi.setConfig({ testTimeout: 60_000, hookTimeout: 120_000 });

const { signal } = new AbortController();
const region = { x: 0, y: 0, width: 320, height: 180 };

function receipt(changes: Partial<Receipt> = {}): Receipt {
  return receiptSchema.parse({
    ...{ jobId: 'job_1', taskId: 'task_1', kind: 'render', node: `0x${'1'.repeat(40)}`, frame: 1 },
    ...{ rect: { x: 0, y: 0, width: 80, height: 60 }, samples: 16, exrDigest: 'a'.repeat(64) },
    ...{
      pixelDigest: 'b'.repeat(64),
      pictureDigest: null,
      engine: 'e',
      deviceClass: 'cpu-avx2',
      price: '10',
    },
    ...changes,
  });
}

const random = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });
const randoms = fc.infiniteStream(random).map((stream) => () => stream.next().value);

describe('the plan of a canary', () => {
  it('has tasks of the size, kind and samples of the batch beside it, inside the picture', () => {
    const kinds = fc.constantFrom('render' as const, 'frame' as const);
    const frames = fc.uniqueArray(fc.integer({ min: 1, max: 50 }), { minLength: 1, maxLength: 9 });
    fc.assert(
      fc.property(
        kinds,
        frames,
        fc.integer({ min: 1, max: 64 }),
        fc.boolean(),
        randoms,
        (kind, all, count, bad, at) => {
          const rect = kind === 'frame' ? region : { x: 80, y: 60, width: 80, height: 60 };
          const beside = Array.from({ length: count }, () => receipt({ kind, rect }));
          const tasks = planCanary(beside, { frames: all, region }, bad, at);
          const most = kind === 'frame' ? Math.min(4, count, all.length) : Math.min(4, count);
          expect(tasks).toHaveLength(most);
          for (const task of tasks) {
            expect(task).toMatchObject({
              kind,
              samples: 16,
              rect: { width: rect.width, height: rect.height },
            });
            expect(all).toContain(task.frame);
            expect(task.rect.x + task.rect.width).toBeLessThanOrEqual(region.width);
            expect(task.rect.y + task.rect.height).toBeLessThanOrEqual(region.height);
            expect(Math.min(task.rect.x, task.rect.y)).toBeGreaterThanOrEqual(0);
            expect(task.rendered).toEqual({ frame: task.frame, samples: bad ? 4 : 16 });
          }
        },
      ),
    );
  });

  it('renders another frame where there are no samples to leave out, and nothing where there is no other', () => {
    const beside = [receipt({ samples: 1 })];
    const tasks = planCanary(beside, { frames: [1, 2], region }, true, () => 0.5);
    expect(tasks).toHaveLength(1);
    expect(tasks[0]?.rendered.frame).not.toBe(tasks[0]?.frame);
    expect(planCanary(beside, { frames: [1], region }, true, () => 0.5)).toEqual([]);
    expect(planCanary(beside, { frames: [1], region }, false, () => 0.5)).toHaveLength(1);
  });

  it('is none beside what it cannot imitate', () => {
    const spec = { frames: [1], region };
    expect(planCanary([receipt({ kind: 'finish' })], spec, false, () => 0)).toEqual([]);
    const extraFilesDigest = 'c'.repeat(64) as Digest;
    expect(planCanary([receipt({ kind: 'frame', extraFilesDigest })], spec, false, () => 0)).toEqual([]);
    expect(planCanary([], spec, false, () => 0)).toEqual([]);
  });

  it('is rolled for with the share that is asked for, half of them wrong', () => {
    let at = 0;
    // Every pair of hundredths once.
    const next = (): number => (at % 2 === 0 ? Math.floor(at++ / 2 / 100) : Math.floor(at++ / 2) % 100) / 100;
    const counts = { bad: 0, good: 0, none: 0 };
    for (let roll = 0; roll < 10_000; roll++) {
      if (at % 2 === 1) at++;
      counts[rollCanary(0.02, next) ?? 'none']++;
    }
    expect(counts).toEqual({ bad: 100, good: 100, none: 9_800 });
    expect(rollCanary(0, () => 0)).toBeNull();
  });
});

const VERIFIERS = [1, 2, 3, 4, 5].map((nth) => {
  const key = newPrivateKey();
  return { id: verifierIdSchema.parse(`verifier-${nth}`), key, address: addressOf(key) };
});
type TestVerifier = (typeof VERIFIERS)[number];
const [STAKE, PENALTY] = [100_000_000n, 10_000_000n];
const synthetic = createSyntheticRuntime();

describe('a canary', () => {
  let farm: TestCoordinator;
  let scene: string;
  beforeAll(async () => {
    farm = await testCoordinator();
    farm.context.config.verifiers = VERIFIERS.map(({ id, address }) => ({ id, address }));
    farm.context.config.canaryShare = 1;
    scene = join(farm.context.config.dataFolder, 'numbers');
    await mkdir(scene);
    const resolution = { width: 64, height: 32 };
    await writeFile(join(scene, 'scene.json'), JSON.stringify({ resolution, frameEnd: 3 }));
  });
  afterAll(() => farm[Symbol.asyncDispose]());

  /** What each verifier says of a batch when it is asked. */
  type Says = (verifier: TestVerifier, batch: BatchRow) => Outcome;

  /** A farm on which one real batch is closed, with an engine of numbers in the place of Blender. */
  class Play {
    readonly escrow: FakeEscrow;
    readonly loop: CanaryLoop;
    readonly #desk: VerifierDesk;
    readonly challenges: Challenge[] = [];

    constructor(kind: 'bad' | 'good') {
      this.escrow = new FakeEscrow(farm.context.chain, {
        verifiers: VERIFIERS.map(({ address }) => ({ address, operator: address })),
        nowMs: () => farm.clock.now(),
        strict: true,
      });
      this.#desk = new VerifierDesk(
        this.context,
        new HandOver(this.context, () => undefined),
        () => undefined,
      );
      const rolls = [0, kind === 'bad' ? 0 : 0.9];
      this.loop = new CanaryLoop(
        this.context,
        () => undefined,
        () => rolls.shift() ?? 0.5,
      );
    }

    get context() {
      const engine = { ...synthetic, engine: farm.context.runtime.engine };
      const scenes = { folderOf: async () => ({ root: scene, main: 'scene.json' }) } as never;
      return { ...farm.context, chain: this.escrow.port, engines: [engine], scenes };
    }

    /** A real batch on chain, and the canary beside it. */
    async plant(): Promise<{ real: BatchRow; canary: BatchRow }> {
      const node = await farm.addNode();
      await this.escrow.port.registerNode(
        { node: node.address, operator: node.address, deviceClass: someBytes32(), ask: 0n, nonce: 0n },
        '0x' as never,
        '0x' as never,
      );
      const job = await farm.addJob({ frames: [1, 2] });
      await deliver(farm, node, job.tiles);
      await closeBatches(farm.db, new Date(farm.clock.now()), 1_000);
      await settleBatches(this.context, signal);
      await settleBatches(this.context, signal);
      const real = await farm.batchOf(job.id);
      while (await this.loop.round(signal));
      const planted = await farm.db
        .selectFrom('canaries')
        .select('batch_id')
        .where('beside', '=', real.id)
        .executeTakeFirstOrThrow();
      const canary = await this.batch(planted.batch_id);
      await farm.db.updateTable('jobs').set({ state: 'active' }).where('id', '=', canary.job_id).execute();
      await this.play(real.id, () => 'pass');
      return { real, canary: await this.batch(canary.id) };
    }

    batch(id: BatchId): Promise<BatchRow> {
      return farm.db.selectFrom('batches').selectAll().where('id', '=', id).executeTakeFirstOrThrow();
    }

    words(id: BatchId) {
      return farm.db.selectFrom('verdicts').selectAll().where('batch_id', '=', id).orderBy('seq').execute();
    }

    /** Rounds of settlement and of answers until the batch does not move any more. The farm looks again where `looks`. */
    async play(id: BatchId, says: Says, { looks = true } = {}): Promise<BatchRow> {
      for (let round = 0; round < 20; round++) {
        await settleBatches(this.context, signal);
        if (looks) while (await this.loop.round(signal));
        const batch = await this.batch(id);
        if (batch.state === 'settled') break;
        for (const verifier of VERIFIERS.filter(({ address }) => batch.asked.includes(address)))
          await this.#answer(verifier, batch, says);
      }
      return await this.batch(id);
    }

    async #answer(verifier: TestVerifier, batch: BatchRow, says: Says): Promise<void> {
      const { id, address, key } = verifier;
      if (batch.state === 'committed')
        return await this.#desk.secrets(id, [{ batchId: batch.id, preimage: secretOf(address) }], signal);
      const said = await this.words(batch.id);
      if (said.some((word) => word.verifier === address && word.seed === batch.seed)) return;
      const challenge = await buildChallenge(this.context, batch);
      this.challenges.push(challenge);
      const outcome = says(verifier, batch);
      const [seed, batchKey] = [batch.seed as Bytes32, batch.chain_key as Bytes32];
      await this.#desk.rendered(id, batch.id, seed, [digestSchema.parse('1'.repeat(64))]);
      const { scene: digest, engine, deviceClass } = challenge;
      const evidence: Evidence = {
        ...{
          version: 3,
          batchId: batch.id,
          batchKey,
          jobId: batch.job_id,
          scene: digest,
          precision: 'float',
        },
        ...{ thresholds: 'sameClass', seed, root: batch.root as Bytes32 },
        ...{ outcome, engine, deviceClass, comparisons: [] },
      };
      const stored = await farm.context.blobs.putBytes(Buffer.from(toJson(evidence)));
      const { chainId, escrowAddress } = this.escrow.port;
      const terms = { batchKey, seed, outcome, evidence: `0x${stored}` as Bytes32 };
      const signature = signVerdict(escrowDomain(chainId, escrowAddress), terms, key);
      await this.#desk.verdict(id, { batchId: batch.id, seed, outcome, evidence: stored, signature });
    }

    /** What the verifier is given; `none` where there is nothing for it when `until` aborts. */
    ask({ id }: TestVerifier, until = signal) {
      return this.#desk.next(id, until);
    }
  }

  /** Asked first on this batch. */
  const isFirst = (batch: BatchRow): boolean => batch.state === 'drawn';
  const passes: Says = () => 'pass';

  it('is sent to a verifier like the batch beside it: the same fields, as many crops, the same scene', async () => {
    const play = new Play('good');
    const { real, canary } = await play.plant();
    await play.play(canary.id, passes);
    const of = (id: BatchId) => play.challenges.find(({ batchId }) => batchId === id) as Challenge;
    const [one, other] = [of(real.id), of(canary.id)];
    expect(Object.keys(other)).toEqual(Object.keys(one));
    expect(other.items.map((item) => Object.keys(item))).toEqual(one.items.map((item) => Object.keys(item)));
    const said = ({ scene: digest, manifest, engine, deviceClass, exr }: Challenge) => ({
      ...{ digest, manifest, engine, deviceClass, exr },
    });
    expect(said(other)).toEqual(said(one));
    for (const [index, item] of other.items.entries())
      expect(item).toMatchObject({ kind: one.items[index]?.kind, samples: one.items[index]?.samples });
    // Ids of one form; nothing says whose node it is.
    expect(other.jobId).not.toBe(one.jobId);
    expect(other.jobId).toHaveLength('job_'.length + 25);
    expect(JSON.stringify(other)).not.toContain('canary');
    expect(other).not.toHaveProperty('nodeId');
  });

  it('that is right and passed is settled, ends its job, and says nothing against anybody', async () => {
    const play = new Play('good');
    const { canary } = await play.plant();
    expect(await play.play(canary.id, passes)).toMatchObject({ outcome: 'pass', doubted: null });
    expect(await farm.job(canary.job_id)).toMatchObject({ state: 'completed', canary: true });
    expect((await play.words(canary.id)).map(({ caught }) => caught)).toEqual([null]);
    // Nothing of it is a frame, and nothing is rendered again.
    const tasks = await farm.db
      .selectFrom('tasks')
      .select('state')
      .where('job_id', '=', canary.job_id)
      .execute();
    expect(tasks.map(({ state }) => state)).toEqual(['verified', 'verified', 'verified', 'verified']);
  });

  it('that is wrong and failed by two costs only the node of the farm, which is not used again', async () => {
    const play = new Play('bad');
    const { canary } = await play.plant();
    const ended = await play.play(canary.id, () => 'fail');
    expect(ended).toMatchObject({ outcome: 'fail', agreed: true });
    expect(BigInt(ended.slashed)).toBe(10n * BigInt(ended.amount));
    expect(play.escrow.stakeOf(canary.node_address)).toBe(STAKE - BigInt(ended.slashed));
    for (const { address } of VERIFIERS) expect(play.escrow.stakeOf(address)).toBe(STAKE);
    expect((await play.words(canary.id)).every(({ caught }) => caught === null)).toBe(true);
    const next = await new Play('good').plant();
    expect(next.canary.node_id).not.toBe(canary.node_id);
  });

  it('that is wrong and passed catches the verifier: a committee, its penalty, no checks, and the word stands as proof', async () => {
    const play = new Play('bad');
    const { real, canary } = await play.plant();
    const ended = await play.play(canary.id, (_verifier, batch) => (isFirst(batch) ? 'pass' : 'fail'));
    expect(ended).toMatchObject({ outcome: 'fail', doubted: 'pass' });
    const [first, ...others] = await play.words(canary.id);
    expect(first).toMatchObject({ outcome: 'pass', rechecked: true });
    expect(first?.caught).toMatch(/^the farm finds fail: /);
    expect(others.every(({ caught }) => caught === null)).toBe(true);
    const liar = VERIFIERS.find(({ address }) => address === first?.verifier) as TestVerifier;
    expect(play.escrow.stakeOf(liar.address)).toBe(STAKE - PENALTY);
    expect(play.escrow.payments.filter(({ node }) => node === canary.node_address)).toEqual([]);
    expect(await farm.eventsOf(real.job_id)).toContainEqual(
      expect.objectContaining({ type: 'verifier.caught', verifier: liar.id, batchId: canary.id }),
    );
    // It gets nothing from the farm while others can be asked, until its time is over.
    const next = await new Play('good').plant();
    // What earlier tests left may still want a secret of it, which it is asked for whatever it is believed to be.
    await farm.db.updateTable('batches').set({ asked: '[]' }).where('id', '!=', next.canary.id).execute();
    await farm.db
      .updateTable('batches')
      .set({ state: 'drawn', seed: someBytes32(), asked: JSON.stringify([liar.address]) })
      .where('id', '=', next.canary.id)
      .execute();
    expect(await play.ask(liar, AbortSignal.timeout(200))).toEqual({ kind: 'none' });
    farm.clock.advance(farm.context.config.quarantineMs + 1);
    expect(await play.ask(liar)).toMatchObject({ kind: 'challenge', challenge: { batchId: next.canary.id } });
    await farm.db.updateTable('batches').set({ asked: '[]' }).where('id', '=', next.canary.id).execute();
  });

  it('that is right and failed catches the accuser; the farm is paid, and nobody else loses anything', async () => {
    const play = new Play('good');
    const { canary } = await play.plant();
    const ended = await play.play(canary.id, (_verifier, batch) => (isFirst(batch) ? 'fail' : 'pass'));
    expect(ended).toMatchObject({ outcome: 'pass', slashed: '0' });
    const [first] = await play.words(canary.id);
    expect(first?.caught).toMatch(/^the farm finds pass: /);
    expect(play.escrow.stakeOf(first?.verifier as never)).toBe(STAKE - PENALTY);
    expect(play.escrow.stakeOf(canary.node_address)).toBe(STAKE);
    farm.clock.advance(farm.context.config.quarantineMs + 1);
  });

  it('is not moved on until a doubtful word was looked at', async () => {
    const play = new Play('bad');
    const { canary } = await play.plant();
    const waiting = await play.play(canary.id, passes, { looks: false });
    expect(waiting).toMatchObject({ state: 'drawn', outcome: null });
    expect(await play.play(canary.id, () => 'fail')).toMatchObject({ outcome: 'fail' });
    farm.clock.advance(farm.context.config.quarantineMs + 1);
  });

  it('that was thought wrong, and is right where it was drawn, catches nobody', async () => {
    const play = new Play('good');
    const { canary } = await play.plant();
    await farm.db.updateTable('canaries').set({ bad: true }).where('batch_id', '=', canary.id).execute();
    expect(await play.play(canary.id, passes)).toMatchObject({ outcome: 'pass', doubted: null });
    expect(await play.words(canary.id)).toMatchObject([{ rechecked: true, caught: null }]);
  });

  it('is planted beside a batch once, and never beside another canary', async () => {
    const play = new Play('good');
    const { canary } = await play.plant();
    await play.play(canary.id, passes);
    const before = await farm.db.selectFrom('canaries').selectAll().execute();
    const again = new CanaryLoop(
      play.context,
      () => undefined,
      () => 0,
    );
    while (await again.round(signal));
    expect(await farm.db.selectFrom('canaries').selectAll().execute()).toEqual(before);
  });
});
