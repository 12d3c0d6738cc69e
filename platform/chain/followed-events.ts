/**
 * What is known of a chain's events, and what of it still holds: steps from block to block, each with the hash of its last
 * block. Pure. A step is settled when enough blocks lie on top; what is newer is forgotten when its block is no longer
 * the chain's.
 */
import type { Address, Bytes32 } from '../../protocol/ids.ts';

export type BlockRef = { number: bigint; hash: string };

export type FollowedLog = {
  blockNumber: bigint;
  logIndex: number;
  txHash: Bytes32;
  address: Address;
  topics: string[];
  data: string;
};

/** All logs of the blocks after the step before, up to and including `to`. */
export type Step = { to: BlockRef; logs: readonly FollowedLog[] };

export type Followed = {
  /** The last block that is settled; null before there is any. */
  checkpoint: BlockRef | null;
  settled: readonly FollowedLog[];
  recent: readonly Step[];
};

export const NOTHING_FOLLOWED: Followed = { checkpoint: null, settled: [], recent: [] };

/** The blocks whose hashes say what still holds, oldest first. */
export function marks({ checkpoint, recent }: Followed): BlockRef[] {
  const steps = recent.map(({ to }) => to);
  return checkpoint === null ? steps : [checkpoint, ...steps];
}

/**
 * What still holds on a chain that has these hashes for the marks' blocks (null: no such block). All steps from the first
 * block that is another are forgotten; everything, where even the checkpoint is.
 */
export function held(followed: Followed, hashes: ReadonlyMap<bigint, string | null>): Followed {
  const holds = ({ number, hash }: BlockRef): boolean => hashes.get(number) === hash;
  if (followed.checkpoint !== null && !holds(followed.checkpoint)) return NOTHING_FOLLOWED;
  const broken = followed.recent.findIndex(({ to }) => !holds(to));
  return broken < 0 ? followed : { ...followed, recent: followed.recent.slice(0, broken) };
}

/**
 * The next blocks to ask for, at most `span` of them; null when everything up to `head` is there. What is `depth` blocks
 * deep and what is not are different steps, so that the first can be settled at once.
 */
export function nextRange(
  followed: Followed,
  chain: { from: bigint; head: bigint; span: bigint; depth: bigint },
): { from: bigint; to: bigint } | null {
  const last = marks(followed).at(-1);
  const from = last === undefined ? chain.from : last.number + 1n;
  if (from > chain.head) return null;
  const deep = chain.head - chain.depth;
  const most = from <= deep ? deep : chain.head;
  const to = from + chain.span - 1n;
  return { from, to: to < most ? to : most };
}

/** One step further. */
export function extended(followed: Followed, step: Step): Followed {
  return { ...followed, recent: [...followed.recent, step] };
}

/** Moves what lies `depth` blocks below `head` to what is settled. */
export function settledBelow(followed: Followed, head: bigint, depth: bigint): Followed {
  const deep = followed.recent.filter(({ to }) => to.number + depth <= head);
  const last = deep.at(-1);
  if (last === undefined) return followed;
  return {
    checkpoint: last.to,
    settled: [...followed.settled, ...deep.flatMap(({ logs }) => logs)],
    recent: followed.recent.slice(deep.length),
  };
}

/** All that is known, in the order of the chain. */
export function allLogs({ settled, recent }: Followed): readonly FollowedLog[] {
  return [...settled, ...recent.flatMap(({ logs }) => logs)];
}
