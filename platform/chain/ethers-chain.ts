/** FarmChain on an EVM chain: ABI coding by ethers, transport and transactions our own. */
import { Signature as EthersSignature, ZeroHash } from 'ethers';
import { z } from 'zod';
import { FarmError } from '../../protocol/errors.ts';
import type { Address, Bytes32 } from '../../protocol/ids.ts';
import { pause } from '../wait.ts';
import { type ChainWrite, type FarmChain, MAX_COMMITS_PER_TX, type SignedPermit } from './chain.ts';
import { decodeBatch, decodeJob } from './decode.ts';
import type { Deployment } from './deploy.ts';
import { ensureRealBlockHash, mineUpTo } from './embedded-blocks.ts';
import { jsonRpc, quantity } from './json-rpc.ts';
import { OUTCOME_NUMBERS, type PrivateKey } from './signing.ts';
import { waitUntilCopied } from './state-file.ts';
import {
  escrowInterface,
  type Receipt,
  refusals,
  tokenInterface,
  transactionSender,
} from './transactions.ts';

/** How many blocks back a contract can see a hash. */
const BLOCK_HASH_REACH = 256n;
/** Closer to that reach than this a draw could come too late, and would show its secret for nothing. */
const DRAW_MARGIN = 8n;
const BLOCK_POLL_MS = 1_000;
const never = new AbortController().signal;

export type EthersChainOptions = Deployment & {
  url: string;
  /** Pays the gas and is the escrow's coordinator. */
  coordinatorKey: PrivateKey;
  /** For the chain that the farm runs itself: it makes blocks and money when asked. Null anywhere else. */
  embedded: { stateFile: string } | null;
  /** Not embedded: blocks on top of a write until it counts as durable. */
  confirmations?: number;
};

/** Connects nothing: the first call does. */
export function ethersChain(options: EthersChainOptions): FarmChain {
  const { url, chainId, tokenAddress, escrowAddress, coordinatorKey, embedded, confirmations = 12 } = options;
  const rpc = jsonRpc(url);
  const sender = transactionSender(rpc, chainId, coordinatorKey);

  const write = async (name: string, args: unknown[], signal?: AbortSignal): Promise<Receipt> =>
    sender.send(
      { to: escrowAddress, data: escrowInterface.encodeFunctionData(name, args), label: name },
      signal,
    );
  const plain = ({ txHash, gasUsed, blockNumber }: Receipt): ChainWrite => ({ txHash, gasUsed, blockNumber });

  const readRaw = async (to: Address, data: string, label: string, signal?: AbortSignal): Promise<string> => {
    const result = await refusals(label, () => rpc.call('eth_call', [{ to, data }, 'latest'], signal));
    if (result === '0x')
      throw new FarmError('CHAIN_UNAVAILABLE', `at ${to} there is no contract on this chain`);
    return z.string().parse(result);
  };
  const readEscrow = async (name: string, args: unknown[], signal?: AbortSignal): Promise<unknown> => {
    const data = await readRaw(escrowAddress, escrowInterface.encodeFunctionData(name, args), name, signal);
    return escrowInterface.decodeFunctionResult(name, data)[0];
  };
  const readToken = async (name: string, owner: Address, signal?: AbortSignal): Promise<bigint> => {
    const data = await readRaw(tokenAddress, tokenInterface.encodeFunctionData(name, [owner]), name, signal);
    return BigInt(tokenInterface.decodeFunctionResult(name, data)[0]);
  };
  const batch: FarmChain['batch'] = async (key, signal) =>
    decodeBatch(await readEscrow('batch', [key], signal));
  const blockNumber = async (signal?: AbortSignal): Promise<bigint> =>
    quantity(await rpc.call('eth_blockNumber', [], signal));

  const waitUntilDurable = async (block: bigint, signal: AbortSignal = never): Promise<void> => {
    if (embedded !== null) {
      // A chain that was killed and came back shorter has forgotten the write: waiting would never end.
      const head = await blockNumber(signal);
      if (head < block)
        throw new FarmError('CHAIN_UNAVAILABLE', `the chain lost block ${block}; it ends at ${head}`);
      return waitUntilCopied(embedded.stateFile, block, signal);
    }
    while ((await blockNumber(signal)) < block + BigInt(confirmations)) await pausedOrAborted(signal);
  };

  return {
    chainId,
    tokenAddress,
    escrowAddress,
    batch,

    async mintTestTokens(to, amount, signal) {
      if (embedded === null) throw new FarmError('INTERNAL', 'test money exists on the embedded chain only');
      const data = tokenInterface.encodeFunctionData('mint', [to, amount]);
      return plain(await sender.send({ to: tokenAddress, data, label: 'mint' }, signal));
    },

    async openJob(terms, signature, permit, signal) {
      return plain(await write('openJob', [terms, signature, permitTuple(permit)], signal));
    },

    async commitMany(commits, signal) {
      if (commits.length === 0 || commits.length > MAX_COMMITS_PER_TX) {
        throw new FarmError(
          'INTERNAL',
          `1 to ${MAX_COMMITS_PER_TX} commits fit a transaction, not ${commits.length}`,
        );
      }
      const signatures = commits.map((signed) => signed.signature);
      return plain(await write('commitMany', [commits.map((signed) => signed.commit), signatures], signal));
    },

    async waitUntilDrawable(key, signal = never) {
      for (;;) {
        signal.throwIfAborted();
        const { state, commitBlock } = await batch(key, signal);
        if (state === 'none') throw new FarmError('CHAIN_REVERTED', `batch ${key} is not committed`);
        if (state !== 'committed') return;
        const drawableAt = commitBlock + 2n;
        if (embedded !== null) {
          await mineUpTo(rpc, drawableAt, signal);
          return ensureRealBlockHash(rpc, commitBlock + 1n, signal);
        }
        if ((await blockNumber(signal)) >= drawableAt) return;
        await pause(BLOCK_POLL_MS, signal);
      }
    },

    async draw(key, preimage, signal) {
      const [{ state, commitBlock }, latest] = await Promise.all([batch(key, signal), blockNumber(signal)]);
      const hashGoneAt = commitBlock + BLOCK_HASH_REACH + 2n;
      const anchorAnew = state === 'committed' && latest > hashGoneAt - DRAW_MARGIN;
      if (anchorAnew && embedded !== null) await mineUpTo(rpc, hashGoneAt, signal);
      while (anchorAnew && (await blockNumber(signal)) < hashGoneAt) await pausedOrAborted(signal);
      const receipt = anchorAnew
        ? await write('reanchor', [key], signal)
        : await write('draw', [key, preimage], signal);
      for (const log of receipt.logs) {
        const event = escrowInterface.parseLog(log);
        if (event?.name === 'Drawn')
          return { ...plain(receipt), kind: 'drawn', seed: event.args['seed'] as Bytes32 };
        if (event?.name === 'Reanchored') return { ...plain(receipt), kind: 'reanchored' };
      }
      throw new FarmError('CHAIN_UNAVAILABLE', `the receipt of ${receipt.txHash} says nothing of a draw`);
    },

    async attest({ batchKey, outcome, evidence }, signature, signal) {
      const verdict = { batchKey, outcome: OUTCOME_NUMBERS[outcome], evidence };
      return plain(await write('attest', [verdict, signature], signal));
    },

    async settleMany(batchKeys, signal) {
      return plain(await write('settle', [batchKeys], signal));
    },

    async expire(key, signal) {
      return plain(await write('expire', [key], signal));
    },

    async closeJob(key, signal) {
      return plain(await write('closeJob', [key], signal));
    },

    async withdrawFor(owner, signal) {
      return plain(await write('withdrawFor', [owner], signal));
    },

    async job(key, signal) {
      return decodeJob(await readEscrow('job', [key], signal));
    },

    async credit(owner, signal) {
      return z.bigint().parse(await readEscrow('credit', [owner], signal));
    },

    tokenBalance(owner, signal) {
      return readToken('balanceOf', owner, signal);
    },

    permitNonce(owner, signal) {
      return readToken('nonces', owner, signal);
    },

    async verifierHead(signal) {
      return (await readEscrow('verifierHead', [], signal)) as Bytes32;
    },

    blockNumber,
    waitUntilDurable,
    async waitUntilFunded(block, signal = never) {
      if (embedded === null) await waitUntilDurable(block, signal);
    },
  };
}

async function pausedOrAborted(signal: AbortSignal = never): Promise<void> {
  await pause(BLOCK_POLL_MS, signal);
  signal.throwIfAborted();
}

/** A deadline of 0 tells the contract that there is no permit. */
function permitTuple(permit: SignedPermit | null): unknown[] {
  if (permit === null) return [0, 0, 0, ZeroHash, ZeroHash];
  const { v, r, s } = EthersSignature.from(permit.signature);
  return [permit.value, permit.deadline, v, r, s];
}
