/** `--contracts` with `--chain-url`: a chain that is there already, in place of the farm's own. */
import { readFile } from 'node:fs/promises';
import { z } from 'zod';
import type { Deployment } from '../../platform/chain/deployment.ts';
import { EMBEDDED_CHAIN_ID } from '../../platform/chain/embedded.ts';
import { FarmError } from '../../protocol/errors.ts';
import { addressSchema, type Bytes32, bytes32Schema } from '../../protocol/ids.ts';

export type PublicChainOptions = { contracts?: string; chainUrl?: string; confirmations?: string };

/** Everything that is to be known of it. `url` may hold somebody's key to a provider: it is shown by `originOf` alone. */
export type PublicFarmChain = {
  url: string;
  deployment: Deployment;
  confirmations: number;
  /** The escrow's coordinator; that of the data folder when left out. */
  coordinatorKey?: Bytes32 | undefined;
};

/** As many as ethers-chain.ts waits for, and what deploy-contracts waits for: two and a half minutes of Ethereum. */
const USUAL_CONFIRMATIONS = 12;

const kept = { kept: 'nothing was started' };

/** What `npm run deploy-contracts` writes, as far as a farm needs it; the rest is for people and explorers. */
const deploymentSchema = z.object({
  chainId: z.number().int().positive(),
  tokenAddress: addressSchema,
  escrowAddress: addressSchema,
  registryAddress: addressSchema,
  deployedBlock: z.number().int().min(0),
});

/** Undefined where nobody named another chain. Throws USAGE, without any key or address of a provider in it. */
export async function publicChain(
  { contracts, chainUrl, confirmations }: PublicChainOptions,
  environment: NodeJS.ProcessEnv,
): Promise<PublicFarmChain | undefined> {
  const url = providerUrl(chainUrl, environment);
  if (contracts === undefined) {
    if (url === undefined && confirmations === undefined) return undefined;
    throw new FarmError(
      'USAGE',
      "a chain is named, but no --contracts: which of its contracts are this farm's",
      kept,
    );
  }
  if (url === undefined)
    throw new FarmError(
      'USAGE',
      '--contracts needs a node of its chain: TESSERA_CHAIN_URL or --chain-url',
      kept,
    );
  return {
    url,
    deployment: await readContracts(contracts),
    confirmations: confirmations === undefined ? USUAL_CONFIRMATIONS : Number(confirmations),
    coordinatorKey: coordinatorKey(environment),
  };
}

/** TESSERA_COORDINATOR_KEY; undefined where the environment has none. Throws USAGE, without what was given. */
export function coordinatorKey(environment: NodeJS.ProcessEnv): Bytes32 | undefined {
  const text = environment['TESSERA_COORDINATOR_KEY'];
  if (text === undefined || text === '') return undefined;
  const key = bytes32Schema.safeParse(`0x${text.trim().toLowerCase().replace(/^0x/, '')}`);
  if (key.success) return key.data;
  throw new FarmError('USAGE', 'TESSERA_COORDINATOR_KEY is no private key: 64 hex digits', kept);
}

function providerUrl(option: string | undefined, environment: NodeJS.ProcessEnv): string | undefined {
  const [text, where] =
    option === undefined ? [environment['TESSERA_CHAIN_URL'], 'TESSERA_CHAIN_URL'] : [option, '--chain-url'];
  if (text === undefined || text === '') return undefined;
  const url = URL.canParse(text) ? new URL(text) : null;
  if (url === null || !/^https?:$/.test(url.protocol))
    throw new FarmError('USAGE', `${where} is no address such as https://provider.example/v2/KEY`, kept);
  // fetch refuses them, with the whole address in its message.
  if (url.username !== '' || url.password !== '')
    throw new FarmError(
      'USAGE',
      `${where} has a user or password before the host, where it cannot be used`,
      kept,
    );
  return text;
}

/** Throws USAGE for a file that is not there, is none of a deployment, or is of the farm's own chain. */
async function readContracts(file: string): Promise<Deployment> {
  let json: unknown;
  try {
    json = JSON.parse(await readFile(file, 'utf8'));
  } catch (error) {
    throw new FarmError('USAGE', `--contracts ${file} cannot be read as JSON`, { ...kept, cause: error });
  }
  const parsed = deploymentSchema.safeParse(json);
  if (!parsed.success)
    throw new FarmError(
      'USAGE',
      `--contracts ${file} is not what deploy-contracts writes (contracts/deployments/CHAIN.json): ${z.prettifyError(parsed.error)}`,
      kept,
    );
  if (parsed.data.chainId === EMBEDDED_CHAIN_ID)
    throw new FarmError(
      'USAGE',
      `--contracts ${file} is of chain ${EMBEDDED_CHAIN_ID}, the id of the farm's own chain, where money is made when asked`,
      kept,
    );
  return parsed.data;
}
