/** One account's transactions: one after the other, each awaited into its block, every refusal in the contract's words. */
import { SigningKey } from 'ethers/crypto';
import { Transaction } from 'ethers/transaction';
import { z } from 'zod';
import { FarmError, isFarmError } from '../../protocol/errors.ts';
import { type Address, addressSchema, type Bytes32, bytes32Schema } from '../../protocol/ids.ts';
import { Mutex } from '../mutex.ts';
import { pause } from '../wait.ts';
import { type Fees, firstFees } from './fees.ts';
import { originOf, quantity, type Rpc } from './json-rpc.ts';
import { refusals } from './refusals.ts';
import { addressOf, type PrivateKey } from './signing.ts';

/** The state can move between the estimate and the block; a quarter more covers another branch of the same call. */
const GAS_MARGIN_PERCENT = 125n;
const LONGEST_POLL_MS = 1_000;
/** After this a transaction that the node no longer knows of was lost with a restart of the chain. */
const LOST_AFTER_MS = 3_000;
const GIVE_UP_AFTER_MS = 600_000;

export const receiptSchema = z.object({
  transactionHash: bytes32Schema,
  status: z.string(),
  gasUsed: z.string(),
  blockNumber: z.string(),
  blockHash: z.string(),
  contractAddress: addressSchema.nullish(),
  logs: z.array(z.object({ address: addressSchema, topics: z.array(z.string()), data: z.string() })),
});

export type Receipt = {
  txHash: Bytes32;
  gasUsed: bigint;
  blockNumber: bigint;
  contractAddress: Address | null;
  logs: { address: Address; topics: string[]; data: string }[];
};

export type Call = {
  /** Null deploys `data`. */
  to: Address | null;
  data: string;
  /** For error messages: what the caller was doing. */
  label: string;
};

/** Runs one sending after the other. */
export type SendingTurns = <T>(work: () => Promise<T>, signal?: AbortSignal) => Promise<T>;

function oneProgram(): SendingTurns {
  const mutex = new Mutex();
  return (work) => mutex.run(work);
}

export type Sender = {
  readonly address: Address;
  send(call: Call, signal?: AbortSignal): Promise<Receipt>;
};

/**
 * The account of `key` on a chain that makes a block of every transaction at once: the embedded one; transaction-queue.ts
 * is for the others. Its nonce is asked of the chain before every transaction, never remembered: the chain can have been
 * restarted with a slightly older state, and a nonce that is too high would wait for ever. Where several programs send with
 * one key, `turns` lets one of them at a time do both.
 */
export function transactionSender(
  rpc: Rpc,
  chainId: number,
  key: PrivateKey,
  turns: SendingTurns = oneProgram(),
): Sender {
  const address = addressOf(key);

  const sendNow = async (call: Call, signal?: AbortSignal): Promise<Receipt> => {
    signal?.throwIfAborted();
    const quote = await quoteFor(rpc, chainId, address, call, signal);
    const raw = signedTransaction(key, { chainId, ...call, ...quote, ...firstFees(quote) });
    const sent = await refusals(call.label, () => rpc.call('eth_sendRawTransaction', [raw], signal));
    const receipt = await awaitReceipt(rpc, bytes32Schema.parse(sent), signal);
    return await succeeded(rpc, address, call, receipt, signal);
  };

  return { address, send: (call, signal) => turns(() => sendNow(call, signal), signal) };
}

export type Quote = { nonce: number; gasLimit: bigint; baseFee: bigint; tip: bigint; balance: bigint };

/** What a call costs now. CHAIN_REVERTED when the contract would refuse it, CHAIN_WRONG on another chain. */
export async function quoteFor(
  rpc: Rpc,
  chainId: number,
  from: Address,
  call: Call,
  signal?: AbortSignal,
): Promise<Quote> {
  const target = targetOf(from, call);
  const [id, gas, nonce, block, tip, balance] = await refusals(call.label, () =>
    rpc.batch(
      [
        { method: 'eth_chainId', params: [] },
        // On the latest block: what strangers have waiting for the next one must not decide whether this is sent.
        { method: 'eth_estimateGas', params: [target, 'latest'] },
        { method: 'eth_getTransactionCount', params: [from, 'pending'] },
        { method: 'eth_getBlockByNumber', params: ['latest', false] },
        { method: 'eth_maxPriorityFeePerGas', params: [] },
        { method: 'eth_getBalance', params: [from, 'latest'] },
      ],
      signal,
    ),
  );
  requireChain(rpc, chainId, id);
  return {
    nonce: Number(quantity(nonce)),
    gasLimit: (quantity(gas) * GAS_MARGIN_PERCENT) / 100n,
    baseFee: baseFeeOf(block),
    tip: quantity(tip),
    balance: quantity(balance),
  };
}

/** CHAIN_WRONG when the node at this URL is of another chain than the one the contracts are on. */
export function requireChain(rpc: Rpc, chainId: number, answered: unknown): void {
  const actual = Number(quantity(answered));
  if (actual === chainId) return;
  throw new FarmError(
    'CHAIN_WRONG',
    `at ${originOf(rpc.url)} chain ${actual} answers; the contracts are on ${chainId}`,
    {
      kept: 'Nothing was sent.',
    },
  );
}

export function baseFeeOf(block: unknown): bigint {
  return quantity(z.object({ baseFeePerGas: z.string() }).parse(block).baseFeePerGas);
}

/** Unix seconds of a block. */
export function timeOf(block: unknown): number {
  return Number(quantity(z.object({ timestamp: z.string() }).parse(block).timestamp));
}

/** The bytes that go out. */
export function signedTransaction(
  key: PrivateKey,
  made: Pick<Call, 'to' | 'data'> & Fees & { chainId: number; nonce: number; gasLimit: bigint },
): string {
  const { chainId, nonce, to, data, gasLimit, maxFeePerGas, maxPriorityFeePerGas } = made;
  const fields = { type: 2, chainId, nonce, to, data, gasLimit, maxFeePerGas, maxPriorityFeePerGas };
  const transaction = Transaction.from(fields);
  transaction.signature = new SigningKey(key).sign(transaction.unsignedHash);
  return transaction.serialized;
}

/** The receipt as the port has it; CHAIN_REVERTED, with the reason where there is one, when it failed in its block. */
export async function succeeded(
  rpc: Rpc,
  from: Address,
  call: Call,
  receipt: z.infer<typeof receiptSchema>,
  signal?: AbortSignal,
): Promise<Receipt> {
  const blockNumber = quantity(receipt.blockNumber);
  if (quantity(receipt.status) !== 1n) {
    const asked = { method: 'eth_call', params: [targetOf(from, call), 'latest'] };
    const why = await refusals(call.label, () => rpc.call(asked.method, asked.params, signal)).then(
      () => null,
      (error: unknown) => (isFarmError(error, 'CHAIN_REVERTED') ? error : null),
    );
    if (why !== null) throw why;
    throw new FarmError('CHAIN_REVERTED', `${call.label}: reverted in block ${blockNumber} without a reason`);
  }
  return {
    txHash: receipt.transactionHash,
    gasUsed: quantity(receipt.gasUsed),
    blockNumber,
    contractAddress: receipt.contractAddress ?? null,
    logs: receipt.logs,
  };
}

function targetOf(from: Address, call: Call): Record<string, string> {
  return { from, data: call.data, ...(call.to === null ? {} : { to: call.to }) };
}

async function awaitReceipt(
  rpc: Rpc,
  txHash: Bytes32,
  signal?: AbortSignal,
): Promise<z.infer<typeof receiptSchema>> {
  const startedMs = performance.now();
  const never = new AbortController().signal;
  for (let delayMs = 1; ; delayMs = Math.min(delayMs * 2, LONGEST_POLL_MS)) {
    const [receipt, known] = await rpc.batch(
      [
        { method: 'eth_getTransactionReceipt', params: [txHash] },
        { method: 'eth_getTransactionByHash', params: [txHash] },
      ],
      signal,
    );
    if (receipt !== null) return receiptSchema.parse(receipt);
    const waitedMs = performance.now() - startedMs;
    if (known === null && waitedMs > LOST_AFTER_MS) {
      throw new FarmError(
        'CHAIN_UNAVAILABLE',
        `the chain lost transaction ${txHash}, as it does when restarted`,
      );
    }
    if (waitedMs > GIVE_UP_AFTER_MS) {
      throw new FarmError('CHAIN_UNAVAILABLE', `transaction ${txHash} is in no block after ten minutes`);
    }
    await pause(delayMs, signal ?? never);
    signal?.throwIfAborted();
  }
}
