/** What an account has spent and may still spend. A job counts with its whole price until all of its money has moved. */
import { sql } from 'kysely';
import { FarmError } from '../../protocol/errors.ts';
import type { FarmQuery } from '../database/schema.ts';

export type Spending = { spent: bigint; promised: bigint };
export type Caps = { perJob: bigint | null; inAll: bigint | null };

/** Of all its jobs but those that wallets pay for, and the farm's own that try verifiers. */
export async function spendingOf(db: FarmQuery, account: string): Promise<Spending> {
  const { spent, promised } = await db
    .selectFrom('jobs')
    .select([
      sql<string>`coalesce(sum(spent) filter (where escrow = 'closed'), 0)`.as('spent'),
      sql<string>`coalesce(sum(quote) filter (where escrow <> 'closed'), 0)`.as('promised'),
    ])
    .where('account', '=', account)
    .where('wallet_terms', 'is', null)
    .where('canary', '=', false)
    .executeTakeFirstOrThrow();
  return { spent: BigInt(spent), promised: BigInt(promised) };
}

/**
 * Throws ACCOUNT_CAP where a job of this price would pass a cap of its account. In the transaction that writes the job
 * down: the account's row stays locked until then, so of two jobs of one moment the second sees the first.
 */
export async function requireWithinCaps(tx: FarmQuery, account: string, price: bigint): Promise<void> {
  const row = await tx
    .selectFrom('accounts')
    .select(['cap_per_job', 'cap_in_all'])
    .where('name', '=', account)
    .forUpdate()
    .executeTakeFirst();
  const caps = { perJob: moneyOf(row?.cap_per_job), inAll: moneyOf(row?.cap_in_all) };
  if (caps.perJob === null && caps.inAll === null) return;
  const why = passedCap(caps, await spendingOf(tx, account), price);
  if (why === null) return;
  throw new FarmError('ACCOUNT_CAP', `the account ${account} ${why}`, {
    kept: 'nothing was submitted, no money moved',
    details: { account, price: price.toString() },
  });
}

/** In words, or null where the job may be. Pure. */
export function passedCap(caps: Caps, { spent, promised }: Spending, price: bigint): string | null {
  if (caps.perJob !== null && price > caps.perJob)
    return `may spend ${caps.perJob} units on a job, and this one costs ${price}`;
  if (caps.inAll !== null && spent + promised + price > caps.inAll)
    return `may spend ${caps.inAll} units in all; ${spent} are spent, ${promised} are promised to open jobs, and this one costs ${price}`;
  return null;
}

export function moneyOf(text: string | null | undefined): bigint | null {
  return text === null || text === undefined ? null : BigInt(text);
}
