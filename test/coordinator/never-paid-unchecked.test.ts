/**
 * Every order of messages, duplicates, lost answers and restarts, with verifiers that lie: nothing is paid that no verifier
 * passed, no stake is lost that two did not agree about, and everything comes to an end.
 */
import fc from 'fast-check';
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { closeBatches } from '../../coordinator/settlement/open-batch.ts';
import { settleBatches } from '../../coordinator/settlement/settle-batches.ts';
import { graceHandOvers, HandOver } from '../../coordinator/verification/hand-over.ts';
import { VerifierDesk } from '../../coordinator/verification/verifier-desk.ts';
import type { Word } from '../../platform/chain/chain.ts';
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
import { FakeEscrow, secretOf } from './fake-escrow.ts';

vi.setConfig({ testTimeout: 600_000, hookTimeout: 120_000 });

/** Five, each of an operator of its own: after two that disagree there are three for a committee. */
const VERIFIERS = [1, 2, 3, 4, 5].map((nth) => {
  const key = newPrivateKey();
  return { id: verifierIdSchema.parse(`verifier-${nth}`), key, address: addressOf(key) };
});
type TestVerifier = (typeof VERIFIERS)[number];
const stranger = newPrivateKey();
const signal = new AbortController().signal;
const HOUR_MS = 3_600_000;
const RUNS = 60;

let farm: TestCoordinator;
beforeAll(async () => {
  farm = await testCoordinator();
  farm.context.config.verifiers = VERIFIERS.map(({ id, address }) => ({ id, address }));
});
afterAll(() => farm[Symbol.asyncDispose]());

type Lie = 'none' | 'signer' | 'evidence' | 'seed';
type Action =
  | { do: 'deliver' | 'close' | 'settle' | 'restart' | 'forget' | 'secret' | 'commit' | 'repeat' | 'advance' }
  | { do: 'trouble'; when: 'before' | 'after' }
  /** Past the window for a word, a committee, or all of it. */
  | { do: 'late'; hours: number }
  /** The last verifier leaves the list. */
  | { do: 'leave' }
  /** What this verifier says, truly or not; `lie`: in a form that it did not sign. */
  | { do: 'verdict'; who: number; outcome: Outcome; lie: Lie };

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
  { weight: 1, arbitrary: fc.constantFrom(2, 26, 200).map((hours): Action => ({ do: 'late', hours })) },
  { weight: 1, arbitrary: fc.constant<Action>({ do: 'leave' }) },
  {
    weight: 8,
    arbitrary: fc.record({
      do: fc.constant('verdict' as const),
      who: fc.nat({ max: VERIFIERS.length - 1 }),
      outcome: fc.constantFrom<Outcome[]>('pass', 'pass', 'fail', 'fail', 'inconclusive'),
      lie: fc.constantFrom<Lie[]>('none', 'none', 'none', 'signer', 'evidence', 'seed'),
    }),
  },
);

/** A farm with one job of five tiles, and what its verifiers have said. */
class World {
  readonly escrow: FakeEscrow;
  readonly job: TestJob;
  readonly #node: TestNode;
  #desk!: VerifierDesk;
  #delivered = 0;
  #last: { from: TestVerifier; verdict: Verdict } | undefined;
  /** Chain key, seed, verifier and outcome of every verdict that was signed. */
  readonly said = new Set<string>();

  private constructor(node: TestNode, job: TestJob) {
    this.#node = node;
    this.job = job;
    this.escrow = new FakeEscrow(farm.context.chain, {
      verifiers: VERIFIERS.map(({ address }) => ({ address, operator: address })),
      nowMs: () => farm.clock.now(),
    });
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
        for (const step of ['deliver', 'close', 'settle', 'settle', 'secret', 'settle', 'commit'] as const)
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
        farm.clock.advance(action.hours * HOUR_MS);
        return;
      case 'leave':
        this.escrow.leave((VERIFIERS.at(-1) as TestVerifier).address);
        return;
      case 'secret':
        for (const { batch, verifier } of await this.#asked('committed'))
          await this.#desk.secrets(
            verifier.id,
            [{ batchId: batch.id, preimage: secretOf(verifier.address) }],
            signal,
          );
        return;
      case 'commit':
        for (const { batch, verifier } of await this.#asked('drawn', 'second', 'committee')) {
          const crops = [digestSchema.parse('1'.repeat(64))];
          await this.#desk.rendered(verifier.id, batch.id, batch.seed as Bytes32, crops);
        }
        return;
      case 'repeat':
        if (this.#last !== undefined) await this.#desk.verdict(this.#last.from.id, this.#last.verdict);
        return;
      case 'verdict':
        for (const batch of await this.batches('drawn', 'second', 'committee', 'judged'))
          await this.#verdict(batch, action);
    }
  }

  async #asked(...states: BatchRow['state'][]): Promise<{ batch: BatchRow; verifier: TestVerifier }[]> {
    const batches = await this.batches(...states);
    return batches.flatMap((batch) =>
      VERIFIERS.filter(({ address }) => batch.asked.includes(address)).map((verifier) => ({
        batch,
        verifier,
      })),
    );
  }

  async #verdict(batch: BatchRow, { who, outcome, lie }: Extract<Action, { do: 'verdict' }>): Promise<void> {
    const from = VERIFIERS[who] as TestVerifier;
    const seed = batch.seed as Bytes32;
    const batchKey = batch.chain_key as Bytes32;
    const told = lie === 'evidence' ? 'fail' : outcome;
    const evidence: Evidence = {
      ...{ version: 3, batchId: batch.id, batchKey, jobId: batch.job_id, scene: SCENE, precision: 'float' },
      ...{ thresholds: 'sameClass', root: batch.root as Bytes32 },
      seed: lie === 'seed' ? someBytes32() : seed,
      ...{ outcome: told, engine: ENGINE, deviceClass: DEVICE_CLASS, comparisons: [] },
    };
    const digest = await farm.context.blobs.putBytes(Buffer.from(toJson(evidence)));
    const { chainId, escrowAddress } = this.escrow.port;
    const terms = { batchKey, seed, outcome, evidence: `0x${digest}` as Bytes32 };
    const signer = lie === 'signer' ? stranger : from.key;
    const signature = signVerdict(escrowDomain(chainId, escrowAddress), terms, signer);
    const verdict: Verdict = { batchId: batch.id, seed, outcome, evidence: digest, signature };
    if (lie === 'none' || (lie === 'evidence' && told === outcome)) {
      this.said.add(`${batchKey} ${seed} ${from.address} ${outcome}`);
      this.#last = { from, verdict };
    }
    await this.#desk.verdict(from.id, verdict);
  }

  async batches(...states: BatchRow['state'][]): Promise<BatchRow[]> {
    let query = farm.db.selectFrom('batches').selectAll().where('job_id', '=', this.job.id);
    if (states.length > 0) query = query.where('state', 'in', states);
    return await query.orderBy('seq').execute();
  }

  #whoSaid(key: Bytes32, seed: Bytes32 | null, outcome: Outcome): TestVerifier[] {
    return VERIFIERS.filter(({ address }) => this.said.has(`${key} ${seed} ${address} ${outcome}`));
  }

  /** What has to be so at any moment. */
  async check(): Promise<void> {
    const paid = new Set<Bytes32>();
    for (const { batchKey, seed } of this.escrow.payments) {
      // On this very draw, by a verifier of the list: no other word has ever moved money.
      expect(this.#whoSaid(batchKey, seed, 'pass').length).toBeGreaterThan(0);
      paid.add(batchKey);
    }
    for (const { operator, batchKey } of this.escrow.slashes) {
      if (operator !== this.#node.address) continue;
      expect(this.#whoSaid(batchKey, this.escrow.get(batchKey).seed, 'fail').length).toBeGreaterThan(1);
    }
    expect(this.escrow.clashes).toBe(0);
    const rows = await this.batches();
    for (const { chain_key } of rows) this.#checkWords(chain_key as Bytes32);
    const settled = rows.filter((row) => row.state === 'settled' && row.outcome === 'pass');
    for (const row of settled) expect(paid.has(row.chain_key as Bytes32)).toBe(true);
    const lost = rows.filter((row) => row.state === 'settled' && BigInt(row.slashed) > 0n);
    const { slashed, quarantined_until } = await farm.node(this.#node.id);
    expect(BigInt(slashed)).toBe(lost.reduce((sum, row) => sum + BigInt(row.slashed), 0n));
    // Out for an hour only where two found the same.
    if (quarantined_until !== null) expect(rows.some((row) => row.agreed)).toBe(true);
    const tasks = await farm.db.selectFrom('tasks').selectAll().where('job_id', '=', this.job.id).execute();
    const verified = tasks.filter((task) => task.state === 'verified');
    for (const task of verified) expect(settled.some((row) => row.id === task.batch_id)).toBe(true);
    const { spent } = await farm.job(this.job.id);
    expect(BigInt(spent)).toBe(settled.reduce((sum, row) => sum + BigInt(row.amount), 0n));
  }

  /** Every word on chain was said by the verifier that it is of, on this draw. */
  #checkWords(key: Bytes32): void {
    const { seed, first, second, votes } = this.escrow.get(key);
    for (const word of [first, second, ...votes].filter((one): one is Word => one !== null))
      expect(this.said.has(`${key} ${seed} ${word.verifier} ${word.outcome}`)).toBe(true);
  }

  /** Everything that is open comes to its end when people are honest and machines work. */
  async finish(): Promise<void> {
    this.escrow.trouble = 'none';
    const honest: Action[] = [
      ...(['close', 'settle', 'settle', 'secret', 'settle', 'commit'] as const).map((name) => ({ do: name })),
      ...VERIFIERS.map((_one, who): Action => ({ do: 'verdict', who, outcome: 'pass', lie: 'none' })),
    ];
    const open = async () =>
      (await this.batches()).filter(({ state, receipts }) => state !== 'settled' && receipts > 0);
    for (let round = 0; round < 12 && (await open()).length > 0; round++)
      for (const action of honest) await this.act(action);
    expect(await open()).toEqual([]);
    await this.check();
    const keys = (await this.batches()).map(({ chain_key }) => chain_key as Bytes32);
    // The farm's books and the chain, to the smallest unit.
    expect(BigInt((await farm.job(this.job.id)).spent)).toBe(this.escrow.paid(keys));
    const { slashed } = await farm.node(this.#node.id);
    expect(BigInt(slashed)).toBe(keys.reduce((sum, key) => sum + this.escrow.get(key).slashed, 0n));
  }
}

it('pays nothing without a verdict, nothing twice, slashes nobody on one word, and loses nothing', async () => {
  const seen = { payments: 0, slashes: 0, committees: 0 };
  await fc.assert(
    fc.asyncProperty(fc.array(anyAction, { minLength: 10, maxLength: 50 }), async (actions) => {
      const world = await World.make();
      for (const action of actions) {
        await world.act(action);
        await world.check();
      }
      await world.finish();
      seen.payments += world.escrow.payments.length;
      seen.slashes += world.escrow.slashes.length;
      const ends = (await world.batches()).map((row) => world.escrow.get(row.chain_key as Bytes32));
      seen.committees += ends.filter(({ members }) => members.length > 0).length;
    }),
    { numRuns: RUNS },
  );
  // Or it would have tested nothing.
  expect(seen.payments).toBeGreaterThan(RUNS / 2);
  expect(seen.slashes).toBeGreaterThan(0);
  expect(seen.committees).toBeGreaterThan(0);
});
