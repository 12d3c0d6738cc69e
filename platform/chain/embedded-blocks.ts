/**
 * Blocks of the embedded chain: there is no other producer, so whoever needs one asks for it.
 *
 * Measured on anvil 1.7.1: after a restart the EVM shows a made-up hash for every block from before it, the keccak256 of
 * the block's number in decimal, which anybody could have known in advance. A seed drawn from that would be no draw.
 * The history contract of EIP-2935 keeps the true ones, and is asked once the EVM shows none: so such batches are aged
 * until that is so.
 */
import { BLOCK_HASH_REACH, evmHash, HISTORY_REACH, headerHash, historyHash } from './block-hashes.ts';
import { quantity, type Rpc } from './json-rpc.ts';

/** One miner at a time per chain, so that two batches that wait do not both mine for it. */
const queues = new Map<string, Promise<unknown>>();

/** Mines until the newest block is `target` or later. */
export async function mineUpTo(rpc: Rpc, target: bigint, signal?: AbortSignal): Promise<void> {
  const mine = async (): Promise<void> => {
    const missing = target - quantity(await rpc.call('eth_blockNumber', [], signal));
    if (missing > 0n) await rpc.call('anvil_mine', [`0x${missing.toString(16)}`], signal);
  };
  const turn = (queues.get(rpc.url) ?? Promise.resolve()).then(mine, mine);
  queues.set(
    rpc.url,
    turn.catch(() => undefined),
  );
  return turn;
}

/** Makes sure that contracts see the true hash of block `number`, or, by mining past their reach, none at all. */
export async function ensureRealBlockHash(rpc: Rpc, number: bigint, signal?: AbortSignal): Promise<void> {
  const real = await headerHash(rpc, number, signal);
  const shown = await evmHash(rpc, number, signal);
  if (shown === real) return;
  // One more than the reach: the next transaction is a block further on than what is asked now.
  await mineUpTo(rpc, number + BLOCK_HASH_REACH + 1n, signal);
  const kept = await historyHash(rpc, number, signal);
  // A chain that ran without the history contract for a while can have an older block's hash in its place.
  if (kept !== null && kept !== real) await mineUpTo(rpc, number + HISTORY_REACH + 1n, signal);
}
