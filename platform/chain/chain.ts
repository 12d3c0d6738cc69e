/**
 * The port to the money: what the farm asks of a chain, in plain values. Nothing here knows ethers or anvil, so
 * programs can be tested against a fake and a later chain only needs an adapter (ethers-chain.ts is the first).
 *
 * Every write can have happened although its answer was lost. Callers therefore read the state first and skip
 * what is already done; a write that comes a second time is refused by the contract (CHAIN_REVERTED), never paid twice.
 */
import type { Address, Bytes32, Signature } from '../../protocol/ids.ts';
import type { Outcome } from '../../protocol/verdict.ts';

/** What a requester signs: the only terms under which its money may be pulled and spent. */
export type OpenJobTerms = {
  requester: Address;
  jobKey: Bytes32;
  budget: bigint;
  /** Highest price of one task; a batch may cost at most this times its count. */
  maxTaskPrice: bigint;
  /** Unix seconds. Later than this nothing can be committed and anyone may close the job. */
  deadline: number;
};

/** A signed ERC-2612 permit of the requester for the escrow. */
export type SignedPermit = {
  value: bigint;
  /** Unix seconds. */
  deadline: number;
  signature: Signature;
};

/** What a node signs for a batch of receipts. */
export type CommitTerms = {
  jobKey: Bytes32;
  batchKey: Bytes32;
  node: Address;
  /** Root of the batch's Merkle tree of receipts. */
  root: Bytes32;
  /** Number of receipts, 1 to 64. */
  count: number;
  amount: bigint;
};

export type SignedCommit = { commit: CommitTerms; signature: Signature };

/** What a verifier signs for a drawn batch. */
export type VerdictTerms = {
  batchKey: Bytes32;
  outcome: Outcome;
  /** Digest of the evidence that anyone can replay. */
  evidence: Bytes32;
};

export type JobState = 'none' | 'open' | 'closed';

/** A job as the contract holds it. `budget = released + refunded + free + reserved`, always. */
export type ChainJob = {
  state: JobState;
  requester: Address;
  budget: bigint;
  maxTaskPrice: bigint;
  deadline: number;
  /** Neither spent nor promised. */
  free: bigint;
  /** Promised to batches that have no verdict yet. */
  reserved: bigint;
  /** Credited to nodes. */
  released: bigint;
  /** Credited back to the requester. */
  refunded: bigint;
};

export type BatchState = 'none' | 'committed' | 'drawn' | 'attested' | 'settled' | 'expired';

/** A batch as the contract holds it. In state `none` every value is zero or null. */
export type ChainBatch = {
  state: BatchState;
  jobKey: Bytes32;
  node: Address;
  root: Bytes32;
  count: number;
  amount: bigint;
  /** The block the seed hangs on: the hash of the one after it goes into the draw. */
  commitBlock: bigint;
  /** Unix seconds; the verdict window counts from here and re-anchoring does not move it. */
  committedAt: number;
  /** How often the draw came too late and the batch was given a new commitBlock. */
  reanchors: number;
  /** Null until drawn. */
  seed: Bytes32 | null;
  /** Null until attested. */
  outcome: Outcome | null;
  /** Null until attested. */
  evidence: Bytes32 | null;
};

/** A transaction that is in a block and did not revert. */
export type ChainWrite = { txHash: Bytes32; gasUsed: bigint; blockNumber: bigint };

/** `reanchored`: the block's hash was no longer to be had; wait until drawable and draw again. */
export type DrawResult =
  | (ChainWrite & { kind: 'drawn'; seed: Bytes32 })
  | (ChainWrite & { kind: 'reanchored' });

/**
 * The farm's account on the chain. Writes of one FarmChain go out one after the other and resolve when they are in
 * a block. They throw FarmError CHAIN_REVERTED (with the contract's error in the message, and `details.error` and
 * `details.args`) or CHAIN_UNAVAILABLE (nothing is known about the outcome: read the state, then try again).
 * An aborted signal rejects with the signal's reason; a transaction already sent can still land.
 */
export type FarmChain = {
  readonly chainId: number;
  readonly tokenAddress: Address;
  readonly escrowAddress: Address;

  /** Embedded chain only: makes test money. */
  mintTestTokens(to: Address, amount: bigint, signal?: AbortSignal): Promise<ChainWrite>;
  openJob(
    terms: OpenJobTerms,
    signature: Signature,
    permit: SignedPermit | null,
    signal?: AbortSignal,
  ): Promise<ChainWrite>;
  /** All or none; at most {@link MAX_COMMITS_PER_TX}. */
  commitMany(commits: readonly SignedCommit[], signal?: AbortSignal): Promise<ChainWrite>;
  /**
   * Resolves when the batch can be drawn; at once when it already is drawn or further. To be called right before
   * every draw, also when it was called before: a restart of the embedded chain can undo it.
   */
  waitUntilDrawable(batchKey: Bytes32, signal?: AbortSignal): Promise<void>;
  draw(batchKey: Bytes32, preimage: Bytes32, signal?: AbortSignal): Promise<DrawResult>;
  attest(verdict: VerdictTerms, signature: Signature, signal?: AbortSignal): Promise<ChainWrite>;
  /** All or none. */
  settleMany(batchKeys: readonly Bytes32[], signal?: AbortSignal): Promise<ChainWrite>;
  expire(batchKey: Bytes32, signal?: AbortSignal): Promise<ChainWrite>;
  closeJob(jobKey: Bytes32, signal?: AbortSignal): Promise<ChainWrite>;
  /** Pays the credit of `owner` to `owner`. */
  withdrawFor(owner: Address, signal?: AbortSignal): Promise<ChainWrite>;

  job(jobKey: Bytes32, signal?: AbortSignal): Promise<ChainJob>;
  batch(batchKey: Bytes32, signal?: AbortSignal): Promise<ChainBatch>;
  /** What `owner` can withdraw. */
  credit(owner: Address, signal?: AbortSignal): Promise<bigint>;
  tokenBalance(owner: Address, signal?: AbortSignal): Promise<bigint>;
  /** The nonce that the next permit of `owner` has to name. */
  permitNonce(owner: Address, signal?: AbortSignal): Promise<bigint>;
  /** Head of the verifier's secret chain: the next draw has to bring its preimage (secret-chain.ts). */
  verifierHead(signal?: AbortSignal): Promise<Bytes32>;
  /** The newest block. */
  blockNumber(signal?: AbortSignal): Promise<bigint>;
  /**
   * Resolves when a write can no longer be lost: embedded, when the chain's state file holds its block (about a
   * second); elsewhere, when enough blocks lie on top. Until then a kill -9 of the chain can undo the write.
   */
  waitUntilDurable(blockNumber: bigint, signal?: AbortSignal): Promise<void>;
  /**
   * Resolves when work may begin on a job that was opened in this block: when the write is durable; embedded at once,
   * since an opening that a kill -9 has undone is done again before the job's first batch is committed.
   */
  waitUntilFunded(blockNumber: bigint, signal?: AbortSignal): Promise<void>;
};

/** Together about 7 million gas: within a block, and the limit of a transaction, on any chain. */
export const MAX_COMMITS_PER_TX = 64;
