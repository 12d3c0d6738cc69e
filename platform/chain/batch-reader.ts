/** Batches as the chain has them: events and lanes in one round trip, and the ones held against the others. */
import { z } from 'zod';
import { FarmError, isFarmError } from '../../protocol/errors.ts';
import type { Address, Bytes32 } from '../../protocol/ids.ts';
import type { Log } from './abi.ts';
import {
  agreesWithLane,
  type BatchEvent,
  emptyFold,
  type FoldedBatch,
  foldBatch,
  isHash,
} from './batch-fold.ts';
import { answerOf, callRequest } from './calls.ts';
import { escrow } from './contracts.ts';
import type { EventFollower } from './follow-events.ts';
import type { Rpc } from './json-rpc.ts';
import { refusals } from './refusals.ts';

/** Keys of one question: nodes limit how many topics a filter may name, and how long a request may be. */
const KEYS_PER_QUESTION = 200;
/** A block can come between the two halves of an answer; that it happens so often in a row means something else. */
const TRIES = 5;

const logSchema = z.object({ blockNumber: z.string(), topics: z.array(z.string()), data: z.string() });

export type BatchReaderOptions = {
  rpc: Rpc;
  escrowAddress: Address;
  /** The block of the contracts' deployment: nothing is older. */
  deployedBlock: number;
  /** Where events are followed: then only what is newer is asked for. */
  follower?: EventFollower | null;
};

export type BatchReader = (keys: readonly Bytes32[], signal?: AbortSignal) => Promise<FoldedBatch[]>;

/** Reads batches, in the order of the keys. CHAIN_UNAVAILABLE while events and lanes do not agree. */
export function batchReader({
  rpc,
  escrowAddress,
  deployedBlock,
  follower,
}: BatchReaderOptions): BatchReader {
  /** In which block a batch that is under way was committed, so that the next question need not go back further. */
  const committedIn = new Map<Bytes32, bigint>();

  /** What is known of a batch from before the blocks that are asked for. */
  const knownOf = (key: Bytes32, from: bigint): BatchEvent[] =>
    (follower?.about(key) ?? [])
      .filter(({ address, blockNumber }) => address === escrowAddress && blockNumber < from)
      .map(batchEventOf)
      .filter((event) => event !== null);

  const askFrom = async (keys: readonly Bytes32[], from: bigint, signal?: AbortSignal) => {
    const filter = {
      address: escrowAddress,
      fromBlock: `0x${from.toString(16)}`,
      toBlock: 'latest',
      topics: [null, keys],
    };
    const [rawLogs, ...words] = await refusals('batches', () =>
      rpc.batch(
        [
          { method: 'eth_getLogs', params: [filter] },
          ...keys.map((key) => callRequest(escrowAddress, escrow.encode('lane', [key]))),
        ],
        signal,
      ),
    );
    const events = new Map<Bytes32, BatchEvent[]>(keys.map((key) => [key, knownOf(key, from)]));
    for (const log of z.array(logSchema).parse(rawLogs)) {
      const event = batchEventOf(log);
      if (event === null) continue;
      if (event.name === 'Committed') committedIn.set(event.args.batchKey, BigInt(log.blockNumber));
      events.get(event.args.batchKey)?.push(event);
    }
    return keys.map((key, at) => ({
      fold: foldBatch(key, events.get(key) ?? []),
      word: answerOf(escrow, escrowAddress, 'lane', words[at]),
    }));
  };

  const readSome = async (keys: readonly Bytes32[], signal?: AbortSignal): Promise<FoldedBatch[]> => {
    const start = BigInt(deployedBlock);
    let wrong: Bytes32 | undefined;
    for (let attempt = 0; attempt < TRIES; attempt++) {
      // The newest block again, since there is always one: a range that is empty is refused by some nodes.
      const followed = await follower?.advance(signal);
      const from =
        followed ?? keys.map((key) => committedIn.get(key) ?? start).reduce((a, b) => (a < b ? a : b));
      const answers = await askFrom(keys, from, signal).catch((error: unknown) => {
        // A chain that was killed came back shorter, and knows no such block.
        if (from !== start && isFarmError(error, 'CHAIN_UNAVAILABLE')) return null;
        throw error;
      });
      const complete = followed !== undefined || from === start;
      wrong = answers?.find(
        ({ fold, word }) =>
          !agreesWithLane(fold, word) || (!complete && fold.state === 'none' && isHash(word)),
      )?.fold.batchKey;
      if (answers !== null && wrong === undefined) return answers.map(({ fold }) => fold);
      // The same batch may lie in another block now: from the start.
      for (const key of keys) committedIn.delete(key);
    }
    throw new FarmError('CHAIN_UNAVAILABLE', `the events of batch ${wrong} are not those of its lane`, {
      kept: 'Nothing was decided by them.',
    });
  };

  return async (keys, signal) => {
    const distinct = [...new Set(keys)];
    const found = new Map<Bytes32, FoldedBatch>();
    for (let at = 0; at < distinct.length; at += KEYS_PER_QUESTION) {
      const folds = await readSome(distinct.slice(at, at + KEYS_PER_QUESTION), signal);
      for (const fold of folds) {
        found.set(fold.batchKey, fold);
        if (fold.state === 'settled' || fold.state === 'expired') committedIn.delete(fold.batchKey);
      }
    }
    return keys.map((key) => found.get(key) ?? emptyFold(key));
  };
}

function batchEventOf(log: Log): BatchEvent | null {
  const event = escrow.event(log);
  return event !== null && 'batchKey' in event.args ? (event as BatchEvent) : null;
}
