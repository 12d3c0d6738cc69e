/**
 * One account's transactions on a chain that others make blocks for. One after the other; each is in a journal before it
 * is sent, is sent again as the very same bytes when the chain forgets it, at a higher fee when it waits too long, and is
 * watched until enough blocks lie on top. Nothing new is sent while something older is in no block.
 */
import { Transaction } from 'ethers/transaction';
import type { z } from 'zod';
import { FarmError, isFarmError } from '../../protocol/errors.ts';
import { Mutex } from '../mutex.ts';
import { backoffMs, pause } from '../wait.ts';
import { firstFees, raisedFees } from './fees.ts';
import { quantity, type Rpc, RpcError } from './json-rpc.ts';
import { refusals } from './refusals.ts';
import { addressOf, type PrivateKey } from './signing.ts';
import {
  hashOfRaw,
  type JournaledTransaction,
  openJournal,
  type TransactionJournal,
} from './transaction-journal.ts';
import {
  baseFeeOf,
  type Call,
  quoteFor,
  type Receipt,
  receiptSchema,
  requireChain,
  type Sender,
  signedTransaction,
  succeeded,
} from './transactions.ts';

export type QueueOptions = {
  rpc: Rpc;
  chainId: number;
  key: PrivateKey;
  /** Null keeps the journal in memory: a restart can then send twice what the contract has to refuse. */
  journalFile: string | null;
  /** Blocks on top of a transaction until no reorganisation is expected to reach it. */
  confirmations: number;
  /** What a person should see: a fee that was raised, a block that was taken back. */
  onNotice?: (notice: string) => void;
  /** How long to wait for a block before the fee is raised: nearly four blocks of Ethereum. */
  raiseAfterMs?: number;
  pollMs?: number;
  /** A node that is away for less than this while a transaction waits is waited for. */
  patienceMs?: number;
  giveUpAfterMs?: number;
};

export type TransactionQueue = Sender & {
  /** Resolves when everything that the journal holds, also from an earlier run, is in a block. */
  finishEarlier(signal?: AbortSignal): Promise<void>;
  /**
   * Resolves when everything sent up to this block is so deep that it stays. CHAIN_UNAVAILABLE when the chain took back
   * what a caller was told: read the state and do again what is missing.
   */
  waitUntilDeep(blockNumber: bigint, signal?: AbortSignal): Promise<void>;
};

const never = new AbortController().signal;

/** A node can count a transaction a moment before it has its receipt: so often in a row is no moment any more. */
const TAKEN_LOOKS = 3;
/** What offers so many times what the chain asks does not wait for its fee. */
const ENOUGH_FEES = 4n;

/** Opens the journal with the first call; what it holds is looked up before anything new is sent. */
export function transactionQueue(options: QueueOptions): TransactionQueue {
  const { rpc, chainId, key, journalFile, confirmations, onNotice = () => undefined } = options;
  const { raiseAfterMs = 45_000, pollMs = 1_000, patienceMs = 60_000, giveUpAfterMs = 600_000 } = options;
  const address = addressOf(key);
  const turns = new Mutex();
  const sentAtMs = new WeakMap<JournaledTransaction, number>();
  const looksTaken = new WeakMap<JournaledTransaction, number>();
  const receipts = new WeakMap<JournaledTransaction, z.infer<typeof receiptSchema>>();
  /** Blocks that callers were told of, and that are not so any more. */
  const takenBack = new Set<bigint>();
  let opened: Promise<TransactionJournal> | null = null;

  const journalOf = (): Promise<TransactionJournal> => {
    opened ??= openJournal(journalFile, chainId, address).catch((error: unknown) => {
      opened = null;
      throw error;
    });
    return opened;
  };

  /** Asks where everything in the journal is, notes it, and returns what is in no block. */
  const lookUp = async (
    journal: TransactionJournal,
    signal?: AbortSignal,
  ): Promise<{ waiting: JournaledTransaction[]; head: bigint }> => {
    const hashes = journal.transactions.map(({ raws }) => raws.map(hashOfRaw));
    const [id, head, count, ...found] = await refusals('receipts', () =>
      rpc.batch(
        [
          { method: 'eth_chainId', params: [] },
          { method: 'eth_blockNumber', params: [] },
          { method: 'eth_getTransactionCount', params: [address, 'latest'] },
          ...hashes.flat().map((hash) => ({ method: 'eth_getTransactionReceipt', params: [hash] })),
        ],
        signal,
      ),
    );
    requireChain(rpc, chainId, id);
    const known = new Map(
      found
        .filter((receipt) => receipt !== null)
        .map((receipt) => receiptSchema.parse(receipt))
        .map((receipt) => [receipt.transactionHash, receipt]),
    );
    const waiting: JournaledTransaction[] = [];
    for (const [at, transaction] of [...journal.transactions].entries()) {
      const receipt = hashes[at]?.map((hash) => known.get(hash)).find((one) => one !== undefined);
      if (receipt === undefined) {
        transaction.included = null;
        // In no block, and its nonce is used: by something that is not ours, so it never will be.
        const used = quantity(count) > BigInt(transaction.nonce);
        looksTaken.set(transaction, used ? (looksTaken.get(transaction) ?? 0) + 1 : 0);
        if ((looksTaken.get(transaction) ?? 0) >= TAKEN_LOOKS) await drop(journal, transaction);
        else waiting.push(transaction);
        continue;
      }
      await note(journal, transaction, receipt, quantity(head));
    }
    return { waiting, head: quantity(head) };
  };

  const note = async (
    journal: TransactionJournal,
    transaction: JournaledTransaction,
    receipt: z.infer<typeof receiptSchema>,
    head: bigint,
  ): Promise<void> => {
    const { told, included: before, label } = transaction;
    const included = {
      txHash: receipt.transactionHash,
      blockNumber: quantity(receipt.blockNumber),
      blockHash: receipt.blockHash,
      succeeded: quantity(receipt.status) === 1n,
    };
    receipts.set(transaction, receipt);
    if (before?.blockHash !== included.blockHash) {
      if (told !== null)
        onNotice(
          `${label}: the chain took block ${told.blockNumber} back; it is in ${included.blockNumber} now`,
        );
      if (told?.succeeded === true && !included.succeeded) takenBack.add(told.blockNumber);
      transaction.included = included;
      await journal.save();
    }
    if (head >= included.blockNumber + BigInt(confirmations)) await journal.remove(transaction);
  };

  const drop = async (journal: TransactionJournal, transaction: JournaledTransaction): Promise<void> => {
    onNotice(`${transaction.label}: another transaction of ${address} took its nonce ${transaction.nonce}`);
    if (transaction.told?.succeeded === true) takenBack.add(transaction.told.blockNumber);
    await journal.remove(transaction);
  };

  /** Gives the node the newest bytes again, or, when they have waited too long, the same at a higher fee. */
  const push = async (
    journal: TransactionJournal,
    transaction: JournaledTransaction,
    signal?: AbortSignal,
  ): Promise<void> => {
    const { label, raws } = transaction;
    const sinceMs = performance.now() - (sentAtMs.get(transaction) ?? Number.NEGATIVE_INFINITY);
    const newest = raws.at(-1) ?? '';
    if (Number.isFinite(sinceMs) && sinceMs > raiseAfterMs) {
      sentAtMs.set(transaction, performance.now());
      const raised = await raisedBytes(newest, signal);
      if (raised === null) return;
      raws.push(raised);
      await journal.save();
      onNotice(`${label}: in no block for ${Math.round(sinceMs / 1_000)} s; its fee was raised`);
      const refused = await submit(label, raised, signal);
      if (refused === null) return;
      // Too little money for more, or the node has a rule of its own: the bytes before still stand.
      raws.pop();
      await journal.save();
      onNotice(`${label}: the higher fee was refused: ${refused.message}`);
      return;
    }
    const known = await rpc.call('eth_getTransactionByHash', [hashOfRaw(newest)], signal);
    if (!sentAtMs.has(transaction)) sentAtMs.set(transaction, performance.now());
    if (known !== null) return;
    const refused = await submit(label, newest, signal);
    if (refused !== null) throw refused;
  };

  const raisedBytes = async (raw: string, signal?: AbortSignal): Promise<string | null> => {
    const [block, tip] = await refusals('fees', () =>
      rpc.batch(
        [
          { method: 'eth_getBlockByNumber', params: ['latest', false] },
          { method: 'eth_maxPriorityFeePerGas', params: [] },
        ],
        signal,
      ),
    );
    const { nonce, to, data, gasLimit, maxFeePerGas, maxPriorityFeePerGas } = Transaction.from(raw);
    const before = { maxFeePerGas: maxFeePerGas ?? 0n, maxPriorityFeePerGas: maxPriorityFeePerGas ?? 0n };
    const market = { baseFee: baseFeeOf(block), tip: quantity(tip) };
    if (before.maxFeePerGas > ENOUGH_FEES * firstFees(market).maxFeePerGas) return null;
    const fees = raisedFees(before, market);
    return signedTransaction(key, { chainId, nonce, to: to as Call['to'], data, gasLimit, ...fees });
  };

  /** Null when the node has it now, or may have: then only its receipt tells. */
  const submit = async (label: string, raw: string, signal?: AbortSignal): Promise<FarmError | null> => {
    try {
      await refusals(label, () => rpc.call('eth_sendRawTransaction', [raw], signal));
      return null;
    } catch (error) {
      if (!(error instanceof FarmError)) throw error;
      // No answer at all.
      if (!(error.cause instanceof RpcError)) return null;
      // It is there already, or was and is in a block.
      if (/already|known|nonce too low|nonce.*used/i.test(error.cause.message)) return null;
      return error;
    }
  };

  /** Until everything in the journal is in a block. A node that is away for a moment is waited for. */
  const allIncluded = async (journal: TransactionJournal, signal: AbortSignal): Promise<void> => {
    const startedMs = performance.now();
    let awaySinceMs: number | null = null;
    for (let failures = 0; ; ) {
      signal.throwIfAborted();
      try {
        const { waiting } = await lookUp(journal, signal);
        if (waiting.length === 0) return;
        for (const transaction of waiting) await push(journal, transaction, signal);
        awaySinceMs = null;
        failures = 0;
      } catch (error) {
        signal.throwIfAborted();
        if (!isFarmError(error, 'CHAIN_UNAVAILABLE')) throw error;
        awaySinceMs ??= performance.now();
        if (performance.now() - awaySinceMs > patienceMs) throw stillWaiting(error);
        await pause(Math.min(backoffMs(failures++), patienceMs), signal);
        continue;
      }
      if (performance.now() - startedMs > giveUpAfterMs) {
        throw stillWaiting(
          new FarmError('CHAIN_UNAVAILABLE', 'a transaction is in no block after ten minutes'),
        );
      }
      await pause(pollMs, signal);
    }
  };

  const stillWaiting = (error: FarmError): FarmError =>
    new FarmError(error.code, error.message, {
      cause: error,
      kept: 'What was signed is noted; before anything else is sent it is looked up and, if need be, sent again unchanged.',
    });

  const sendNow = async (call: Call, signal: AbortSignal): Promise<Receipt> => {
    const journal = await journalOf();
    await allIncluded(journal, signal);
    const quote = await quoteFor(rpc, chainId, address, call, signal);
    const fees = firstFees(quote);
    const most = quote.gasLimit * fees.maxFeePerGas;
    if (quote.balance < most) {
      throw new FarmError(
        'CHAIN_GAS_MONEY',
        `${call.label}: ${address} has ${quote.balance} wei for gas and may need ${most}`,
        { kept: 'Nothing was sent.' },
      );
    }
    // A block that was taken back gives nonces back that are still ours.
    const next = (journal.transactions.at(-1)?.nonce ?? -1) + 1;
    const nonce = Math.max(quote.nonce, next);
    const transaction = await journal.add(
      call.label,
      signedTransaction(key, { chainId, ...call, nonce, gasLimit: quote.gasLimit, ...fees }),
    );
    const refused = await submit(call.label, transaction.raws[0] ?? '', signal);
    if (refused !== null) {
      await journal.remove(transaction);
      throw refused;
    }
    sentAtMs.set(transaction, performance.now());
    await allIncluded(journal, signal);
    const receipt = receipts.get(transaction);
    if (receipt === undefined || transaction.included === null) {
      throw new FarmError(
        'CHAIN_UNAVAILABLE',
        `${call.label}: another transaction of ${address} took its nonce`,
        {
          kept: 'It will never be in a block. Give every program a key of its own.',
        },
      );
    }
    transaction.told = transaction.included;
    await journal.save();
    return await succeeded(rpc, address, call, receipt, signal);
  };

  return {
    address,
    send: (call, signal = never) => turns.run(() => sendNow(call, signal)),
    finishEarlier: (signal = never) => turns.run(async () => allIncluded(await journalOf(), signal)),

    async waitUntilDeep(blockNumber, signal = never) {
      for (;;) {
        signal.throwIfAborted();
        const deep = await turns.run(async () => {
          const journal = await journalOf();
          await allIncluded(journal, signal);
          const { head } = await lookUp(journal, signal);
          if (takenBack.has(blockNumber)) return 'taken back';
          const open = journal.transactions.some(
            ({ told }) => told !== null && told.blockNumber <= blockNumber,
          );
          return !open && head >= blockNumber + BigInt(confirmations);
        });
        if (deep === 'taken back') {
          throw new FarmError(
            'CHAIN_UNAVAILABLE',
            `the chain took back what was in its block ${blockNumber}`,
          );
        }
        if (deep) return;
        await pause(pollMs, signal);
      }
    },
  };
}
