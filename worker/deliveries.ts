/**
 * Results on their way to the farm. Those of short tasks are handed in several at a time, under one signature: signing,
 * checking it and writing it down cost both sides the same for one result as for sixteen (docs/decisions/runs.md).
 *
 * A result waits for others only while this node is at work on them, and not longer than {@link HOLD_MS}.
 */
import type { PrivateKey, SigningDomain } from '../platform/chain/signing.ts';
import { ask } from '../platform/nats/exchange.ts';
import type { Asker } from '../platform/nats/member-connection.ts';
import { whileUnreachable } from '../platform/retry.ts';
import { FarmError, isFarmError } from '../protocol/errors.ts';
import type { NodeId } from '../protocol/ids.ts';
import { type LeaseGrant, MAX_RECEIPTS, MAX_RUN, NODE_EXCHANGES, nodeSubject } from '../protocol/messages.ts';
import type { ReceiptJournal } from './receipt-journal.ts';
import { REQUEST_TIMEOUT_MS } from './request-timeout.ts';
import { type Leaf, signBatch } from './sign-batch.ts';

/** Who watches the frames come in sees them this much later at most. */
const HOLD_MS = 2_000;

/** Longer than a restart of the farm takes; a result that is done is worth delivering. */
const PATIENCE_MS = 120_000;

/** The batch can move while it is signed (closed by age, full); more often than this is a fault. */
const MAX_SIGNINGS = 5;

/** Batches remembered; a node works on few jobs at a time, and one that is forgotten costs one more question. */
const MAX_REMEMBERED = 32;

/** A result that is ready to be handed in. */
export type Result = Leaf & {
  grant: LeaseGrant;
  renderMs: number;
  peakMemoryBytes: number;
};

type Waiting = Result & { settled: boolean; settle: (error: unknown) => void };

export type ExpectedResult = Disposable & {
  /**
   * Resolves when the farm has taken the result. Throws LEASE_LOST when it no longer wants it, INTERRUPTED when `signal`
   * aborts before it is sent, and what else the farm says of it.
   */
  handIn(result: Result, signal: AbortSignal): Promise<void>;
};

export type DeliveriesOptions = {
  nodeId: NodeId;
  key: PrivateKey;
  domain: SigningDomain;
  nats: Asker;
  journal: ReceiptJournal;
  /** Ends the patience with a farm that does not answer. */
  signal: AbortSignal;
  holdMs?: number;
};

export class Deliveries {
  readonly #options: DeliveriesOptions;
  readonly #waiting: Waiting[] = [];
  /** The batch that the last receipt of a job and kind has joined, as this node knows it. */
  readonly #batches = new Map<string, LeaseGrant['batch']>();
  #underWay = 0;
  #timer: NodeJS.Timeout | undefined;
  #sending: Promise<void> | undefined;

  constructor(options: DeliveriesOptions) {
    this.#options = options;
  }

  /** How many batches are remembered. */
  get remembered(): number {
    return this.#batches.size;
  }

  /** A task is begun whose result will come here, unless it is disposed of before. */
  expect(): ExpectedResult {
    let over = false;
    const arrived = (): void => {
      if (!over) this.#underWay -= 1;
      over = true;
    };
    this.#underWay += 1;
    return {
      handIn: (result, signal) => this.#handIn(result, signal, arrived),
      [Symbol.dispose]: () => {
        arrived();
        this.#sendIfDue();
      },
    };
  }

  async #handIn(result: Result, signal: AbortSignal, arrived: () => void): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      const giveUp = (): void => {
        const place = this.#waiting.indexOf(waiting);
        // What is on its way already may be taken.
        if (place < 0) return;
        this.#waiting.splice(place, 1);
        reject(new FarmError('INTERRUPTED', 'stopped before the result was handed in'));
      };
      const waiting: Waiting = {
        ...result,
        settled: false,
        settle: (error) => {
          waiting.settled = true;
          signal.removeEventListener('abort', giveUp);
          if (error === undefined) resolve();
          else reject(error);
        },
      };
      this.#waiting.push(waiting);
      arrived();
      signal.addEventListener('abort', giveUp, { once: true });
      if (signal.aborted) giveUp();
      this.#sendIfDue();
    });
  }

  #sendIfDue(): void {
    if (this.#waiting.length === 0) return;
    if (this.#underWay === 0 || this.#waiting.length >= MAX_RUN) this.#send();
    else this.#timer ??= setTimeout(() => this.#send(), this.#options.holdMs ?? HOLD_MS);
  }

  /** Sends what waits; what comes meanwhile waits for the answer and then goes together. */
  #send(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#sending ??= this.#sendAll().finally(() => {
      this.#sending = undefined;
      if (this.#waiting.length > 0) this.#send();
    });
  }

  async #sendAll(): Promise<void> {
    for (let run = this.#nextRun(); run.length > 0; run = this.#nextRun()) {
      try {
        await this.#sendRun(run);
      } catch (error) {
        const left = run.filter((one) => !one.settled);
        const all = isFarmError(error, 'FARM_UNREACHABLE') || isFarmError(error, 'LEASE_LOST');
        if (left.length === 1 || all) for (const { settle } of left) settle(error);
        // One of them may be at fault, which is no reason to lose the others.
        else for (const one of left) await this.#sendRun([one]).catch(one.settle);
      }
    }
  }

  /** Takes those off the list that can be handed in together with the first. */
  #nextRun(): Waiting[] {
    const [first] = this.#waiting;
    if (first === undefined) return [];
    const place = placeOf(first.grant);
    const run = this.#waiting.filter(({ grant }) => placeOf(grant) === place).slice(0, MAX_RUN);
    for (const one of run) this.#waiting.splice(this.#waiting.indexOf(one), 1);
    return run;
  }

  async #sendRun(run: readonly Waiting[]): Promise<void> {
    let left = [...run];
    let batch = this.#batchFor(left);
    for (let signing = 0; signing < MAX_SIGNINGS && batch !== undefined; signing++) {
      const sent = left.slice(0, Math.max(1, MAX_RECEIPTS - batch.leaves.length));
      const { moved, lost } = await this.#sendSigned(sent, batch);
      if (moved === null) {
        this.#remember(sent, batch);
        for (const { settle } of sent) settle(undefined);
        left = left.slice(sent.length);
        if (left.length === 0) return;
        batch = this.#batchFor(left);
        continue;
      }
      for (const { grant, settle } of left.filter((one) => lost.includes(one.grant.taskId)))
        settle(new FarmError('LEASE_LOST', `the lease on ${grant.taskId} is over`));
      left = left.filter((one) => !lost.includes(one.grant.taskId));
      if (left.length === 0) return;
      batch = moved;
    }
    const error = new FarmError('BATCH_MOVED', `the batch changed ${MAX_SIGNINGS} times while it was signed`);
    for (const { settle } of left) settle(error);
  }

  async #sendSigned(sent: readonly Waiting[], batch: LeaseGrant['batch']) {
    const { nats, nodeId } = this.#options;
    const message = {
      deliveries: sent.map(({ grant: { taskId, token }, receipt, renderMs, peakMemoryBytes }) => {
        return { taskId, token, receipt, renderMs, peakMemoryBytes };
      }),
      batch: await signBatch(sent, batch, this.#options),
    };
    const subject = nodeSubject(nodeId, 'complete');
    const send = () => ask(nats, NODE_EXCHANGES.complete, subject, message, REQUEST_TIMEOUT_MS);
    return await whileUnreachable(send, this.#options.signal, PATIENCE_MS);
  }

  /** The batch to try first. The grants are from before the receipts that this node has sent since. */
  #batchFor(run: readonly Waiting[]): LeaseGrant['batch'] | undefined {
    const [first] = run;
    if (first === undefined) return undefined;
    const known = this.#batches.get(placeOf(first.grant));
    // A task that came back gives the same receipt again; the batch that holds the first one is over then.
    const again = run.some(({ leaf }) => known?.leaves.includes(leaf));
    return known === undefined || again ? first.grant.batch : known;
  }

  #remember(sent: readonly Waiting[], batch: LeaseGrant['batch']): void {
    const [first] = sent;
    if (first === undefined) return;
    const place = placeOf(first.grant);
    const leaves = [...batch.leaves, ...sent.map(({ leaf }) => leaf)];
    const amount = sent.reduce((sum, { receipt }) => sum + receipt.price, batch.amount);
    this.#batches.delete(place);
    if (leaves.length < MAX_RECEIPTS) this.#batches.set(place, { ...batch, leaves, amount });
    // The place used longest ago goes first: a map gives its keys in the order in which they were set.
    for (const old of [...this.#batches.keys()].slice(0, -MAX_REMEMBERED)) this.#batches.delete(old);
  }
}

const placeOf = (grant: LeaseGrant): string => `${grant.jobId}/${grant.kind}`;
