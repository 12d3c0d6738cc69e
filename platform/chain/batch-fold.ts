/**
 * What the contract keeps of a batch is a hash; what is behind it, its events tell. Pure: the events of one batch, in
 * their order, become the struct that the contract asks for and the port's record, and the hash of the struct says
 * whether they were all of them.
 */
import { AbiCoder } from 'ethers/abi';
import { ZeroAddress, ZeroHash } from 'ethers/constants';
import { keccak256 } from 'ethers/crypto';
import { assertNever } from '../../protocol/errors.ts';
import type { Address, Bytes32 } from '../../protocol/ids.ts';
import type { Outcome } from '../../protocol/verdict.ts';
import type { Arguments } from './abi.ts';
import type { RenderEscrow } from './artifacts.ts';
import type { BatchState, ChainBatch, Word } from './chain.ts';
import { type EscrowEvent, escrow } from './contracts.ts';
import { partsOfBatchKey } from './keys.ts';

/** The contract's `Batch`. */
export type BatchStruct = Arguments<typeof RenderEscrow.abi, 'expire'>[1];

/** The events that move a batch. */
export type BatchEvent = Extract<EscrowEvent, { args: { batchKey: Bytes32 } }>;

/** In the order of the Solidity enums. */
const STATES = [
  'none',
  'committed',
  'drawn',
  'second',
  'committee',
  'judged',
  'settled',
  'expired',
] as const satisfies readonly BatchState[];
const OUTCOMES = [null, 'pass', 'fail', 'inconclusive'] as const satisfies readonly (Outcome | null)[];

const NOBODY = ZeroAddress as Address;
const NOTHING = ZeroHash as Bytes32;

const EMPTY: BatchStruct = {
  jobKey: NOTHING,
  root: NOTHING,
  seed: NOTHING,
  operator: NOBODY,
  amount: 0n,
  stake: 0n,
  count: 0,
  anchor: 0n,
  committedAt: 0,
  since: 0,
  state: 0,
  turns: 0,
  verifier: NOBODY,
  second: NOBODY,
  firstOutcome: 0,
  secondOutcome: 0,
  outcome: 0,
  agreed: false,
  last: false,
  disputer: NOBODY,
  bond: 0n,
  panel: NOTHING,
};

export type FoldedBatch = {
  batchKey: Bytes32;
  /** What the contract has hashed; of an ended batch, the last that it had. */
  struct: BatchStruct;
  state: BatchState;
  reanchors: number;
  first: Word | null;
  second: Word | null;
  members: readonly Address[];
  votes: readonly Word[];
  paid: bigint;
  slashed: bigint;
};

/** A batch of which there is no event. */
export function emptyFold(batchKey: Bytes32): FoldedBatch {
  return {
    ...{ batchKey, struct: EMPTY, state: 'none', reanchors: 0, first: null, second: null },
    ...{ members: [], votes: [], paid: 0n, slashed: 0n },
  };
}

/** All events of one batch, in their order. */
export function foldBatch(batchKey: Bytes32, events: readonly BatchEvent[]): FoldedBatch {
  return events.reduce(nextFold, emptyFold(batchKey));
}

/** The batch after one more of its events. */
export function nextFold(fold: FoldedBatch, event: BatchEvent): FoldedBatch {
  const to = (state: BatchState, change: Partial<BatchStruct>): Pick<FoldedBatch, 'state' | 'struct'> => ({
    state,
    struct: { ...fold.struct, ...change, state: STATES.indexOf(state) },
  });
  switch (event.name) {
    case 'Committed': {
      const { jobKey, operator, root, count, amount, stake, anchor, since } = event.args;
      const made = { ...EMPTY, jobKey, operator, root, count, amount, stake, anchor };
      return { ...emptyFold(fold.batchKey), ...to('committed', { ...made, committedAt: since, since }) };
    }
    case 'Reanchored': {
      const { anchor, since } = event.args;
      return { ...fold, ...to('committed', { anchor, since }), reanchors: fold.reanchors + 1 };
    }
    case 'Drawn': {
      const { seed, verifier, since } = event.args;
      return { ...fold, ...to('drawn', { seed, verifier, since }) };
    }
    case 'Replaced': {
      const { verifier, turns, since } = event.args;
      const asked = fold.state === 'second' ? { second: verifier } : { verifier };
      return { ...fold, ...to(fold.state, { ...asked, turns, since }) };
    }
    case 'Attested': {
      const { outcome, next, since } = event.args;
      const word = wordOf(event.args);
      if (fold.state === 'second') {
        return { ...fold, ...to('second', { secondOutcome: outcome, since }), second: word };
      }
      const firstOutcome = { firstOutcome: outcome, since };
      if (next === NOBODY) return { ...fold, ...to('drawn', firstOutcome), first: word };
      return { ...fold, ...to('second', { ...firstOutcome, second: next }), first: word };
    }
    case 'CommitteeCalled': {
      const { members, disputer, bond, since } = event.args;
      return { ...fold, ...to('committee', { panel: panelOf(members), disputer, bond, since }), members };
    }
    case 'Voted':
      return { ...fold, votes: [...fold.votes, wordOf(event.args)] };
    case 'Judged': {
      const { outcome, agreed, last, since } = event.args;
      // The contract gives the bond back or away, and remembers only a disputer that was right: it has a share coming.
      const right = fold.struct.outcome !== outcome ? fold.struct.disputer : NOBODY;
      const settled = last ? { bond: 0n, disputer: right } : {};
      return { ...fold, ...to('judged', { outcome, agreed, last, since, ...settled }) };
    }
    case 'Settled':
      return { ...fold, state: 'settled', paid: event.args.paid, slashed: event.args.slashed };
    case 'Expired':
      return { ...fold, state: 'expired' };
    default:
      return assertNever(event);
  }
}

/** keccak256(abi.encode(members)): what the contract keeps of a committee. */
export function panelOf(members: readonly Address[]): Bytes32 {
  return keccak256(AbiCoder.defaultAbiCoder().encode(['address[]'], [members])) as Bytes32;
}

/** keccak256(abi.encode(batchKey, Batch)): what the lane holds while the batch is under way. */
export function hashOfBatch(batchKey: Bytes32, struct: BatchStruct): Bytes32 {
  // The arguments of `expire` are these two, and none has a length: behind the selector lies just what is hashed.
  return keccak256(`0x${escrow.encode('expire', [batchKey, struct]).slice(10)}`) as Bytes32;
}

/** Whether a lane's word is the hash of a batch under way; a free lane holds a generation, and no hash is so small. */
export function isHash(word: Bytes32): boolean {
  return BigInt(word) >= 2n ** 64n;
}

/**
 * Whether the events were all of them, by the word of the batch's lane. What the word cannot tell: that a batch never
 * was, where the lane holds another one that is under way.
 */
export function agreesWithLane(fold: FoldedBatch, word: Bytes32): boolean {
  const { generation } = partsOfBatchKey(fold.batchKey);
  const held = BigInt(word);
  switch (fold.state) {
    case 'none':
      return held !== generation;
    case 'settled':
    case 'expired':
      return held >= generation;
    case 'committed':
    case 'drawn':
    case 'second':
    case 'committee':
    case 'judged':
      return word === hashOfBatch(fold.batchKey, fold.struct);
    default:
      return assertNever(fold.state);
  }
}

/** The port's record. */
export function chainBatchOf(fold: FoldedBatch): ChainBatch {
  const { struct, state, batchKey, members, votes, first, second } = fold;
  const { jobKey, operator, root, count, amount, stake, anchor, committedAt, since, agreed, last } = struct;
  const outcome = OUTCOMES[struct.outcome] ?? null;
  const words = [...votes, second, first].filter((word) => word !== null);
  return {
    ...{ state, jobKey, operator, root, count, amount, stake, anchor, committedAt, since, agreed, last },
    node: state === 'none' ? NOBODY : partsOfBatchKey(batchKey).node,
    reanchors: fold.reanchors,
    seed: struct.seed === NOTHING ? null : struct.seed,
    asked: askedOf(fold),
    ...{ first, second, members, votes, outcome },
    // A silence, or words that contradict each other, can judge without anybody having said the outcome.
    evidence: words.find((word) => word.outcome === outcome)?.evidence ?? null,
    disputer: struct.disputer === NOBODY ? null : struct.disputer,
    bond: struct.bond,
    paid: fold.paid,
    slashed: fold.slashed,
  };
}

function askedOf({ state, struct, members }: FoldedBatch): readonly Address[] {
  if (state === 'drawn') return [struct.verifier];
  if (state === 'second') return [struct.second];
  return state === 'committee' ? members : [];
}

function wordOf({ by, outcome, evidence }: { by: Address; outcome: number; evidence: Bytes32 }): Word {
  return { verifier: by, outcome: OUTCOMES[outcome] ?? 'inconclusive', evidence };
}
