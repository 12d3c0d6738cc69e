/** One account's transactions: one after the other, each awaited into its block, every refusal in the contract's words. */
import { SigningKey, Transaction } from 'ethers';
import { z } from 'zod';
import { FarmError, isFarmError } from '../../protocol/errors.ts';
import { type Address, addressSchema, type Bytes32, bytes32Schema } from '../../protocol/ids.ts';
import { pause } from '../wait.ts';
import { quantity, type Rpc } from './json-rpc.ts';
import { refusals } from './refusals.ts';
import { addressOf, type PrivateKey } from './signing.ts';

/** The state can move between the estimate and the block; a quarter more covers another branch of the same call. */
const GAS_MARGIN_PERCENT = 125n;
const LONGEST_POLL_MS = 1_000;
/** After this a transaction that the node no longer knows of was lost with a restart of the chain. */
const LOST_AFTER_MS = 3_000;
const GIVE_UP_AFTER_MS = 600_000;

const receiptSchema = z.object({
  status: z.string(),
  gasUsed: z.string(),
  blockNumber: z.string(),
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

export type Sender = {
  readonly address: Address;
  send(call: Call, signal?: AbortSignal): Promise<Receipt>;
};

/**
 * The account of `key`. Its nonce is asked of the chain before every transaction, never remembered: the chain can
 * have been restarted with a slightly older state, and a nonce that is too high would wait for ever.
 */
export function transactionSender(rpc: Rpc, chainId: number, key: PrivateKey): Sender {
  const address = addressOf(key);
  const signer = new SigningKey(key);
  let last: Promise<unknown> = Promise.resolve();

  const sendNow = async (call: Call, signal?: AbortSignal): Promise<Receipt> => {
    signal?.throwIfAborted();
    const target = { from: address, data: call.data, ...(call.to === null ? {} : { to: call.to }) };
    const [gas, nonce, block, tip] = await refusals(call.label, () =>
      rpc.batch(
        [
          // On the latest block: what strangers have waiting for the next one must not decide whether this is sent.
          { method: 'eth_estimateGas', params: [target, 'latest'] },
          { method: 'eth_getTransactionCount', params: [address, 'pending'] },
          { method: 'eth_getBlockByNumber', params: ['latest', false] },
          { method: 'eth_maxPriorityFeePerGas', params: [] },
        ],
        signal,
      ),
    );
    const baseFee = quantity(z.object({ baseFeePerGas: z.string() }).parse(block).baseFeePerGas);
    const transaction = Transaction.from({
      type: 2,
      chainId,
      nonce: Number(quantity(nonce)),
      to: call.to,
      data: call.data,
      gasLimit: (quantity(gas) * GAS_MARGIN_PERCENT) / 100n,
      maxPriorityFeePerGas: quantity(tip),
      // Twice the base fee stays valid for six full blocks in a row.
      maxFeePerGas: baseFee * 2n + quantity(tip),
    });
    transaction.signature = signer.sign(transaction.unsignedHash);
    const sent = await refusals(call.label, () =>
      rpc.call('eth_sendRawTransaction', [transaction.serialized], signal),
    );
    const txHash = bytes32Schema.parse(sent);
    const receipt = receiptSchema.parse(await awaitReceipt(rpc, txHash, signal));
    const blockNumber = quantity(receipt.blockNumber);
    if (quantity(receipt.status) !== 1n) {
      const why = await refusals(call.label, () => rpc.call('eth_call', [target, 'latest'], signal)).then(
        () => null,
        (error: unknown) => (isFarmError(error, 'CHAIN_REVERTED') ? error : null),
      );
      if (why !== null) throw why;
      throw new FarmError(
        'CHAIN_REVERTED',
        `${call.label}: reverted in block ${blockNumber} without a reason`,
      );
    }
    return {
      txHash,
      gasUsed: quantity(receipt.gasUsed),
      blockNumber,
      contractAddress: receipt.contractAddress ?? null,
      logs: receipt.logs,
    };
  };

  return {
    address,
    send(call, signal) {
      const run = (): Promise<Receipt> => sendNow(call, signal);
      const result = last.then(run, run);
      last = result;
      // The caller sees the failure; the queue only waits for the end.
      result.catch(() => undefined);
      return result;
    },
  };
}

async function awaitReceipt(rpc: Rpc, txHash: Bytes32, signal?: AbortSignal): Promise<unknown> {
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
    if (receipt !== null) return receipt;
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
