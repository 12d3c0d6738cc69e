/**
 * What was signed and may still be on its way: written before it is sent, so that a crash at any line never leads to the
 * same thing being sent twice. A small file that is only ever replaced whole; a transaction leaves it when enough blocks
 * lie on top of it.
 */
import { Transaction } from 'ethers/transaction';
import { z } from 'zod';
import { FarmError } from '../../protocol/errors.ts';
import { type Address, addressSchema, type Bytes32, bytes32Schema } from '../../protocol/ids.ts';
import { readTextIfThere, writeFileAtomic } from '../files.ts';

const inclusionSchema = z.object({
  txHash: bytes32Schema,
  blockNumber: z.string().transform(BigInt),
  blockHash: z.string(),
  succeeded: z.boolean(),
});

const journalSchema = z.object({
  version: z.literal(1),
  chainId: z.number(),
  address: addressSchema,
  transactions: z.array(
    z.object({
      label: z.string(),
      raws: z.array(z.string()).min(1),
      told: inclusionSchema.nullable(),
      included: inclusionSchema.nullable(),
    }),
  ),
});

/** Where a transaction was seen in a block. */
export type Inclusion = z.infer<typeof inclusionSchema>;

export type JournaledTransaction = {
  label: string;
  nonce: number;
  /** As signed, oldest first: each is the same at a higher fee, and only one of them can ever be in a block. */
  raws: string[];
  /** What its sender was told; null while it waits. */
  told: Inclusion | null;
  /** Where it is now: other than told when the chain took a block back. */
  included: Inclusion | null;
};

export type TransactionJournal = {
  /** In the order of their nonces. */
  readonly transactions: readonly JournaledTransaction[];
  add(label: string, raw: string): Promise<JournaledTransaction>;
  /** After any change of one of them. */
  save(): Promise<void>;
  remove(transaction: JournaledTransaction): Promise<void>;
};

/** Opens the journal of an account. `file` null keeps it in memory, for those that may forget. */
export async function openJournal(
  file: string | null,
  chainId: number,
  address: Address,
): Promise<TransactionJournal> {
  const transactions = file === null ? [] : await readJournal(file, chainId, address);
  const save = async (): Promise<void> => {
    if (file === null) return;
    const kept = transactions.map(({ nonce: _, ...transaction }) => transaction);
    const content = JSON.stringify({ version: 1, chainId, address, transactions: kept }, (_, value) =>
      typeof value === 'bigint' ? value.toString() : value,
    );
    await writeFileAtomic(file, content);
  };
  return {
    transactions,
    save,
    async add(label, raw) {
      const transaction = { label, nonce: nonceOf(raw), raws: [raw], told: null, included: null };
      transactions.push(transaction);
      await save();
      return transaction;
    },
    async remove(transaction) {
      const at = transactions.indexOf(transaction);
      if (at >= 0) transactions.splice(at, 1);
      await save();
    },
  };
}

/** The hash under which the chain knows these bytes. */
export function hashOfRaw(raw: string): Bytes32 {
  return bytes32Schema.parse(Transaction.from(raw).hash);
}

function nonceOf(raw: string): number {
  return Transaction.from(raw).nonce;
}

async function readJournal(file: string, chainId: number, address: Address): Promise<JournaledTransaction[]> {
  const text = await readTextIfThere(file);
  if (text === null) return [];
  const parsed = journalSchema.safeParse(parsedJson(text));
  if (!parsed.success || parsed.data.chainId !== chainId || parsed.data.address !== address) {
    const why = parsed.success ? 'is of another account or chain' : 'cannot be read';
    throw new FarmError('CHAIN_JOURNAL', `the journal of transactions ${file} ${why}`, {
      kept: 'It was left as it is, and nothing was sent.',
      ...(parsed.success ? {} : { cause: parsed.error }),
    });
  }
  return parsed.data.transactions
    .map((transaction) => ({ ...transaction, nonce: nonceOf(transaction.raws[0] ?? '') }))
    .toSorted((one, other) => one.nonce - other.nonce);
}

function parsedJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
