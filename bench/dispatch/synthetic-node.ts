/** A node without a renderer: says hello, leases, signs and delivers as worker/ does, and takes no time over the pixels. */
import { jobKey } from '../../platform/chain/keys.ts';
import {
  addressOf,
  escrowDomain,
  type PrivateKey,
  type SigningDomain,
  signCommit,
} from '../../platform/chain/signing.ts';
import { ask } from '../../platform/nats/exchange.ts';
import type { Asker } from '../../platform/nats/member-connection.ts';
import { receiptLeaf, receiptRoot } from '../../proof/receipts.ts';
import { isFarmError } from '../../protocol/errors.ts';
import type { Address, Bytes32, Digest, NodeId } from '../../protocol/ids.ts';
import {
  type BatchSignature,
  type CompleteReply,
  type Delivery,
  type LeaseRun,
  MAX_RECEIPTS,
  NODE_EXCHANGES,
  nodeSubject,
  PROTOCOL_VERSION,
} from '../../protocol/messages.ts';
import type { TaskKind } from '../../protocol/receipt.ts';
import type { DriverCounts, DriverSetUp } from './driver-messages.ts';
import type { SyntheticMember } from './prepare-chain.ts';

/** Longer than the coordinator lets a question wait, however busy it is. */
const TIMEOUT_MS = 60_000;

type Result = { delivery: Delivery; leaf: Bytes32 };

export class SyntheticNode {
  readonly #id: NodeId;
  readonly #key: PrivateKey;
  readonly #address: Address;
  readonly #nats: Asker;
  readonly #setUp: DriverSetUp;
  readonly #counts: DriverCounts;
  #domain: SigningDomain | undefined;
  #last: { scene: Digest; kind: TaskKind } | undefined;

  constructor({ id, key }: SyntheticMember, nats: Asker, setUp: DriverSetUp, counts: DriverCounts) {
    this.#id = id;
    this.#key = key;
    this.#address = addressOf(key);
    this.#nats = nats;
    this.#setUp = setUp;
    this.#counts = counts;
  }

  async hello(): Promise<void> {
    const { engine, operator } = this.#setUp;
    const hello = {
      protocolVersion: PROTOCOL_VERSION as typeof PROTOCOL_VERSION,
      ...{ address: this.#address, operator, engines: [engine] },
    };
    const subject = nodeSubject(this.#id, 'hello');
    const welcome = await ask(this.#nats, NODE_EXCHANGES.hello, subject, hello, TIMEOUT_MS);
    if (welcome.enrol !== null) throw new Error(`${this.#id} is not registered on the prepared chain`);
    this.#domain = escrowDomain(welcome.chainId, welcome.escrow);
  }

  /** Asks for work and delivers it. Whether there was any. */
  async work(tasksPerRun: number): Promise<boolean> {
    const askedMs = performance.now();
    const request = {
      warmScene: this.#last?.scene ?? null,
      ...(this.#last !== undefined && tasksPerRun > 1 && { run: { ...this.#last, tasks: tasksPerRun } }),
    };
    const { run } = await ask(
      this.#nats,
      NODE_EXCHANGES.lease,
      nodeSubject(this.#id, 'lease'),
      request,
      TIMEOUT_MS,
    );
    if (run === null) {
      this.#counts.empty += 1;
      return false;
    }
    this.#counts.waitsMs.push(performance.now() - askedMs);
    this.#counts.leased += run.tasks.length;
    this.#last = { scene: run.scene, kind: run.kind };
    await this.#deliver(run);
    return true;
  }

  async #deliver(run: LeaseRun): Promise<void> {
    let left = run.tasks.map((task) => this.#delivery(run, task));
    let batch = run.batch;
    while (left.length > 0) {
      const sent = left.slice(0, Math.max(1, MAX_RECEIPTS - batch.leaves.length));
      const { moved, lost } = await this.#send(run, batch, sent);
      if (moved === null) {
        this.#counts.completed += sent.length;
        left = left.slice(sent.length);
        if (left.length === 0) return;
        const leaves = [...batch.leaves, ...sent.map(({ leaf }) => leaf)];
        const amount = sent.reduce((sum, { delivery }) => sum + delivery.receipt.price, batch.amount);
        batch = { ...batch, leaves, amount };
      } else {
        this.#counts.moved += 1;
        batch = moved;
        left = left.filter(({ delivery }) => !lost.includes(delivery.taskId));
      }
    }
  }

  #delivery(run: LeaseRun, task: LeaseRun['tasks'][number]): Result {
    const receipt: Delivery['receipt'] = {
      jobId: run.jobId,
      taskId: task.taskId,
      kind: run.kind,
      node: this.#address,
      frame: task.frame,
      rect: task.rect,
      samples: task.samples,
      // Stays with the node, as for every whole frame.
      exrDigest: this.#setUp.picture,
      pixelDigest: this.#setUp.picture,
      pictureDigest: this.#setUp.picture,
      engine: this.#setUp.engine.id,
      deviceClass: this.#setUp.engine.deviceClass,
      price: task.price,
    };
    const delivery: Delivery = {
      taskId: task.taskId,
      token: task.token,
      receipt,
      renderMs: 0,
      peakMemoryBytes: 0,
    };
    return { delivery, leaf: receiptLeaf(receipt) };
  }

  async #send(run: LeaseRun, batch: LeaseRun['batch'], sent: readonly Result[]): Promise<CompleteReply> {
    const leaves = [...batch.leaves, ...sent.map(({ leaf }) => leaf)];
    const root = receiptRoot(leaves);
    const count = leaves.length;
    const amount = sent.reduce((sum, { delivery }) => sum + delivery.receipt.price, batch.amount);
    const { batchId, batchKey } = batch;
    if (this.#domain === undefined) throw new Error(`${this.#id} has not said hello`);
    const terms = { jobKey: jobKey(run.jobId), batchKey, root, count, amount };
    const signature = signCommit(this.#domain, terms, this.#key);
    const signed: BatchSignature = { batchId, root, count, amount, signature };
    const message = { deliveries: sent.map(({ delivery }) => delivery), batch: signed };
    try {
      return await ask(
        this.#nats,
        NODE_EXCHANGES.complete,
        nodeSubject(this.#id, 'complete'),
        message,
        TIMEOUT_MS,
      );
    } catch (error) {
      if (!isFarmError(error, 'LEASE_LOST')) throw error;
      return { moved: batch, lost: sent.map(({ delivery }) => delivery.taskId) };
    }
  }
}
