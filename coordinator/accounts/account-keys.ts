/** Accounts with an address of their own on the chain. Their keys lie encrypted in the database, and open only to sign. */
import { sealKey, unsealKey } from '../../platform/chain/sealed-key.ts';
import { addressOf, newPrivateKey, type PrivateKey } from '../../platform/chain/signing.ts';
import { FarmError } from '../../protocol/errors.ts';
import type { Address } from '../../protocol/ids.ts';
import type { CoordinatorContext } from '../context.ts';
import type { FarmQuery } from '../database/schema.ts';

/** Of jobs that name no account. Its money is the farm's own. */
export const DEFAULT_ACCOUNT = 'default';

type KeyContext = Pick<CoordinatorContext, 'secrets'>;

/** Makes a key unless the account has one: another one would leave money behind that nobody can move. */
export async function giveKey(context: KeyContext, tx: FarmQuery, account: string): Promise<void> {
  if (account === DEFAULT_ACCOUNT) {
    throw new FarmError('USAGE', `the account ${account} is the farm's own, and has its key already`, {
      kept: 'nothing was changed',
    });
  }
  const key = newPrivateKey();
  const address = addressOf(key);
  await tx
    .updateTable('accounts')
    .set({ address, sealed_key: sealKey(key, account, masterKeyOf(context, account)) })
    .where('name', '=', account)
    .where('sealed_key', 'is', null)
    .execute();
}

/** The account's own address, whose key was found to open; null where its jobs are paid from the farm's account. */
export async function payerOf(context: KeyContext, db: FarmQuery, account: string): Promise<Address | null> {
  const key = await keyOf(context, db, account);
  return key === null ? null : addressOf(key);
}

/** Throws ACCOUNT_KEY_LOCKED where the key does not open, or is not that of the address in its row. */
export async function keyOf(context: KeyContext, db: FarmQuery, account: string): Promise<PrivateKey | null> {
  const row = await db
    .selectFrom('accounts')
    .select(['address', 'sealed_key'])
    .where('name', '=', account)
    .executeTakeFirst();
  if (row === undefined || row.sealed_key === null) return null;
  const key = unsealKey(row.sealed_key, account, masterKeyOf(context, account));
  if (key !== null && addressOf(key) === row.address) return key;
  throw locked(`the key of the account ${account} does not open under this farm's master key`);
}

function masterKeyOf({ secrets }: KeyContext, account: string) {
  if (secrets.accountsKey !== undefined) return secrets.accountsKey;
  throw locked(`this farm has no master key for the key of the account ${account}`);
}

function locked(message: string): FarmError {
  return new FarmError('ACCOUNT_KEY_LOCKED', message, { kept: 'nothing was changed, no money moved' });
}
