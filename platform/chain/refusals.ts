/** What a node or a contract refuses, as the farm's errors. */
import { FarmError } from '../../protocol/errors.ts';
import { escrow, registry, token } from './contracts.ts';
import { RpcError } from './json-rpc.ts';

/** Runs `ask`; what the contract refuses becomes CHAIN_REVERTED in the contract's own words. */
export async function refusals<Value>(label: string, ask: () => Promise<Value>): Promise<Value> {
  try {
    return await ask();
  } catch (error) {
    if (!(error instanceof RpcError)) throw error;
    throw refusalOf(label, error);
  }
}

function refusalOf(label: string, error: RpcError): FarmError {
  const reason = decodeRevert(error.data);
  if (reason !== null) {
    const args = Object.entries(reason.args).map(([name, value]) => `${name} ${value}`);
    return new FarmError('CHAIN_REVERTED', `${label}: ${reason.error}(${args.join(', ')})`, {
      cause: error,
      kept: 'No money moved.',
      details: reason,
    });
  }
  if (/revert/i.test(error.message)) {
    return new FarmError('CHAIN_REVERTED', `${label}: reverted without a reason`, {
      cause: error,
      kept: 'No money moved.',
    });
  }
  // The node's own words: there is no code for it that all nodes share.
  if (/insufficient (funds|balance)|out of gas.*balance/i.test(error.message)) {
    return new FarmError('CHAIN_GAS_MONEY', `${label}: the account cannot pay for gas: ${error.message}`, {
      cause: error,
      kept: 'Nothing was sent.',
    });
  }
  // Not the contract's word: a nonce taken by another program, a node that is still syncing.
  return new FarmError('CHAIN_UNAVAILABLE', `${label}: the chain refused it: ${error.message}`, {
    cause: error,
  });
}

/** The name and arguments of a custom error of any of the contracts, or null when the bytes are none. */
function decodeRevert(data: string | undefined): { error: string; args: Record<string, string> } | null {
  if (data === undefined || data.length < 10) return null;
  for (const contract of [escrow, registry, token]) {
    const parsed = contract.error(data);
    if (parsed !== null) return { error: parsed.name, args: parsed.args };
  }
  return { error: 'unknown error', args: { data } };
}
