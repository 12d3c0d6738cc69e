/** Every order of messages, duplicates, lost answers and restarts: nothing is paid that the verifier did not pass. */
import fc from 'fast-check';
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { closeBatches } from '../../coordinator/settlement/open-batch.ts';
import { settleBatches } from '../../coordinator/settlement/settle-batches.ts';
import { graceHandOvers, HandOver } from '../../coordinator/verification/hand-over.ts';
import { VerifierDesk } from '../../coordinator/verification/verifier-desk.ts';
import { batchKey } from '../../platform/chain/keys.ts';
import { addressOf, escrowDomain, newPrivateKey, signVerdict } from '../../platform/chain/signing.ts';
import { toJson } from '../../platform/json.ts';
import { isFarmError } from '../../protocol/errors.ts';
import { type Bytes32, digestSchema, verifierIdSchema } from '../../protocol/ids.ts';
import type { Evidence, Outcome, Verdict } from '../../protocol/verdict.ts';
import {
  type BatchRow,
  DEVICE_CLASS,
  ENGINE,
  SCENE,
  someBytes32,
  type TestCoordinator,
  type TestJob,
  type TestNode,
  testCoordinator,
} from '../support/coordinator-context.ts';
import { deliver } from './delivery.ts';
import { FakeEscrow } from './fake-escrow.ts';

vi.setConfig({ testTimeout: 600_000, hookTimeout: 120_000 });

const VERIFIER = verifierIdSchema.parse('verifier');
const key = newPrivateKey();
const stranger = newPrivateKey();
const signal = new AbortController().signal;
const DAY_MS = 86_400_000;
const RUNS = 60;

let farm: TestCoordinator;
beforeAll(async () => {
  farm = await testCoordinator();
  farm.context.config.verifierAddress = addressOf(key);
});
afterAll(() => farm[Symbol.asyncDispose]());

type Action =
  | { do: 'deliver' | 'close' | 'settle' | 'restart' | 'forget' | 'secret' | 'commit' | 'repeat' | 'advance' }
  | { do: 'trouble'; when: 'before' | 'after' }
  | { do: 'late'; days: number }
  /** `lie`: a verdict that the verifier did not give in this form. */
  | { do: 'verdict'; outcome: Outcome; lie: 'none' | 'signer' | 'evidence' | 'seed' };

const plain = fc
  .constantFrom('deliver', 'close', 'settle', 'restart', 'forget', 'secret', 'commit', 'repeat')
  .map((name): Action => ({ do: name }) as Action);
const anyAction: fc.Arbitrary<Action> = fc.oneof(
  // Up to a verdict, or hardly any order would get that far.
  { weight: 4, arbitrary: fc.constant<Action>({ do: 'advance' }) },
  { weight: 8, arbitrary: plain },
  {
    weight: 1,
    arbitrary: fc.constantFrom('before', 'after').map((when): Action => ({ do: 'trouble', when })),
  },
  { weight: 1, arbitrary: fc.constantFrom(1, 8).map((days): Action => ({ do: 'late', days })) },
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant('verdict' as const),
      outcome: fc.constantFrom<Outcome[]>('pass', 'pass', 'fail', 'inconclusive'),
      lie: fc.constantFrom('none', 'none', 'signer', 'evidence', 'seed'),
    }),
  },
);

/** A farm with one job of five tiles, and what its verifier has honestly said. */
class World {
  readonly escrow: FakeEscrow;
  readonly job: TestJob;
  readonly #node: TestNode;
  #desk!: VerifierDesk;
  #delivered = 0;
  #last: Verdict | undefined;
  /** batch and seed, to the outcomes that the verifier signed for it. */
  readonly said = new Map<string, Set<Outcome>>();
  passesSaid = 0;

  private constructor(node: TestNode, job: TestJob) {
    this.#node = node;
    this.job = job;
    this.escrow = new FakeEscrow(farm.context.chain, addressOf(key), () => farm.clock.now());
    this.#restart();
  }

  static async make(): Promise<World> {
    return new World(await farm.addNode(), await farm.addJob({ frames: [1], tilesPerFrame: 5 }));
  }

  get context() {
    return { ...farm.context, chain: this.escrow.port };
  }

  #restart(): void {
    const handOver = new HandOver(this.context, () => undefined);
    this.#desk = new VerifierDesk(this.context, handOver, () => undefined);
  }

  /** Refusals are what half of these actions are for; only a mistake of the program may end the test. */
  async act(action: Action): Promise<void> {
    try {
      await this.#act(action);
    } catch (error) {
      if (!isFarmError(error) || error.code === 'INTERNAL') throw error;
    }
  }

  async #act(action: Action): Promise<void> {
    switch (action.do) {
      case 'deliver': {
        const tile = this.job.tiles[this.#delivered];
        if (tile === undefined) return;
        this.#delivered += 1;
        // A node that was found cheating gets no lease, nor does anybody once the job has ended.
        await deliver(farm, this.#node, [tile]).catch((error: unknown) => {
          if (!String(error).includes('could not lease')) throw error;
        });
        return;
      }
      case 'advance':
        for (const step of ['deliver', 'close', 'settle', 'secret', 'settle', 'commit'] as const)
          await this.act({ do: step });
        return;
      case 'close':
        farm.clock.advance(20_000);
        await closeBatches(farm.db, new Date(farm.clock.now()), 15_000);
        return;
      case 'settle':
        await settleBatches(this.context, signal);
        return;
      case 'restart':
        this.#restart();
        await graceHandOvers(this.context);
        return;
      case 'forget':
        this.escrow.forget();
        return;
      case 'trouble':
        this.escrow.trouble = action.when;
        return;
      case 'late':
        farm.clock.advance(action.days * DAY_MS);
        return;
      case 'secret':
        for (const batch of await this.batches('committed'))
          await this.#desk.secret(batch.id, someBytes32(), signal);
        return;
      case 'commit':
        for (const batch of await this.batches('drawn'))
          await this.#desk.rendered(batch.id, [digestSchema.parse('1'.repeat(64))]);
        return;
      case 'repeat':
        if (this.#last !== undefined) await this.#desk.verdict(VERIFIER, this.#last);
        return;
      case 'verdict':
        for (const batch of await this.batches('drawn', 'judged')) await this.#verdict(batch, action);
    }
  }

  async #verdict(batch: BatchRow, { outcome, lie }: Extract<Action, { do: 'verdict' }>): Promise<void> {
    const seed = batch.seed as Bytes32;
    const told = lie === 'evidence' ? 'fail' : outcome;
    const evidence: Evidence = {
      ...{ version: 2, batchId: batch.id, jobId: batch.job_id, scene: SCENE, precision: 'float' },
      ...{
        thresholds: 'sameClass',
        seed: lie === 'seed' ? someBytes32() : seed,
        root: batch.root as Bytes32,
      },
      ...{ outcome: told, engine: ENGINE, deviceClass: DEVICE_CLASS, comparisons: [] },
    };
    const digest = await farm.context.blobs.putBytes(Buffer.from(toJson(evidence)));
    const { chainId, escrowAddress } = this.escrow.port;
    const terms = { batchKey: batchKey(batch.id), outcome, evidence: `0x${digest}` as Bytes32 };
    const signer = lie === 'signer' ? stranger : key;
    const signature = signVerdict(escrowDomain(chainId, escrowAddress), terms, signer);
    const verdict: Verdict = { batchId: batch.id, outcome, evidence: digest, signature };
    if (lie === 'none' || (lie === 'evidence' && told === outcome)) {
      const name = `${terms.batchKey} ${seed}`;
      this.said.set(name, new Set([...(this.said.get(name) ?? []), outcome]));
      if (outcome === 'pass') this.passesSaid += 1;
      this.#last = verdict;
    }
    await this.#desk.verdict(VERIFIER, verdict);
  }

  async batches(...states: BatchRow['state'][]): Promise<BatchRow[]> {
    let query = farm.db.selectFrom('batches').selectAll().where('job_id', '=', this.job.id);
    if (states.length > 0) query = query.where('state', 'in', states);
    return await query.orderBy('seq').execute();
  }

  /** What has to be so at any moment. */
  async check(): Promise<void> {
    const paid = new Set<Bytes32>();
    for (const { batchKey: name, seed } of this.escrow.payments) {
      // On this seed, by this verifier: nobody else's word, and none on another draw, has ever moved money.
      expect(this.said.get(`${name} ${seed}`)?.has('pass')).toBe(true);
      paid.add(name);
    }
    const rows = await this.batches();
    const settled = rows.filter((row) => row.state === 'settled' && row.outcome === 'pass');
    for (const row of settled) expect(paid.has(batchKey(row.id))).toBe(true);
    const tasks = await farm.db.selectFrom('tasks').selectAll().where('job_id', '=', this.job.id).execute();
    const verified = tasks.filter((task) => task.state === 'verified');
    for (const task of verified) expect(settled.some((row) => row.id === task.batch_id)).toBe(true);
    const { spent } = await farm.job(this.job.id);
    expect(BigInt(spent)).toBe(settled.reduce((sum, row) => sum + BigInt(row.amount), 0n));
  }

  /** Everything that is open comes to its end when people are honest and machines work. */
  async finish(): Promise<void> {
    this.escrow.trouble = 'none';
    const honest: Action[] = [
      { do: 'close' },
      { do: 'settle' },
      { do: 'secret' },
      { do: 'settle' },
      { do: 'commit' },
      { do: 'verdict', outcome: 'pass', lie: 'none' },
    ];
    for (let round = 0; round < 6; round++) for (const action of honest) await this.act(action);
    const open = (await this.batches()).filter(({ state, receipts }) => state !== 'settled' && receipts > 0);
    expect(open).toEqual([]);
    await this.check();
    const keys = (await this.batches()).map(({ id }) => batchKey(id));
    // The farm's books and the chain, to the smallest unit.
    expect(BigInt((await farm.job(this.job.id)).spent)).toBe(this.escrow.paid(keys));
  }
}

it('pays nothing without a verdict, nothing twice, and loses nothing', async () => {
  let passes = 0;
  let payments = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(anyAction, { minLength: 10, maxLength: 50 }), async (actions) => {
      const world = await World.make();
      for (const action of actions) {
        await world.act(action);
        await world.check();
      }
      await world.finish();
      passes += world.passesSaid;
      payments += world.escrow.payments.length;
    }),
    { numRuns: RUNS },
  );
  // Or it would have tested nothing.
  expect(passes).toBeGreaterThan(RUNS / 2);
  expect(payments).toBeGreaterThan(RUNS / 2);
});
