/**
 * The farm's contracts on a chain that is not its own: what would be sent and what it costs, and then the sending, step by
 * step. A run that broke off goes on where it was: its plan is kept until it is done, and each step has its own nonce.
 */
import { rm } from 'node:fs/promises';
import { z } from 'zod';
import { FarmError } from '../../protocol/errors.ts';
import { type Address, addressSchema } from '../../protocol/ids.ts';
import { readTextIfThere, writeFileAtomic } from '../files.ts';
import { ask } from './calls.ts';
import type { ChainTerms } from './chain.ts';
import { token } from './contracts.ts';
import { type DeployPlan, type DeployStep, deployPlan } from './deploy-plan.ts';
import type { Deployment } from './deployment.ts';
import { firstFees } from './fees.ts';
import { jsonRpc, quantity, type Rpc } from './json-rpc.ts';
import { refusals } from './refusals.ts';
import { addressOf, type PrivateKey } from './signing.ts';
import { transactionQueue } from './transaction-queue.ts';
import { baseFeeOf } from './transactions.ts';

/** contracts/TestToken.sol. */
const TEST_TOKEN_DECIMALS = 6;

const HOUR_S = 3_600;
const DAY_S = 86_400;

/**
 * Terms for strangers, money in whole tokens; `termsIn` gives them the token's decimals. Time for a verifier on another
 * continent, and for whoever doubts a judgement to see it.
 */
const PUBLIC_TERMS: ChainTerms = {
  verdictWindowS: 6 * HOUR_S,
  disputeWindowS: DAY_S,
  committeeWindowS: 2 * DAY_S,
  expireWindowS: 7 * DAY_S,
  // Longer than expiry, committee and dispute together.
  thawTimeS: 11 * DAY_S,
  joinDelayS: DAY_S,
  // 40 minutes of Ethereum; the hash can still be proved for 11 more.
  drawBlocks: 200,
  // Tenths of a token until `termsIn`: no whole one.
  missPenalty: 1n,
  verifierPenalty: 100n,
  disputeBond: 10n,
  slashFactor: 10,
  minVerifierStake: 1_000n,
};

/** The public terms in units of a token with so many decimals. */
export function publicTermsIn(decimals: number): ChainTerms {
  if (decimals < 1)
    throw new FarmError('USAGE', 'the token has no decimals; the penalties need tenths of it');
  const tenth = 10n ** BigInt(decimals - 1);
  return {
    ...PUBLIC_TERMS,
    missPenalty: PUBLIC_TERMS.missPenalty * tenth,
    verifierPenalty: PUBLIC_TERMS.verifierPenalty * tenth,
    disputeBond: PUBLIC_TERMS.disputeBond * tenth,
    minVerifierStake: PUBLIC_TERMS.minVerifierStake * tenth,
  };
}

export type RealDeployOptions = {
  url: string;
  key: PrivateKey;
  /** Null makes a test token, which the deployer can print: for chains whose coin is worth nothing. */
  tokenAddress: Address | null;
  /** Default: the deployer. */
  admin?: Address;
  adminDelayS: number;
  coordinator?: Address;
  treasury?: Address;
  feeBps: number;
  /** Where they are not the public terms; money in token units. */
  terms?: Partial<ChainTerms>;
  /** What was planned, until it is done. */
  planFile: string;
  signal: AbortSignal;
};

export type Prepared = {
  chainId: number;
  deployer: Address;
  terms: ChainTerms;
  plan: DeployPlan;
  firstNonce: number;
  /** What an earlier run began; null when there is none. */
  begun: Begun | null;
  /** Steps of an earlier run that are in a block. */
  done: number;
  head: number;
  /** Of each step, in order; null where it can be known only once the contract that it calls is there. */
  gas: readonly (bigint | null)[];
  /** Highest price of a unit of gas now, in wei, and what the account has. */
  gasPrice: bigint;
  balance: bigint;
};

const planSchema = z.object({
  chainId: z.number(),
  deployer: addressSchema,
  firstNonce: z.number(),
  /** The newest block when it began: nothing of the contracts is older. */
  deployedBlock: z.number(),
  steps: z.array(z.string()),
  /** Of each step that was sent, as far as it is known. */
  transactions: z.array(z.string().nullable()),
});
type Begun = z.infer<typeof planSchema>;

/** What would be sent now. Changes nothing, neither on the chain nor on disk. */
export async function prepareDeployment(options: RealDeployOptions): Promise<Prepared> {
  const { url, key, tokenAddress, signal } = options;
  const rpc = jsonRpc(url);
  const deployer = addressOf(key);
  const [id, nonce, balance, block, tip, code] = await rpc.batch(
    [
      { method: 'eth_chainId', params: [] },
      { method: 'eth_getTransactionCount', params: [deployer, 'latest'] },
      { method: 'eth_getBalance', params: [deployer, 'latest'] },
      { method: 'eth_getBlockByNumber', params: ['latest', false] },
      { method: 'eth_maxPriorityFeePerGas', params: [] },
      ...(tokenAddress === null ? [] : [{ method: 'eth_getCode', params: [tokenAddress, 'latest'] }]),
    ],
    signal,
  );
  const chainId = Number(quantity(id));
  if (code === '0x') {
    throw new FarmError('USAGE', `at ${tokenAddress} there is no token on chain ${chainId}`, {
      kept: 'Nothing was sent.',
    });
  }
  const decimals =
    tokenAddress === null ? TEST_TOKEN_DECIMALS : await ask(rpc, token, tokenAddress, 'decimals', [], signal);
  const terms = { ...publicTermsIn(decimals), ...options.terms };
  const { admin = deployer, coordinator = deployer, treasury = deployer } = options;
  const { adminDelayS, feeBps } = options;
  const make = (firstNonce: number): DeployPlan =>
    deployPlan({
      ...{
        deployer,
        nonce: firstNonce,
        tokenAddress,
        admin,
        adminDelayS,
        coordinator,
        treasury,
        feeBps,
        terms,
      },
    });
  const now = Number(quantity(nonce));
  const begun = await readPlan(options.planFile);
  const firstNonce = begun?.firstNonce ?? now;
  const plan = make(firstNonce);
  if (begun !== null && !isSamePlan(begun, { chainId, deployer, plan })) {
    throw new FarmError('USAGE', `${options.planFile} is of a deployment with other terms that is not done`, {
      kept: 'Nothing was sent. Give the same options again to complete it, or remove the file to begin another.',
    });
  }
  const done = Math.min(now - firstNonce, plan.steps.length);
  return {
    ...{ chainId, deployer, terms, plan, firstNonce, begun, done, balance: quantity(balance) },
    head: Number(quantity(z.object({ number: z.string() }).parse(block).number)),
    gas: await gasOf(rpc, deployer, { steps: plan.steps, done }, signal),
    gasPrice: firstFees({ baseFee: baseFeeOf(block), tip: quantity(tip) }).maxFeePerGas,
  };
}

export type Deployed = Deployment & { managerAddress: Address; transactions: readonly (string | null)[] };

/** Sends what is missing. CHAIN_UNAVAILABLE and CHAIN_GAS_MONEY leave a plan to go on with. */
export async function deployContracts(
  options: RealDeployOptions & { journalFile: string; confirmations: number; onStep(what: string): void },
): Promise<Deployed> {
  const { url, key, planFile, journalFile, confirmations, onStep, signal } = options;
  const { chainId } = await prepareDeployment(options);
  const rpc = jsonRpc(url);
  const queue = transactionQueue({ rpc, chainId, key, journalFile, confirmations, onNotice: onStep });
  // What an earlier run had signed when it broke off is a step, too: only then it is clear which are missing.
  await queue.finishEarlier(signal);
  const { deployer, plan, firstNonce, begun, done, head } = await prepareDeployment(options);
  const steps = plan.steps.map((step) => step.data);
  const transactions = begun?.transactions ?? [];
  const deployedBlock = begun?.deployedBlock ?? head;
  const note = (): Promise<void> =>
    writeFileAtomic(
      planFile,
      JSON.stringify({ chainId, deployer, firstNonce, deployedBlock, steps, transactions }),
    );
  await note();
  for (const [at, step] of plan.steps.entries()) {
    if (at < done) {
      await requireDone(rpc, step, signal);
      transactions[at] ??= null;
      onStep(`${step.label}: was done before`);
      continue;
    }
    const { txHash, blockNumber, contractAddress } = await queue.send(step, signal);
    if (contractAddress !== step.address) {
      throw new FarmError('CHAIN_UNAVAILABLE', `${step.label}: another program used this account`, {
        kept: `The steps before it are there. Remove ${planFile} to begin anew.`,
      });
    }
    transactions[at] = txHash;
    await note();
    await queue.waitUntilDeep(blockNumber, signal);
    onStep(`${step.label}: ${step.address ?? step.to ?? ''} in block ${blockNumber}`);
  }
  await rm(planFile, { force: true });
  const { tokenAddress, registryAddress, escrowAddress, managerAddress } = plan;
  return {
    chainId,
    tokenAddress,
    registryAddress,
    escrowAddress,
    managerAddress,
    deployedBlock,
    transactions,
  };
}

async function readPlan(file: string): Promise<Begun | null> {
  const text = await readTextIfThere(file);
  if (text === null) return null;
  try {
    return planSchema.parse(JSON.parse(text));
  } catch (error) {
    throw new FarmError('USAGE', `${file} cannot be read`, {
      cause: error,
      kept: 'Nothing was sent. Look at what the account has deployed, then remove the file to begin anew.',
    });
  }
}

function isSamePlan(
  begun: Begun,
  { chainId, deployer, plan }: { chainId: number; deployer: Address; plan: DeployPlan },
): boolean {
  const steps = plan.steps.map((step) => step.data);
  return begun.chainId === chainId && begun.deployer === deployer && begun.steps.join() === steps.join();
}

/** A step whose nonce is used has left its contract behind, or something else used the nonce. */
async function requireDone(rpc: Rpc, step: DeployStep, signal: AbortSignal): Promise<void> {
  if (step.address === null) return;
  if ((await rpc.call('eth_getCode', [step.address, 'latest'], signal)) !== '0x') return;
  throw new FarmError('CHAIN_UNAVAILABLE', `${step.label}: nothing is at ${step.address}`, {
    kept: 'Another transaction of this account took its place. Remove the plan to begin anew.',
  });
}

/** What each step takes; null for a call of a contract that only an earlier step makes. */
async function gasOf(
  rpc: Rpc,
  from: Address,
  { steps, done }: { steps: readonly DeployStep[]; done: number },
  signal: AbortSignal,
): Promise<(bigint | null)[]> {
  const missing = new Set(steps.slice(done).map(({ address }) => address));
  const gas: (bigint | null)[] = [];
  for (const [at, { to, data, label }] of steps.entries()) {
    if (at < done) gas.push(0n);
    else if (to !== null && missing.has(to)) gas.push(null);
    else {
      const call = { from, data, ...(to === null ? {} : { to }) };
      gas.push(quantity(await refusals(label, () => rpc.call('eth_estimateGas', [call, 'latest'], signal))));
    }
  }
  return gas;
}
