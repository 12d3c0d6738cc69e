/** Puts the farm's contracts on the embedded chain. On any other chain that is a person's decision, not a program's. */
import { z } from 'zod';
import { FarmError } from '../../protocol/errors.ts';
import { type Address, addressSchema, type Bytes32 } from '../../protocol/ids.ts';
import { RenderEscrow, TestToken } from './artifacts.ts';
import { jsonRpc, quantity, RpcError } from './json-rpc.ts';
import { addressOf, type PrivateKey } from './signing.ts';
import { escrowInterface, type Sender, tokenInterface, transactionSender } from './transactions.ts';

/** A million ether: gas on the embedded chain costs nothing that anybody has. */
const GAS_MONEY = `0x${(10n ** 24n).toString(16)}`;

export type Deployment = { chainId: number; tokenAddress: Address; escrowAddress: Address };

export type DeployOptions = {
  coordinatorKey: PrivateKey;
  verifierAddress: Address;
  /** Head of the verifier's secret chain (secret-chain.ts). */
  verifierHead: Bytes32;
  signal: AbortSignal;
};

/** Deploys token and escrow. Every call makes new ones: store what it returns, and ask `isDeployed` first. */
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
  const sender = transactionSender(rpc, chainId, coordinatorKey);
  const token = tokenInterface.encodeDeploy([coordinator]);
  const tokenAddress = await deploy(sender, 'TestToken', TestToken.bytecode, token, signal);
  const escrow = escrowInterface.encodeDeploy([
    tokenAddress,
    coordinator,
    options.verifierAddress,
    options.verifierHead,
  ]);
  const escrowAddress = await deploy(sender, 'RenderEscrow', RenderEscrow.bytecode, escrow, signal);
  return { chainId, tokenAddress, escrowAddress };
}

/** True when the chain at `url` is that chain and carries those contracts. */
export async function isDeployed(
  url: string,
  deployment: Deployment,
  signal?: AbortSignal,
): Promise<boolean> {
  const rpc = jsonRpc(url);
  const { tokenAddress, escrowAddress } = deployment;
  const asked = { to: escrowAddress, data: escrowInterface.encodeFunctionData('token') };
  try {
    const [chainId, code, token] = await rpc.batch(
      [
        { method: 'eth_chainId', params: [] },
        { method: 'eth_getCode', params: [tokenAddress, 'latest'] },
        { method: 'eth_call', params: [asked, 'latest'] },
      ],
      signal,
    );
    if (Number(quantity(chainId)) !== deployment.chainId || code === '0x' || token === '0x') return false;
    const [named] = escrowInterface.decodeFunctionResult('token', z.string().parse(token));
    return addressSchema.parse(named) === tokenAddress;
  } catch (error) {
    // The escrow's address holds some other contract.
    if (error instanceof RpcError) return false;
    throw error;
  }
}

async function deploy(
  sender: Sender,
  name: string,
  bytecode: string,
  encodedArguments: string,
  signal: AbortSignal,
): Promise<Address> {
  const data = bytecode + encodedArguments.slice(2);
  const { contractAddress } = await sender.send({ to: null, data, label: `deploy ${name}` }, signal);
  if (contractAddress === null)
    throw new FarmError('CHAIN_UNAVAILABLE', `the chain names no address for ${name}`);
  return contractAddress;
}
