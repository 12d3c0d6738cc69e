/** From a commit to a seed: waiting for the block, whose secret it takes, and a new anchor where the block is gone. */
import { FarmError, isFarmError } from '../../protocol/errors.ts';
import type { Address, Bytes32 } from '../../protocol/ids.ts';
import { pause } from '../wait.ts';
import type { FoldedBatch } from './batch-fold.ts';
import { BLOCK_HASH_REACH, HISTORY_REACH, historyHash } from './block-hashes.ts';
import { ensureRealBlockHash, mineUpTo } from './embedded-blocks.ts';
import { quantity, type Rpc } from './json-rpc.ts';

/** Closer to the end of a hash's reach than this a draw could come too late, and would show its secret for nothing. */
const DRAW_MARGIN = 8n;
const BLOCK_POLL_MS = 1_000;
const never = new AbortController().signal;

export type DrawingOptions = {
  rpc: Rpc;
  /** The chain makes blocks when asked (the farm's own), or they come by themselves. */
  embedded: boolean;
  folds(batchKeys: readonly Bytes32[], signal?: AbortSignal): Promise<FoldedBatch[]>;
  /** Sends `reanchor` with the batch as it is. */
  sendReanchor(fold: FoldedBatch, signal?: AbortSignal): Promise<unknown>;
};

export type Drawing = {
  waitUntilDrawable(batchKeys: readonly Bytes32[], signal?: AbortSignal): Promise<void>;
  /**
   * Whether the hash that draws of this anchor need is gone, or will be before a draw is in a block; then waits until it
   * is.
   */
  isHashGone(anchor: bigint, signal?: AbortSignal): Promise<boolean>;
  /** Waits, or embedded makes blocks, until the batch's drawer has let its time pass. */
  letTimePass(fold: FoldedBatch, drawBlocks: number, signal?: AbortSignal): Promise<void>;
};

export function drawing({ rpc, embedded, folds, sendReanchor }: DrawingOptions): Drawing {
  const latest = async (signal?: AbortSignal): Promise<bigint> =>
    quantity(await rpc.call('eth_blockNumber', [], signal));

  const waitForBlock = async (number: bigint, signal: AbortSignal = never): Promise<void> => {
    if (embedded) return mineUpTo(rpc, number, signal);
    while ((await latest(signal)) < number) {
      await pause(BLOCK_POLL_MS, signal);
      signal.throwIfAborted();
    }
  };

  const isHashGone: Drawing['isHashGone'] = async (anchor, signal) => {
    const deciding = anchor + 1n;
    const age = (await latest(signal)) - deciding;
    if (age < BLOCK_HASH_REACH - DRAW_MARGIN) return false;
    const reach = (await historyHash(rpc, deciding, signal)) === null ? BLOCK_HASH_REACH : HISTORY_REACH;
    if (age < reach - DRAW_MARGIN) return false;
    // Not before it is gone for certain: while it is there, a new anchor costs the drawer money.
    await waitForBlock(deciding + reach + 1n, signal);
    return true;
  };

  return {
    isHashGone,

    async waitUntilDrawable(batchKeys, signal = never) {
      for (;;) {
        signal.throwIfAborted();
        const found = await folds(batchKeys, signal);
        const unknown = found.find(({ state }) => state === 'none');
        if (unknown !== undefined)
          throw new FarmError('CHAIN_REVERTED', `batch ${unknown.batchKey} is not committed`);
        const undrawn = found.filter(({ state }) => state === 'committed');
        // Batches that were committed together share their block.
        const anchors = new Set(undrawn.map(({ struct }) => struct.anchor));
        const gone = new Set<bigint>();
        for (const anchor of anchors) {
          await waitForBlock(anchor + 2n, signal);
          if (embedded) await ensureRealBlockHash(rpc, anchor + 1n, signal);
          if (await isHashGone(anchor, signal)) gone.add(anchor);
        }
        if (gone.size === 0) return;
        for (const batch of undrawn.filter(({ struct }) => gone.has(struct.anchor))) {
          try {
            await sendReanchor(batch, signal);
          } catch (error) {
            // Somebody else was faster, with this or with a draw that just made it.
            if (!isFarmError(error, 'CHAIN_REVERTED')) throw error;
          }
        }
      }
    },

    async letTimePass({ struct }, drawBlocks, signal) {
      // Of a hash that the chain made up somebody would be punished who was never asked.
      if (embedded) await ensureRealBlockHash(rpc, struct.anchor + 1n, signal);
      await waitForBlock(struct.anchor + BigInt(drawBlocks) + 1n, signal);
    },
  };
}

/** The drawer as the port has it: nobody is null. */
export function drawerOrNull(drawer: Address): Address | null {
  return BigInt(drawer) === 0n ? null : drawer;
}
