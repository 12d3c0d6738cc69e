/**
 * Blocks of the embedded chain: there is no other producer, so whoever needs one asks for it.
 *
 * Measured on anvil 1.7.1: after a restart, contracts see a made-up hash for every block from before it, the
 * keccak256 of the block's number in decimal, which anybody could have known in advance. A seed drawn from that
 * would be no draw. Such batches are aged until the contract sees no hash at all and anchors them anew.
 */
import { z } from 'zod';
import { FarmError } from '../../protocol/errors.ts';
import { quantity, type Rpc } from './json-rpc.ts';

const BLOCK_HASH_REACH = 256n;

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
  const latest = quantity(await rpc.call('eth_blockNumber', [], signal));
  if (latest - number >= BLOCK_HASH_REACH) return;
  const [header, seen] = await rpc.batch(
    [
      { method: 'eth_getBlockByNumber', params: [`0x${number.toString(16)}`, false] },
      { method: 'eth_call', params: [{ data: blockHashProgram(number) }, 'latest'] },
    ],
    signal,
  );
  const parsed = z.object({ hash: z.string() }).safeParse(header);
  if (!parsed.success)
    throw new FarmError('CHAIN_UNAVAILABLE', `the chain does not know its block ${number}`);
  if (seen === `0x00${parsed.data.hash.slice(2)}`) return;
  await mineUpTo(rpc, number + BLOCK_HASH_REACH + 1n, signal);
}

/**
 * PUSH8 number, BLOCKHASH, PUSH1 1, MSTORE, PUSH1 33, PUSH1 0, RETURN: what a contract would see, after a zero byte,
 * since what such a call returns counts as code to deploy, which must not begin with EF.
 */
function blockHashProgram(number: bigint): string {
  return `0x67${number.toString(16).padStart(16, '0')}4060015260216000f3`;
}
