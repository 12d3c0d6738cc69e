/** One batch of one node before verifiers that say what a test has them say: settlement and desk are the coordinator's own. */
import { closeBatches } from '../../coordinator/settlement/open-batch.ts';
import { settleBatches } from '../../coordinator/settlement/settle-batches.ts';
import { HandOver } from '../../coordinator/verification/hand-over.ts';
import { VerifierDesk } from '../../coordinator/verification/verifier-desk.ts';
import type { ChainTerms } from '../../platform/chain/chain.ts';
import { addressOf, escrowDomain, newPrivateKey, signVerdict } from '../../platform/chain/signing.ts';
import { toJson } from '../../platform/json.ts';
import { type Address, type Bytes32, digestSchema, verifierIdSchema } from '../../protocol/ids.ts';
import type { Evidence, Outcome } from '../../protocol/verdict.ts';
import {
  type BatchRow,
  DEVICE_CLASS,
  ENGINE,
  SCENE,
  type TestCoordinator,
  type TestJob,
  type TestNode,
} from '../support/coordinator-context.ts';
import { deliver } from './delivery.ts';
import { FakeEscrow, secretOf } from './fake-escrow.ts';

export const VERIFIERS = [1, 2, 3, 4, 5].map((nth) => {
  const key = newPrivateKey();
  return { id: verifierIdSchema.parse(`verifier-${nth}`), key, address: addressOf(key) };
});
type TestVerifier = (typeof VERIFIERS)[number];
const signal = new AbortController().signal;

/** What each verifier says when it is asked as what; silent where it says nothing. */
export type Says = (role: BatchRow['state'], verifier: TestVerifier) => Outcome | 'silent';

/** A farm in which one node has delivered one batch. */
export class Scene {
  readonly farm: TestCoordinator;
  readonly escrow: FakeEscrow;
  readonly node: TestNode;
  readonly job: TestJob;
  readonly #desk: VerifierDesk;
  /** Who was asked in which state, in that order. */
  readonly asked: { state: BatchRow['state']; address: Address }[] = [];

  private constructor(
    farm: TestCoordinator,
    node: TestNode,
    job: TestJob,
    verifiers: number,
    terms: Partial<ChainTerms>,
  ) {
    this.farm = farm;
    this.node = node;
    this.job = job;
    this.escrow = new FakeEscrow(farm.context.chain, {
      verifiers: VERIFIERS.slice(0, verifiers).map(({ address }) => ({ address, operator: address })),
      nowMs: () => farm.clock.now(),
      terms,
    });
    const handOver = new HandOver(this.context, () => undefined);
    this.#desk = new VerifierDesk(this.context, handOver, () => undefined);
  }

  static async make(
    farm: TestCoordinator,
    verifiers = VERIFIERS.length,
    terms: Partial<ChainTerms> = {},
  ): Promise<Scene> {
    farm.context.config.verifiers = VERIFIERS.map(({ id, address }) => ({ id, address }));
    const scene = new Scene(farm, await farm.addNode(), await farm.addJob(), verifiers, terms);
    // Somebody else is there to render it again.
    await farm.addNode();
    await deliver(farm, scene.node, scene.job.tiles);
    await closeBatches(farm.db, new Date(farm.clock.now()), 1_000);
    return scene;
  }

  get context() {
    return { ...this.farm.context, chain: this.escrow.port };
  }

  batch(): Promise<BatchRow> {
    return this.farm.batchOf(this.job.id);
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
    const digest = await this.farm.context.blobs.putBytes(Buffer.from(toJson(evidence)));
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

export const everybody =
  (found: Outcome): Says =>
  () =>
    found;
