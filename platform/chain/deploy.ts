/** Puts the farm's contracts on the embedded chain. On any other chain that is a person's decision: deploy-real.ts. */
import { FarmError } from '../../protocol/errors.ts';
import { callRequest } from './calls.ts';
import type { ChainTerms } from './chain.ts';
import { escrow, registry } from './contracts.ts';
import { deployPlan } from './deploy-plan.ts';
import type { Deployment } from './deployment.ts';
import { ethersChain } from './ethers-chain.ts';
import { jsonRpc, quantity, RpcError } from './json-rpc.ts';
import { addressOf, type PrivateKey } from './signing.ts';
import { transactionSender } from './transactions.ts';
import { joinList, stakeByPermit, type VerifierKeys } from './verifier-place.ts';

/** A million ether: gas on the embedded chain costs nothing that anybody has. */
const GAS_MONEY = `0x${(10n ** 24n).toString(16)}`;

const DAY_S = 86_400;
/** The test token has six decimals. */
const TESS = 1_000_000n;

/**
 * What a farm of one's own works by. No dispute window: whoever doubts a judgement of this chain owns it. The rest is
 * docs/decisions/escrow.md.
 */
export const EMBEDDED_TERMS: ChainTerms = {
  verdictWindowS: 3_600,
  disputeWindowS: 0,
  committeeWindowS: DAY_S,
  expireWindowS: 7 * DAY_S,
  // Longer than a batch can be under way, with a day to spare.
  thawTimeS: 9 * DAY_S,
  joinDelayS: 0,
  drawBlocks: 128,
  missPenalty: TESS / 10n,
  verifierPenalty: 10n * TESS,
  disputeBond: TESS,
  slashFactor: 10,
  minVerifierStake: 50n * TESS,
};

/** What operators put down here: well above the least, or the first penalty would cost a verifier its place. */
export const EMBEDDED_STAKE = 100n * TESS;

export type DeployOptions = {
  coordinatorKey: PrivateKey;
  /** Who can check from the first batch on. */
  verifiers: readonly VerifierKeys[];
  /** Where they are not {@link EMBEDDED_TERMS}. */
  terms?: Partial<ChainTerms>;
  signal: AbortSignal;
};

/** Deploys all contracts. Every call makes new ones: store what it returns, and ask `isDeployed` first. */
export async function deployEmbedded(url: string, options: DeployOptions): Promise<Deployment> {
  const { coordinatorKey, signal } = options;
  const rpc = jsonRpc(url);
  const chainId = Number(quantity(await rpc.call('eth_chainId', [], signal)));
  const coordinator = addressOf(coordinatorKey);
  try {
    await rpc.call('anvil_setBalance', [coordinator, GAS_MONEY], signal);
  } catch (error) {
    if (!(error instanceof RpcError)) throw error;
    throw new FarmError('CHAIN_UNAVAILABLE', `the chain at ${url} is not an embedded one`, { cause: error });
  }
  const plan = deployPlan({
    deployer: coordinator,
    nonce: Number(quantity(await rpc.call('eth_getTransactionCount', [coordinator, 'latest'], signal))),
    tokenAddress: null,
    ...{ admin: coordinator, adminDelayS: 0, coordinator, treasury: coordinator, feeBps: 0 },
    terms: { ...EMBEDDED_TERMS, ...options.terms },
  });
  const sender = transactionSender(rpc, chainId, coordinatorKey);
  let deployedBlock: number | null = null;
  for (const step of plan.steps) {
    const { contractAddress, blockNumber } = await sender.send(step, signal);
    if (contractAddress !== step.address) {
      throw new FarmError('CHAIN_UNAVAILABLE', `${step.label}: the chain put it at ${contractAddress}`);
    }
    deployedBlock ??= Number(blockNumber);
  }
  const { tokenAddress, escrowAddress, registryAddress } = plan;
  const deployment = { chainId, tokenAddress, escrowAddress, registryAddress };
  const made = { ...deployment, deployedBlock: deployedBlock ?? 0 };
  for (const verifier of options.verifiers) await addVerifier(url, made, coordinatorKey, verifier, signal);
  return made;
}

/** Gives an operator test money, puts it down as its stake, and has its verifier join. */
async function addVerifier(
  url: string,
  deployment: Deployment,
  coordinatorKey: PrivateKey,
  keys: VerifierKeys,
  signal: AbortSignal,
): Promise<void> {
  // Nothing here waits for the chain's state file, so it needs to be named to nobody.
  const chain = ethersChain({ ...deployment, url, coordinatorKey, embedded: { stateFile: '' } });
  const operator = addressOf(keys.operatorKey);
  const { minVerifierStake, joinDelayS } = await chain.terms(signal);
  const amount = minVerifierStake > EMBEDDED_STAKE ? minVerifierStake : EMBEDDED_STAKE;
  await chain.mintTestTokens(operator, amount, signal);
  const { nonce } = await chain.operator(operator, signal);
  await stakeByPermit(chain, keys, { amount, nonce }, signal);
  await joinList(chain, keys, nonce + 1n, signal);
  if (joinDelayS === 0) await chain.activateVerifier(addressOf(keys.verifierKey), signal);
}

/** True when the chain at `url` is that chain and carries those contracts. */
export async function isDeployed(
  url: string,
  deployment: Deployment,
  signal?: AbortSignal,
): Promise<boolean> {
  const rpc = jsonRpc(url);
  const { chainId, tokenAddress, escrowAddress, registryAddress } = deployment;
  try {
    const [id, code, ...named] = await rpc.batch(
      [
        { method: 'eth_chainId', params: [] },
        { method: 'eth_getCode', params: [tokenAddress, 'latest'] },
        callRequest(escrowAddress, escrow.encode('token', [])),
        callRequest(escrowAddress, escrow.encode('registry', [])),
        callRequest(registryAddress, registry.encode('escrow', [])),
      ],
      signal,
    );
    if (Number(quantity(id)) !== chainId || code === '0x') return false;
    const expected = [tokenAddress, registryAddress, escrowAddress];
    return named.every((word, at) => word === `0x${expected[at]?.slice(2).padStart(64, '0')}`);
  } catch (error) {
    // An address holds some other contract.
    if (error instanceof RpcError) return false;
    throw error;
  }
}
