/** What a contract sees of the hash of a past block, which is less than what a node shows. */
import { z } from 'zod';
import { FarmError } from '../../protocol/errors.ts';
import { type Rpc, RpcError } from './json-rpc.ts';

/** How many blocks back the EVM itself shows a hash. */
export const BLOCK_HASH_REACH = 256n;
/** And how many the history contract of EIP-2935, where a chain has it: at the same address everywhere. */
export const HISTORY_REACH = 8_191n;
const HISTORY_CONTRACT = '0x0000f90827f1c53a10cb7a02335b175320002935';

/** The hash of block `number` as the EVM shows it on the newest block; null when it shows none. */
export async function evmHash(rpc: Rpc, number: bigint, signal?: AbortSignal): Promise<string | null> {
  const seen = await rpc.call('eth_call', [{ data: blockHashProgram(number) }, 'latest'], signal);
  return orNull(`0x${z.string().parse(seen).slice(4)}`);
}

/** The same as the history contract has it; null when there is none, or it does not go back so far. */
export async function historyHash(rpc: Rpc, number: bigint, signal?: AbortSignal): Promise<string | null> {
  try {
    const data = `0x${number.toString(16).padStart(64, '0')}`;
    const hash = await rpc.call('eth_call', [{ to: HISTORY_CONTRACT, data }, 'latest'], signal);
    return orNull(z.string().parse(hash));
  } catch (error) {
    // It refuses what it does not know.
    if (error instanceof RpcError) return null;
    throw error;
  }
}

/** The true hash of block `number`: the one in its header. */
export async function headerHash(rpc: Rpc, number: bigint, signal?: AbortSignal): Promise<string> {
  const header = await rpc.call('eth_getBlockByNumber', [`0x${number.toString(16)}`, false], signal);
  const parsed = z.object({ hash: z.string() }).safeParse(header);
  if (!parsed.success)
    throw new FarmError('CHAIN_UNAVAILABLE', `the chain does not know its block ${number}`);
  return parsed.data.hash;
}

/**
 * PUSH8 number, BLOCKHASH, PUSH1 1, MSTORE, PUSH1 33, PUSH1 0, RETURN: what a contract would see, after a zero byte,
 * since what such a call returns counts as code to deploy, which must not begin with EF.
 */
function blockHashProgram(number: bigint): string {
  return `0x67${number.toString(16).padStart(16, '0')}4060015260216000f3`;
}

function orNull(hash: string): string | null {
  return /^0x0*$/.test(hash) ? null : hash;
}
