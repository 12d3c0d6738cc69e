/** Whether a chain that others run has what a farm is about to work with: asked before anything is started. */
import { TypedDataEncoder } from 'ethers/hash';
import { formatEther } from 'ethers/utils';
import { FarmError, isFarmError } from '../../protocol/errors.ts';
import type { Address } from '../../protocol/ids.ts';
import { ask } from './calls.ts';
import { escrow, token } from './contracts.ts';
import { isDeployed } from './deploy.ts';
import type { Deployment } from './deployment.ts';
import { jsonRpc, originOf, quantity } from './json-rpc.ts';
import { refusals } from './refusals.ts';
import { TEST_TOKEN_NAME, tokenDomain } from './signing.ts';
import { requireChain } from './transactions.ts';

/** What the farm's amounts are written in, everywhere. */
const TOKEN_DECIMALS = 6;

const kept = { kept: 'Nothing was started, and nothing was sent.' };

/**
 * Throws CHAIN_WRONG on another chain, and CHAIN_NOT_READY where the contracts are not there, another account is the
 * escrow's coordinator, or the token is none that the farm can sign for.
 */
export async function requireContracts(
  url: string,
  deployment: Deployment,
  coordinator: Address,
  signal: AbortSignal,
): Promise<void> {
  const rpc = jsonRpc(url);
  const { chainId, escrowAddress, registryAddress, tokenAddress } = deployment;
  requireChain(
    rpc,
    chainId,
    await refusals('the id of the chain', () => rpc.call('eth_chainId', [], signal)),
  );
  if (!(await isDeployed(url, deployment, signal)))
    throw new FarmError(
      'CHAIN_NOT_READY',
      `chain ${chainId} at ${originOf(url)} has not these contracts: escrow ${escrowAddress}, registry ${registryAddress}, token ${tokenAddress}`,
      kept,
    );
  const config = await ask(rpc, escrow, escrowAddress, 'config', [], signal);
  if (config.coordinator !== coordinator)
    throw new FarmError(
      'CHAIN_NOT_READY',
      `the escrow ${escrowAddress} takes batches from ${config.coordinator}, and this farm's coordinator is ${coordinator}`,
      kept,
    );
  const decimals = await ask(rpc, token, tokenAddress, 'decimals', [], signal);
  // Whoever signs a permit signs the token's own name with it; another one's signatures it would not take.
  const separator = await ask(rpc, token, tokenAddress, 'DOMAIN_SEPARATOR', [], signal).catch(
    (error: unknown) => {
      if (isFarmError(error, 'CHAIN_REVERTED')) return null;
      throw error;
    },
  );
  if (
    decimals === TOKEN_DECIMALS &&
    separator === TypedDataEncoder.hashDomain(tokenDomain(chainId, tokenAddress))
  )
    return;
  throw new FarmError(
    'CHAIN_NOT_READY',
    `the token ${tokenAddress} has ${decimals} decimals or permits of its own kind; this version takes a token with ${TOKEN_DECIMALS} decimals whose permits are those of "${TEST_TOKEN_NAME}" (contracts/TestToken.sol)`,
    kept,
  );
}

/** The chain's own coin that an account has for gas, in its smallest unit. */
export async function gasMoneyOf(url: string, account: Address, signal: AbortSignal): Promise<bigint> {
  const rpc = jsonRpc(url);
  const asked = [account, 'latest'];
  return quantity(await refusals('the balance', () => rpc.call('eth_getBalance', asked, signal)));
}

/** An amount of a chain's own coin as people write it. */
export function coinText(amount: bigint): string {
  return formatEther(amount);
}
