/** Questions to contracts: asked, answered and refused in their own words. */
import { z } from 'zod';
import { FarmError } from '../../protocol/errors.ts';
import type { Address } from '../../protocol/ids.ts';
import type { Abi, Arguments, Contract, FunctionName, Result } from './abi.ts';
import { type Rpc, RpcError, type RpcRequest } from './json-rpc.ts';
import { refusals } from './refusals.ts';

/** The request that asks a contract on the newest block. */
export function callRequest(to: Address, data: string): RpcRequest {
  return { method: 'eth_call', params: [{ to, data }, 'latest'] };
}

/** What a contract answered, or CHAIN_UNAVAILABLE where there is none: an address without code answers nothing. */
export function answerOf<A extends Abi, const Name extends FunctionName<A>>(
  contract: Contract<A>,
  to: Address,
  name: Name,
  raw: unknown,
): Result<A, Name> {
  if (raw === '0x')
    throw new FarmError('CHAIN_UNAVAILABLE', `at ${to} there is no contract on this chain`, {
      kept: 'Nothing was sent.',
    });
  return contract.decode(name, z.string().parse(raw));
}

/** How often a question is asked again that fell between two blocks; each time it takes a millisecond. */
const MAX_ASKS = 5;

/**
 * anvil answers a question about the newest block, while it makes the next one, with an error: the state that it looked for
 * is not kept any more. Reading can be repeated.
 */
async function betweenBlocks<Value>(question: () => Promise<Value>): Promise<Value> {
  for (let asked = 1; ; asked++) {
    try {
      return await question();
    } catch (error) {
      const between = error instanceof RpcError && error.message.includes('BlockOutOfRange');
      if (!between || asked === MAX_ASKS) throw error;
    }
  }
}

/** Asks one contract one thing. */
export async function ask<A extends Abi, const Name extends FunctionName<A>>(
  rpc: Rpc,
  contract: Contract<A>,
  to: Address,
  name: Name,
  args: Arguments<A, Name>,
  signal?: AbortSignal,
): Promise<Result<A, Name>> {
  const { method, params } = callRequest(to, contract.encode(name, args));
  const raw = await refusals(name, () => betweenBlocks(() => rpc.call(method, params, signal)));
  return answerOf(contract, to, name, raw);
}
