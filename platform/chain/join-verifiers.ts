/**
 * The verifiers of a farm join the registry of a chain that is not its own. Each run does what is missing and can be done
 * now; one that was killed goes on with the next, since what was signed is in the journal and all else is read anew.
 */
import { FarmError, isFarmError } from '../../protocol/errors.ts';
import type { Address } from '../../protocol/ids.ts';
import { ask } from './calls.ts';
import type { FarmChain } from './chain.ts';
import { registry } from './contracts.ts';
import type { Deployment } from './deployment.ts';
import { ethersChain } from './ethers-chain.ts';
import { jsonRpc } from './json-rpc.ts';
import { type JoiningFacts, type JoiningPlan, planJoining } from './plan-joining.ts';
import { addressOf, type PrivateKey } from './signing.ts';
import { transactionQueue } from './transaction-queue.ts';
import { joinList, stakeByPermit, type VerifierKeys } from './verifier-place.ts';

export type JoinOptions = {
  url: string;
  deployment: Deployment;
  /** Pays the gas. */
  coordinatorKey: PrivateKey;
  /** That of the coordinator, which may not run meanwhile. */
  journalFile: string;
  confirmations: number;
  verifiers: readonly ({ id: string } & VerifierKeys)[];
  /** Only says what it would do. */
  dryRun: boolean;
  onNotice: (notice: string) => void;
  signal: AbortSignal;
};

/** How a verifier stands when a run is over. */
export type Joined = {
  id: string;
  verifier: Address;
  operator: Address;
  /** In the operator's account, and put down for it. */
  balance: bigint;
  stake: bigint;
  plan: JoiningPlan;
  /** Unix seconds; null until it has joined. */
  activeFrom: number | null;
  /** It has left, and its place is not free yet: it cannot join before that. */
  held: boolean;
  /** What was sent now. */
  sent: readonly ('stake' | 'join' | 'activate')[];
};

/**
 * In the order of `verifiers`; one whose operator has too little of the token is left as it is. Throws CHAIN_NOT_READY for a
 * verifier that is another operator's, and what sending throws.
 */
export async function joinVerifiers(options: JoinOptions): Promise<Joined[]> {
  const { url, deployment, coordinatorKey, journalFile, confirmations, onNotice, signal } = options;
  const sending = { journalFile, confirmations, onNotice };
  // What an earlier run signed is in a block before anything is read: else it would be done twice, and refused.
  if (!options.dryRun) {
    const { chainId } = deployment;
    const earlier = { ...sending, rpc: jsonRpc(url), chainId, key: coordinatorKey };
    await transactionQueue(earlier).finishEarlier(signal);
  }
  const chain = ethersChain({ ...deployment, ...sending, url, coordinatorKey, embedded: null });
  const joined: Joined[] = [];
  let lastBlock = 0n;
  for (const one of options.verifiers) {
    const facts = await factsOf(options, chain, one);
    const plan = planJoining(facts);
    const able = !options.dryRun && plan.missing === 0n;
    const { sent, block, held } = able
      ? await follow(chain, one, { facts, plan }, signal)
      : { sent: [], block: 0n, held: false };
    if (block > lastBlock) lastBlock = block;
    const after = sent.length === 0 ? facts : await factsOf(options, chain, one);
    const { balance, activeFrom } = after;
    joined.push({
      ...{ id: one.id, verifier: addressOf(one.verifierKey), operator: addressOf(one.operatorKey) },
      ...{ balance, stake: after.operator.stake, plan, sent, held },
      activeFrom: activeFrom === 0 ? null : activeFrom,
    });
  }
  if (lastBlock > 0n) await chain.waitUntilDurable(lastBlock, signal);
  return joined;
}

async function factsOf(
  { url, deployment, signal }: JoinOptions,
  chain: FarmChain,
  { id, verifierKey, operatorKey }: JoinOptions['verifiers'][number],
): Promise<JoiningFacts & { nonce: bigint; joinDelayS: number }> {
  const [verifier, operator] = [addressOf(verifierKey), addressOf(operatorKey)];
  const rpc = jsonRpc(url);
  const at = deployment.registryAddress;
  const [info, active, own, terms, balance, nowS] = await Promise.all([
    ask(rpc, registry, at, 'verifierInfo', [verifier], signal),
    ask(rpc, registry, at, 'isActive', [verifier], signal),
    ask(rpc, registry, at, 'operatorInfo', [operator], signal),
    chain.terms(signal),
    chain.tokenBalance(operator, signal),
    chain.timeS(signal),
  ]);
  if (BigInt(info.operator) !== 0n && info.operator !== operator)
    throw new FarmError('CHAIN_NOT_READY', `the registry has ${id} (${verifier}) of ${info.operator}`, {
      kept: 'Nothing was sent for it.',
    });
  const { stake, places, nonce } = own;
  const { joinDelayS } = terms;
  return {
    terms,
    operator: { stake, places },
    balance,
    active,
    hasPlace: info.place !== 0,
    activeFrom: info.activeFrom,
    nowS,
    nonce,
    joinDelayS,
  };
}

/** Sends what the plan says. Each of the operator's signatures has the next nonce, which no lagging node is asked for. */
async function follow(
  chain: FarmChain,
  keys: VerifierKeys,
  { facts, plan }: { facts: { nonce: bigint; joinDelayS: number }; plan: JoiningPlan },
  signal: AbortSignal,
): Promise<Pick<Joined, 'sent' | 'held'> & { block: bigint }> {
  const sent: Joined['sent'][number][] = [];
  let { nonce } = facts;
  let block = 0n;
  if (plan.toStake > 0n) {
    block = (await stakeByPermit(chain, keys, { amount: plan.toStake, nonce }, signal)).blockNumber;
    nonce += 1n;
    sent.push('stake');
  }
  if (plan.next === 'join') {
    const write = await joinList(chain, keys, nonce, signal).catch((error: unknown) => {
      const held = isFarmError(error, 'CHAIN_REVERTED') && error.details?.['error'] === 'VerifierActive';
      if (held) return null;
      throw error;
    });
    if (write === null) return { sent, block, held: true };
    block = write.blockNumber;
    sent.push('join');
  }
  if (plan.next === 'activate' || (plan.next === 'join' && facts.joinDelayS === 0)) {
    block = (await chain.activateVerifier(addressOf(keys.verifierKey), signal)).blockNumber;
    sent.push('activate');
  }
  return { sent, block, held: false };
}
