/** Verifiers that lie, against the coordinator's own settlement and desk: what each costs whom. */
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { disputeBatch } from '../../coordinator/settlement/disputes.ts';
import { closeBatches } from '../../coordinator/settlement/open-batch.ts';
import { settleBatches } from '../../coordinator/settlement/settle-batches.ts';
import { HandOver } from '../../coordinator/verification/hand-over.ts';
import { VerifierDesk } from '../../coordinator/verification/verifier-desk.ts';
import { addressOf, escrowDomain, newPrivateKey, signVerdict } from '../../platform/chain/signing.ts';
import { toJson } from '../../platform/json.ts';
import { type Address, type Bytes32, digestSchema, verifierIdSchema } from '../../protocol/ids.ts';
import type { Evidence, Outcome } from '../../protocol/verdict.ts';
import { LYING_VERIFIERS } from '../adversaries/verifiers.ts';
import {
  type BatchRow,
  DEVICE_CLASS,
  ENGINE,
  SCENE,
  type TestCoordinator,
  type TestJob,
  type TestNode,
  testCoordinator,
} from '../support/coordinator-context.ts';
import { deliver } from './delivery.ts';
import { FakeEscrow, secretOf } from './fake-escrow.ts';

vi.setConfig({ testTimeout: 60_000, hookTimeout: 120_000 });

const VERIFIERS = [1, 2, 3, 4, 5].map((nth) => {
  const key = newPrivateKey();
  return { id: verifierIdSchema.parse(`verifier-${nth}`), key, address: addressOf(key) };
});
type TestVerifier = (typeof VERIFIERS)[number];
const signal = new AbortController().signal;
const [STAKE, PENALTY] = [100_000_000n, 10_000_000n];

let farm: TestCoordinator;
beforeAll(async () => {
  farm = await testCoordinator();
  farm.context.config.verifiers = VERIFIERS.map(({ id, address }) => ({ id, address }));
});
afterAll(() => farm[Symbol.asyncDispose]());

/** What each verifier says when it is asked as what; silent where it says nothing. */
type Says = (role: BatchRow['state'], verifier: TestVerifier) => Outcome | 'silent';

/** A farm in which one node has delivered one batch. */
class Scene {
  readonly escrow: FakeEscrow;
  readonly node: TestNode;
  readonly job: TestJob;
  readonly #desk: VerifierDesk;
  /** Who was asked in which state, in that order. */
  readonly asked: { state: BatchRow['state']; address: Address }[] = [];

  private constructor(node: TestNode, job: TestJob, verifiers: number) {
    this.node = node;
    this.job = job;
    this.escrow = new FakeEscrow(farm.context.chain, {
      verifiers: VERIFIERS.slice(0, verifiers).map(({ address }) => ({ address, operator: address })),
      nowMs: () => farm.clock.now(),
    });
    const handOver = new HandOver(this.context, () => undefined);
    this.#desk = new VerifierDesk(this.context, handOver, () => undefined);
  }

  static async make(verifiers = VERIFIERS.length): Promise<Scene> {
    const scene = new Scene(await farm.addNode(), await farm.addJob(), verifiers);
    // Somebody else is there to render it again.
    await farm.addNode();
    await deliver(farm, scene.node, scene.job.tiles);
    await closeBatches(farm.db, new Date(farm.clock.now()), 1_000);
    return scene;
  }

  get context() {
    return { ...farm.context, chain: this.escrow.port };
  }

  batch(): Promise<BatchRow> {
    return farm.batchOf(this.job.id);
  }

  /** Until nothing moves any more. */
  async play(says: Says): Promise<BatchRow> {
    for (let round = 0; round < 20; round++) {
      await settleBatches(this.context, signal);
      const batch = await this.batch();
      if (batch.state === 'settled') return batch;
      for (const verifier of VERIFIERS.filter(({ address }) => batch.asked.includes(address)))
        await this.#answer(batch, verifier, says);
    }
    return await this.batch();
  }

  async #answer(batch: BatchRow, verifier: TestVerifier, says: Says): Promise<void> {
    const { id, address, key } = verifier;
    if (batch.state === 'committed') {
      const secrets = [{ batchId: batch.id, preimage: secretOf(address) }];
      return await this.#desk.secrets(id, secrets, signal);
    }
    this.asked.push({ state: batch.state, address });
    const outcome = says(batch.state, verifier);
    if (outcome === 'silent') return;
    const [seed, batchKey] = [batch.seed as Bytes32, batch.chain_key as Bytes32];
    await this.#desk.rendered(id, batch.id, seed, [digestSchema.parse('1'.repeat(64))]);
    const evidence: Evidence = {
      ...{ version: 3, batchId: batch.id, batchKey, jobId: batch.job_id, scene: SCENE, precision: 'float' },
      ...{ thresholds: 'sameClass', seed, root: batch.root as Bytes32 },
      ...{ outcome, engine: ENGINE, deviceClass: DEVICE_CLASS, comparisons: [] },
    };
    const digest = await farm.context.blobs.putBytes(Buffer.from(toJson(evidence)));
    const { chainId, escrowAddress } = this.escrow.port;
    const terms = { batchKey, seed, outcome, evidence: `0x${digest}` as Bytes32 };
    const signature = signVerdict(escrowDomain(chainId, escrowAddress), terms, key);
    await this.#desk.verdict(id, { batchId: batch.id, seed, outcome, evidence: digest, signature });
  }

  first(): Address {
    return this.asked.find(({ state }) => state === 'drawn')?.address as Address;
  }

  stakes(): bigint[] {
    return VERIFIERS.map(({ address }) => this.escrow.stakeOf(address));
  }
}

const everybody =
  (found: Outcome): Says =>
  () =>
    found;

describe('two verifiers that find the same', () => {
  it('cost a cheat its batch, its stake and an hour; the tasks are rendered again', async () => {
    const scene = await Scene.make();
    const batch = await scene.play(everybody('fail'));
    expect(batch).toMatchObject({ state: 'settled', outcome: 'fail', agreed: true, slashed: '20000' });
    expect(await farm.node(scene.node.id)).toMatchObject({ tasks_forfeited: 2, slashed: '20000' });
    expect((await farm.node(scene.node.id)).quarantined_until).not.toBeNull();
    expect(scene.escrow.stakeOf(scene.node.address)).toBe(STAKE - 20_000n);
    expect(scene.escrow.payments).toEqual([]);
    for (const tile of scene.job.tiles) expect((await farm.task(tile.id)).state).toBe('queued');
    expect(new Set(scene.asked.map(({ address }) => address)).size).toBe(2);
  });
});

describe('one verifier that finds a fail, with no second to be asked', () => {
  it('costs the node this batch and no more, and the words say so', async () => {
    const scene = await Scene.make(1);
    const batch = await scene.play(everybody('fail'));
    expect(batch).toMatchObject({ state: 'settled', outcome: 'fail', agreed: false, slashed: '0' });
    expect(await farm.node(scene.node.id)).toMatchObject({ tasks_forfeited: 2, quarantined_until: null });
    const events = await farm.eventsOf(scene.job.id);
    const requeued = events.flatMap((event) => (event.type === 'task.requeued' ? [event.reason] : []));
    expect(requeued[0]).toContain('one verifier alone found this');
  });
});

describe('a verifier that fails whatever a rival rendered', () => {
  const accuser = LYING_VERIFIERS.accuser.word('pass', 'rival');

  it('is overturned by a committee and loses its penalty; the node is paid', async () => {
    const scene = await Scene.make();
    const batch = await scene.play((state) => (state === 'drawn' ? accuser : 'pass'));
    expect(batch).toMatchObject({ state: 'settled', outcome: 'pass', slashed: '0' });
    expect(scene.escrow.payments).toMatchObject([{ node: scene.node.address, amount: 2_000n }]);
    expect(scene.escrow.stakeOf(scene.first())).toBe(STAKE - PENALTY);
    expect(scene.stakes().filter((stake) => stake === STAKE)).toHaveLength(4);
    expect(await farm.node(scene.node.id)).toMatchObject({ quarantined_until: null, tasks_verified: 2 });
    // The committee is of others than the two that disagreed.
    const members = scene.asked.filter(({ state }) => state === 'committee').map(({ address }) => address);
    expect(new Set(members).size).toBeGreaterThanOrEqual(2);
    expect(members).not.toContain(scene.first());
  });

  it('costs the node nothing where there are too few for a committee: it is rendered again', async () => {
    const scene = await Scene.make(2);
    const batch = await scene.play((state) => (state === 'drawn' ? accuser : 'pass'));
    expect(batch).toMatchObject({ state: 'settled', outcome: 'inconclusive', slashed: '0' });
    expect(await farm.node(scene.node.id)).toMatchObject({ tasks_forfeited: 0, quarantined_until: null });
    expect(scene.escrow.stakeOf(scene.node.address)).toBe(STAKE);
  });
});

describe('a verifier that passes everything', () => {
  it.each([LYING_VERIFIERS.lazy, LYING_VERIFIERS.colluder])(
    'is found out by a dispute: the committee renders, the cheat is not paid ($name)',
    async ({ word }) => {
      const scene = await Scene.make();
      await disputeBatch(scene.context, (await scene.batch()).id, { outcome: 'pass' });
      const batch = await scene.play((state) => (state === 'drawn' ? word('fail', 'friend') : 'fail'));
      expect(batch).toMatchObject({ state: 'settled', outcome: 'fail', agreed: true });
      expect(scene.escrow.payments).toEqual([]);
      expect(scene.escrow.stakeOf(scene.first())).toBe(STAKE - PENALTY);
      expect((await farm.node(scene.node.id)).quarantined_until).not.toBeNull();
      expect(await farm.eventsOf(scene.job.id)).toContainEqual(
        expect.objectContaining({ type: 'batch.disputed', outcome: 'pass' }),
      );
    },
  );

  it('is believed where nobody doubts it: what a batch is worth is what a dispute is for', async () => {
    const scene = await Scene.make();
    expect(await scene.play(everybody('pass'))).toMatchObject({ outcome: 'pass' });
    expect(scene.escrow.payments).toHaveLength(1);
  });
});

describe('a dispute', () => {
  it('that the committee does not share changes nothing, and the honest verifier keeps its stake', async () => {
    const scene = await Scene.make();
    await disputeBatch(scene.context, (await scene.batch()).id, { outcome: 'pass' });
    expect(await scene.play(everybody('pass'))).toMatchObject({ outcome: 'pass' });
    expect(scene.escrow.payments).toHaveLength(1);
    expect(scene.stakes().every((stake) => stake === STAKE)).toBe(true);
  });

  it('is not raised where the judgement is another than the doubted one', async () => {
    const scene = await Scene.make();
    await disputeBatch(scene.context, (await scene.batch()).id, { outcome: 'fail' });
    expect(await scene.play(everybody('pass'))).toMatchObject({ outcome: 'pass' });
    expect(scene.asked.every(({ state }) => state === 'drawn')).toBe(true);
  });

  it('that finds too few verifiers is told, and the judgement stands', async () => {
    const scene = await Scene.make(2);
    await disputeBatch(scene.context, (await scene.batch()).id, { outcome: 'pass' });
    expect(await scene.play(everybody('pass'))).toMatchObject({ state: 'settled', outcome: 'pass' });
    expect(await farm.eventsOf(scene.job.id)).toContainEqual(
      expect.objectContaining({
        type: 'batch.undisputed',
        reason: expect.stringContaining('three verifiers'),
      }),
    );
  });

  it('of what is settled, or not judged and not named, is refused', async () => {
    const scene = await Scene.make();
    const { id } = await scene.batch();
    const refused = { code: 'NOT_DISPUTABLE' };
    await expect(disputeBatch(scene.context, id, {})).rejects.toMatchObject(refused);
    await scene.play(everybody('pass'));
    await expect(disputeBatch(scene.context, id, { outcome: 'pass' })).rejects.toMatchObject(refused);
  });
});

describe('a verifier that has vanished', () => {
  it('is replaced when its time is over, at its own cost', async () => {
    const scene = await Scene.make();
    let silent: Address | undefined;
    const says: Says = (_state, { address }) => {
      silent ??= address;
      return address === silent ? 'silent' : 'pass';
    };
    expect((await scene.play(says)).state).toBe('drawn');
    farm.clock.advance((scene.escrow.terms.verdictWindowS + 61) * 1_000);
    expect(await scene.play(says)).toMatchObject({ state: 'settled', outcome: 'pass' });
    expect(scene.escrow.stakeOf(silent as Address)).toBe(STAKE - scene.escrow.terms.missPenalty);
  });

  it('is replaced at once when it has left the list', async () => {
    const scene = await Scene.make();
    let gone: Address | undefined;
    const says: Says = (_state, { address }) => {
      gone ??= address;
      return address === gone ? 'silent' : 'pass';
    };
    await scene.play(says);
    scene.escrow.leave(gone as Address);
    expect(await scene.play(says)).toMatchObject({ state: 'settled', outcome: 'pass' });
    expect(scene.escrow.stakeOf(gone as Address)).toBe(STAKE);
  });
});
