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

/** A signed ERC-2612 permit of whoever pays, for the contract that pulls. */
export type SignedPermit = {
  value: bigint;
  /** Unix seconds. */
  deadline: number;
  signature: Signature;
};

/** What a node signs for a batch of receipts. The node is in the key (keys.ts). */
export type CommitTerms = {
  jobKey: Bytes32;
  batchKey: Bytes32;
  /** Root of the batch's Merkle tree of receipts. */
  root: Bytes32;
  /** Number of receipts, 1 to 64. */
  count: number;
  amount: bigint;
};

export type SignedCommit = { commit: CommitTerms; signature: Signature };

/** What a verifier signs for a drawn batch, as the first, the second or a member of a committee. */
export type VerdictTerms = {
  batchKey: Bytes32;
  /** Of the draw it speaks of: on another one it is worthless. */
  seed: Bytes32;
  outcome: Outcome;
  /** Digest of the evidence that anyone can replay. */
  evidence: Bytes32;
};

/** What somebody signs who puts a bond on a verdict being wrong. */
export type DisputeTerms = { batchKey: Bytes32; seed: Bytes32; disputer: Address; bond: bigint };

/** A member's word in a committee: its signature over the verdict with this evidence. */
export type SignedVote = { member: Address; evidence: Bytes32; signature: Signature };

/** What a node, and its operator, sign to belong together. */
export type NodeTerms = {
  node: Address;
  operator: Address;
  /** keccak256 of the class's name. */
  deviceClass: Bytes32;
  /** Token units for a reference second. */
  ask: bigint;
  /** Of the operator's signatures: `FarmChain.operator(address).nonce`. */
  nonce: bigint;
};

/** What an operator signs to have stake put down for it by whoever pays the gas. */
export type StakeTerms = { operator: Address; amount: bigint; nonce: bigint };

/** What an operator signs to have one of its keys check others' work. */
export type VerifierTerms = { verifier: Address; operator: Address; head: Bytes32; nonce: bigint };

export type JobState = 'none' | 'open' | 'closed';

/** A job as the contract holds it. `budget = released + refunded + free + reserved`, always. */
export type ChainJob = {
  state: JobState;
  requester: Address;
  /** Everything that was ever put in. */
  budget: bigint;
  maxTaskPrice: bigint;
  deadline: number;
  /** Neither spent nor promised. */
  free: bigint;
  /** Promised to batches that are not settled. */
  reserved: bigint;
  /** Credited for passed batches, fee included. */
  released: bigint;
  /** Credited back to the requester. */
  refunded: bigint;
  /** Of what a batch is paid, in hundredths of a per cent; as it was when the job opened. */
  feeBps: number;
  /** Batches that are not settled. */
  live: number;
};

export type BatchState =
  | 'none'
  | 'committed'
  | 'drawn'
  | 'second'
  | 'committee'
  | 'judged'
  | 'settled'
  | 'expired';

/** A verifier's word, once it is on chain. */
export type Word = { verifier: Address; outcome: Outcome; evidence: Bytes32 };

export type SignedVerdict = { verdict: VerdictTerms; signature: Signature };

/** A batch as the chain's events tell it, held against what the contract stores. In state `none` all is zero, null or empty. */
export type ChainBatch = {
  state: BatchState;
  jobKey: Bytes32;
  node: Address;
  /** Of the node, when it committed: paid and slashed. */
  operator: Address;
  root: Bytes32;
  count: number;
  amount: bigint;
  /** The operator's, when the node committed: no more than this is ever slashed. */
  stake: bigint;
  /** The block the seed hangs on: the hash of the one after it goes into the draw. */
  anchor: bigint;
  /** Unix seconds; the expiry counts from here and re-anchoring does not move it. */
  committedAt: number;
  /** Unix seconds: when the present state began. */
  since: number;
  /** How often the draw came too late and the batch was given a new anchor. */
  reanchors: number;
  /** Null until drawn. */
  seed: Bytes32 | null;
  /** Whose word is awaited: one in `drawn` and `second`, all members in `committee`, else nobody's. */
  asked: readonly Address[];
  /** The first verifier's word, and the second's. */
  first: Word | null;
  second: Word | null;
  /** Of the committee: its members, and what those said whose votes came on chain. */
  members: readonly Address[];
  votes: readonly Word[];
  /** Null until judged. */
  outcome: Outcome | null;
  /** Of the word that decided; null until judged, and where a silence decided. */
  evidence: Bytes32 | null;
  /** A fail that two verifiers or a committee found: the only one that slashes. */
  agreed: boolean;
  /** A committee has spoken: it cannot be disputed again. */
  last: boolean;
  disputer: Address | null;
  bond: bigint;
  /** What the operator was credited, and what it lost of its stake; 0 until settled. */
  paid: bigint;
  slashed: bigint;
};

/** An operator as the registry holds it; all zero when it never staked or signed. */
export type ChainOperator = { stake: bigint; thawing: bigint; thawsAt: number; nonce: bigint };

/** A node key as the registry holds it. */
export type ChainNode = { operator: Address; deviceClass: Bytes32; ask: bigint };

/** What the contracts were deployed with and nobody can change. Times in seconds, money in token units. */
export type ChainTerms = {
  verdictWindowS: number;
  disputeWindowS: number;
  committeeWindowS: number;
  expireWindowS: number;
  thawTimeS: number;
  joinDelayS: number;
  drawBlocks: number;
  missPenalty: bigint;
  verifierPenalty: bigint;
  disputeBond: bigint;
  /** A failed batch costs so many times its amount, at most the stake. */
  slashFactor: number;
  minVerifierStake: bigint;
};

/** A transaction that is in a block and did not revert. */
export type ChainWrite = { txHash: Bytes32; gasUsed: bigint; blockNumber: bigint };

/** A drawer's secret for one batch. */
export type RevealedSecret = { batchKey: Bytes32; preimage: Bytes32 };

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
  readonly registryAddress: Address;

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
   * Resolves when all of these batches can be drawn; at once when they already are drawn or further. To be called right
   * before every draw, also when it was called before: a restart of the embedded chain can undo it.
   */
  waitUntilDrawable(batchKeys: readonly Bytes32[], signal?: AbortSignal): Promise<void>;
  /** Whose secret the draw needs: it follows from a block after the commit. Null while that block is not there. */
  drawerOf(batchKey: Bytes32, signal?: AbortSignal): Promise<Address | null>;
  /** The same of many, in the order of the keys, at the price of one question. */
  drawersOf(batchKeys: readonly Bytes32[], signal?: AbortSignal): Promise<(Address | null)[]>;
  draw(batchKey: Bytes32, preimage: Bytes32, signal?: AbortSignal): Promise<DrawResult>;
  /**
   * Several in this order, all or none, at most {@link MAX_MOVES_PER_TX}; secrets of one drawer in the order of its chain.
   * One whose block is out of reach is refused (BlockHashGone), and with it all: `draw` helps that one.
   */
  drawMany(draws: readonly RevealedSecret[], signal?: AbortSignal): Promise<ChainWrite>;
  /**
   * When its drawer has let the time to draw pass ({@link ChainTerms.drawBlocks}): a new anchor, and with it most often
   * another drawer. Embedded, where no blocks come by themselves, it makes those that are missing.
   */
  reanchor(batchKey: Bytes32, signal?: AbortSignal): Promise<ChainWrite>;
  /** The word of the verifier that is asked, first or second. */
  attest(verdict: VerdictTerms, signature: Signature, signal?: AbortSignal): Promise<ChainWrite>;
  /** The same for several batches, all or none; at most {@link MAX_MOVES_PER_TX}. */
  attestMany(words: readonly SignedVerdict[], signal?: AbortSignal): Promise<ChainWrite>;
  /** The word of more than half of a committee, all of one outcome. */
  attestCommittee(
    batchKey: Bytes32,
    outcome: Outcome,
    votes: readonly SignedVote[],
    signal?: AbortSignal,
  ): Promise<ChainWrite>;
  /** After the committee's window: it ends without a word. */
  closeCommittee(batchKey: Bytes32, signal?: AbortSignal): Promise<ChainWrite>;
  /** After the verdict window, or when the one who is asked has left: another verifier is asked. */
  replace(batchKey: Bytes32, signal?: AbortSignal): Promise<ChainWrite>;
  dispute(
    terms: DisputeTerms,
    signature: Signature,
    permit: SignedPermit | null,
    signal?: AbortSignal,
  ): Promise<ChainWrite>;
  /** All or none; at most {@link MAX_MOVES_PER_TX}. */
  settleMany(batchKeys: readonly Bytes32[], signal?: AbortSignal): Promise<ChainWrite>;
  expire(batchKey: Bytes32, signal?: AbortSignal): Promise<ChainWrite>;
  closeJob(jobKey: Bytes32, signal?: AbortSignal): Promise<ChainWrite>;
  /** Pays the credit of `owner` to `owner`. */
  withdrawFor(owner: Address, signal?: AbortSignal): Promise<ChainWrite>;

  registerNode(
    terms: NodeTerms,
    operatorSignature: Signature,
    nodeSignature: Signature,
    signal?: AbortSignal,
  ): Promise<ChainWrite>;
  stakeFor(
    terms: StakeTerms,
    signature: Signature,
    permit: SignedPermit | null,
    signal?: AbortSignal,
  ): Promise<ChainWrite>;
  joinVerifier(terms: VerifierTerms, signature: Signature, signal?: AbortSignal): Promise<ChainWrite>;
  activateVerifier(verifier: Address, signal?: AbortSignal): Promise<ChainWrite>;
  /** Takes a verifier off the list whose operator's stake no longer reaches for it; of any other CHAIN_REVERTED. */
  removeVerifier(verifier: Address, signal?: AbortSignal): Promise<ChainWrite>;

  job(jobKey: Bytes32, signal?: AbortSignal): Promise<ChainJob>;
  batch(batchKey: Bytes32, signal?: AbortSignal): Promise<ChainBatch>;
  /** Many at the price of one question, in the order of the keys. */
  batches(batchKeys: readonly Bytes32[], signal?: AbortSignal): Promise<ChainBatch[]>;
  /** Null when it is not registered. */
  node(address: Address, signal?: AbortSignal): Promise<ChainNode | null>;
  operator(address: Address, signal?: AbortSignal): Promise<ChainOperator>;
  /** Whose a verifier is, also after it left; null where it never joined. */
  verifierOperator(verifier: Address, signal?: AbortSignal): Promise<Address | null>;
  /** Those that draws are made from, in the order of the list. */
  verifiers(signal?: AbortSignal): Promise<Address[]>;
  terms(signal?: AbortSignal): Promise<ChainTerms>;
  /** What `owner` can withdraw. */
  credit(owner: Address, signal?: AbortSignal): Promise<bigint>;
  tokenBalance(owner: Address, signal?: AbortSignal): Promise<bigint>;
  /** The nonce that the next permit of `owner` has to name. */
  permitNonce(owner: Address, signal?: AbortSignal): Promise<bigint>;
  /** Head of a verifier's secret chain: its next draw has to bring the head's preimage (secret-chain.ts). */
  verifierHead(verifier: Address, signal?: AbortSignal): Promise<Bytes32>;
  /** The newest block. */
  blockNumber(signal?: AbortSignal): Promise<bigint>;
  /** Unix seconds of the newest block: what contracts count windows by, and never more than the next block's. */
  timeS(signal?: AbortSignal): Promise<number>;
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

/** Together about 4 million gas: within a block, and the limit of a transaction, on any chain. */
export const MAX_COMMITS_PER_TX = 64;
/** Batches that are drawn, judged or settled at once: at most 30,000 gas each. */
export const MAX_MOVES_PER_TX = 64;
