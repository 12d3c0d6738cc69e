/** Follows the events of contracts from block to block: gaps are filled, and what the chain takes back is forgotten. */
import { z } from 'zod';
import { isFarmError } from '../../protocol/errors.ts';
import { type Address, addressSchema, bytes32Schema } from '../../protocol/ids.ts';
import { Mutex } from '../mutex.ts';
import { appendEvents, readEventFile, resetEventFile } from './event-file.ts';
import {
  allLogs,
  extended,
  type Followed,
  type FollowedLog,
  held,
  marks,
  NOTHING_FOLLOWED,
  nextRange,
  type Step,
  settledBelow,
} from './followed-events.ts';
import { quantity, type Rpc, RpcError } from './json-rpc.ts';
import { refusals } from './refusals.ts';
import { requireChain } from './transactions.ts';

export type FollowOptions = {
  rpc: Rpc;
  chainId: number;
  addresses: readonly Address[];
  /** The first block that can have an event. */
  fromBlock: number;
  /** Where settled events are kept, so that the next start goes on from there; null keeps them in memory. */
  file: string | null;
  /** Blocks on top of an event until no reorganisation is expected to reach it. */
  depth: number;
  /** Blocks of one question at most; fewer when the node wants it so. */
  span?: number;
  onNotice?: (notice: string) => void;
};

export type EventFollower = {
  /** Goes on to the newest block, and returns it. */
  advance(signal?: AbortSignal): Promise<bigint>;
  /** All of the contracts' events up to there, in the order of the chain. */
  logs(): readonly FollowedLog[];
  /** Those whose first indexed value is this one. */
  about(topic: string): readonly FollowedLog[];
};

/** Most nodes answer for so many blocks at once. */
const DEFAULT_SPAN = 10_000;

const blockSchema = z.object({ number: z.string(), hash: z.string() });
const logSchema = z.object({
  blockNumber: z.string(),
  blockHash: z.string(),
  logIndex: z.string(),
  transactionHash: bytes32Schema,
  address: addressSchema,
  topics: z.array(z.string()),
  data: z.string(),
});

export function followEvents(options: FollowOptions): EventFollower {
  const { rpc, chainId, addresses, fromBlock, file, depth, onNotice = () => undefined } = options;
  const of = [chainId, fromBlock, ...addresses].join(' ');
  const turns = new Mutex();
  let span = BigInt(options.span ?? DEFAULT_SPAN);
  let followed: Followed | null = null;
  let index: { of: Followed; byTopic: Map<string, FollowedLog[]> } | null = null;

  /** The newest block, and the marks' blocks as the chain has them now. */
  const look = async (now: Followed, signal?: AbortSignal) => {
    const known = marks(now);
    const [id, latest, ...blocks] = await refusals('blocks', () =>
      rpc.batch(
        [
          { method: 'eth_chainId', params: [] },
          { method: 'eth_getBlockByNumber', params: ['latest', false] },
          ...known.map(({ number }) => blockRequest(number)),
        ],
        signal,
      ),
    );
    requireChain(rpc, chainId, id);
    const hashes = known.map(({ number }, at) => [
      number,
      blockSchema.nullable().parse(blocks[at])?.hash ?? null,
    ]);
    return {
      head: quantity(blockSchema.parse(latest).number),
      hashes: new Map(hashes as [bigint, string | null][]),
    };
  };

  /** The logs of a range; null when the chain moved while it was asked. Halves the range where a node wants less. */
  const stepTo = async (range: { from: bigint; to: bigint }, signal?: AbortSignal): Promise<Step | null> => {
    const filter = { address: addresses, fromBlock: hex(range.from), toBlock: hex(range.to) };
    try {
      const [before, rawLogs, after] = await refusals('events', () =>
        rpc.batch(
          [blockRequest(range.to), { method: 'eth_getLogs', params: [filter] }, blockRequest(range.to)],
          signal,
        ),
      );
      const [block, same] = [blockSchema.nullable().parse(before), blockSchema.nullable().parse(after)];
      const logs = z.array(logSchema).parse(rawLogs);
      const moved = logs.some(
        (log) => quantity(log.blockNumber) === range.to && log.blockHash !== block?.hash,
      );
      if (block === null || block.hash !== same?.hash || moved) return null;
      return { to: { number: range.to, hash: block.hash }, logs: logs.map(followedLog).toSorted(inOrder) };
    } catch (error) {
      const refused = isFarmError(error, 'CHAIN_UNAVAILABLE') && error.cause instanceof RpcError;
      if (!refused || range.from === range.to) throw error;
      span = (range.to - range.from + 1n) / 2n;
      return null;
    }
  };

  const settle = async (now: Followed, head: bigint): Promise<Followed> => {
    const next = settledBelow(now, head, BigInt(depth));
    if (next.checkpoint !== null && next !== now && file !== null) {
      await appendEvents(file, next.settled.slice(now.settled.length), next.checkpoint);
    }
    return next;
  };

  const advanceNow = async (signal?: AbortSignal): Promise<bigint> => {
    followed ??= file === null ? NOTHING_FOLLOWED : await readEventFile(file, of);
    for (;;) {
      signal?.throwIfAborted();
      const { head, hashes } = await look(followed, signal);
      const still = held(followed, hashes);
      if (still !== followed) {
        const back = marks(still).at(-1)?.number ?? fromBlock;
        onNotice(`the chain took blocks back: its events are read again from block ${back} on`);
        if (file !== null && still.checkpoint === null && followed.checkpoint !== null)
          await resetEventFile(file, of);
        followed = still;
        continue;
      }
      const range = nextRange(followed, { from: BigInt(fromBlock), head, span, depth: BigInt(depth) });
      if (range === null) {
        followed = await settle(followed, head);
        return head;
      }
      const step = await stepTo(range, signal);
      if (step !== null) followed = await settle(extended(followed, step), head);
    }
  };

  return {
    advance: (signal) => turns.run(() => advanceNow(signal)),
    logs: () => allLogs(followed ?? NOTHING_FOLLOWED),

    about(topic) {
      const now = followed ?? NOTHING_FOLLOWED;
      if (index?.of !== now) index = { of: now, byTopic: byFirstIndexed(allLogs(now)) };
      return index.byTopic.get(topic) ?? [];
    },
  };
}

function blockRequest(number: bigint): { method: string; params: unknown[] } {
  return { method: 'eth_getBlockByNumber', params: [hex(number), false] };
}

function hex(number: bigint): string {
  return `0x${number.toString(16)}`;
}

function followedLog(log: z.infer<typeof logSchema>): FollowedLog {
  const { address, topics, data, transactionHash: txHash } = log;
  const place = { blockNumber: quantity(log.blockNumber), logIndex: Number(quantity(log.logIndex)) };
  return { ...place, txHash, address, topics, data };
}

function inOrder(one: FollowedLog, other: FollowedLog): number {
  return Number(one.blockNumber - other.blockNumber) || one.logIndex - other.logIndex;
}

function byFirstIndexed(logs: readonly FollowedLog[]): Map<string, FollowedLog[]> {
  const byTopic = new Map<string, FollowedLog[]>();
  for (const log of logs) {
    const topic = log.topics[1] ?? '';
    const group = byTopic.get(topic);
    if (group === undefined) byTopic.set(topic, [log]);
    else group.push(log);
  }
  return byTopic;
}
