/**
 * The escrow's rules over plain maps, as a port: for tests that put the coordinator through thousands of orders, which a
 * chain of its own would take hours for. What the contract itself does is tested on the contract (test/chain).
 */
import type { BatchState, ChainBatch, ChainWrite, FarmChain } from '../../platform/chain/chain.ts';
import { escrowDomain, recoverVerdictSigner } from '../../platform/chain/signing.ts';
import { FarmError } from '../../protocol/errors.ts';
import type { Address, Bytes32 } from '../../protocol/ids.ts';
import { someBytes32 } from '../support/coordinator-context.ts';

const NONE: ChainBatch = {
  ...{ state: 'none', jobKey: `0x${'00'.repeat(32)}` as Bytes32, node: `0x${'00'.repeat(20)}` as Address },
  ...{ root: `0x${'00'.repeat(32)}` as Bytes32, count: 0, amount: 0n, commitBlock: 0n, committedAt: 0 },
  ...{ reanchors: 0, seed: null, outcome: null, evidence: null },
};

export type Payment = { batchKey: Bytes32; node: Address; amount: bigint; seed: Bytes32 | null };

export class FakeEscrow {
  readonly port: FarmChain;
  /** Every payment that ever stood on the chain, forgotten ones too. */
  readonly payments: Payment[] = [];
  /** The next write is lost on its way, or its answer is. */
  trouble: 'none' | 'before' | 'after' = 'none';
  #batches = new Map<Bytes32, ChainBatch>();
  #durable = new Map<Bytes32, ChainBatch>();
  #block = 1n;
  readonly #verifier: Address;
  readonly #nowMs: () => number;

  constructor(base: FarmChain, verifier: Address, nowMs: () => number) {
    this.#verifier = verifier;
    this.#nowMs = nowMs;
    const known: Partial<FarmChain> = {
      ...{ chainId: base.chainId, escrowAddress: base.escrowAddress, tokenAddress: base.tokenAddress },
      batch: async (key) => ({ ...this.get(key) }),
      job: async () => ({ state: 'open' }) as Awaited<ReturnType<FarmChain['job']>>,
      blockNumber: async () => this.#block,
      waitUntilDrawable: async () => undefined,
      waitUntilDurable: async () => {
        this.#durable = new Map(this.#batches);
      },
      commitMany: (commits) =>
        this.#write(() => {
          for (const { commit } of commits) {
            this.#require(commit.batchKey, 'none');
            const { jobKey, node, root, count, amount } = commit;
            const committedAt = Math.floor(this.#nowMs() / 1_000);
            this.#set(commit.batchKey, {
              ...NONE,
              state: 'committed',
              jobKey,
              node,
              root,
              count,
              amount,
              committedAt,
            });
          }
        }),
      draw: async (key) => {
        const seed = someBytes32();
        const written = await this.#write(() => this.#step(key, 'committed', { state: 'drawn', seed }));
        return { ...written, kind: 'drawn', seed };
      },
      attest: (verdict, signature) =>
        this.#write(() => {
          const domain = escrowDomain(base.chainId, base.escrowAddress);
          if (recoverVerdictSigner(domain, verdict, signature) !== this.#verifier)
            throw reverted('BadSignature');
          const { batchKey, outcome, evidence } = verdict;
          this.#step(batchKey, 'drawn', { state: 'attested', outcome, evidence });
        }),
      settleMany: (keys) =>
        this.#write(() => {
          for (const key of keys) this.#require(key, 'attested');
          for (const key of keys) {
            const { outcome, node, amount, seed } = this.get(key);
            this.#step(key, 'attested', { state: 'settled' });
            if (outcome === 'pass') this.payments.push({ batchKey: key, node, amount, seed });
          }
        }),
      expire: (key) =>
        this.#write(() => {
          const { state } = this.get(key);
          if (state !== 'committed' && state !== 'drawn') throw reverted('WrongBatchState');
          this.#set(key, { ...this.get(key), state: 'expired' });
        }),
    };
    this.port = new Proxy(known as FarmChain, {
      get(target, property) {
        if (property in target) return target[property as keyof FarmChain];
        throw new Error(`the fake escrow has no ${String(property)}`);
      },
    });
  }

  get(key: Bytes32): ChainBatch {
    return this.#batches.get(key) ?? NONE;
  }

  /** As after kill -9 of the embedded chain: what was not waited for is gone. */
  forget(): void {
    this.#batches = new Map(this.#durable);
  }

  /** Payments that stand. */
  paid(keys: readonly Bytes32[]): bigint {
    return keys
      .map((key) => this.get(key))
      .filter(({ state, outcome }) => state === 'settled' && outcome === 'pass')
      .reduce((sum, { amount }) => sum + amount, 0n);
  }

  async #write(change: () => void): Promise<ChainWrite> {
    const { trouble } = this;
    this.trouble = 'none';
    if (trouble === 'before') throw new FarmError('CHAIN_UNAVAILABLE', 'nobody answered');
    change();
    this.#block += 1n;
    if (trouble === 'after') throw new FarmError('CHAIN_UNAVAILABLE', 'the answer was lost');
    return { txHash: someBytes32(), gasUsed: 1n, blockNumber: this.#block };
  }

  #set(key: Bytes32, batch: ChainBatch): void {
    this.#batches.set(key, batch);
  }

  #step(key: Bytes32, from: BatchState, changes: Partial<ChainBatch>): void {
    this.#require(key, from);
    this.#set(key, { ...this.get(key), ...changes });
  }

  #require(key: Bytes32, state: BatchState): void {
    if (this.get(key).state !== state) throw reverted('WrongBatchState');
  }
}

function reverted(error: string): FarmError {
  return new FarmError('CHAIN_REVERTED', error, { details: { error } });
}
