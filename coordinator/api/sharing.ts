/** What an operator says about sharing the farm: pools of nodes, and what an account may have and spend. */
import { FarmError } from '../../protocol/errors.ts';
import type { NodeId } from '../../protocol/ids.ts';
import type { AccountChange, AccountView } from '../../protocol/sharing.ts';
import { giveKey } from '../accounts/account-keys.ts';
import { moneyOf, spendingOf } from '../accounts/spending.ts';
import type { CoordinatorContext } from '../context.ts';

/** Not for a node to say of itself: a stranger would name any pool. */
export async function setPools(
  { db }: CoordinatorContext,
  id: NodeId,
  pools: readonly string[],
): Promise<void> {
  const row = await db
    .updateTable('nodes')
    .set({ pools: JSON.stringify([...new Set(pools)]) })
    .where('id', '=', id)
    .returning('id')
    .executeTakeFirst();
  if (row === undefined)
    throw new FarmError('NOT_FOUND', `there is no node ${id}; it is known from its first hello on`, {
      kept: 'nothing was changed',
    });
}

/** What its nodes work on now is not taken away by a lower limit, nor is money that is promised by a lower cap. */
export async function changeAccount(
  context: CoordinatorContext,
  name: string,
  { maxNodes, capPerJob, capInAll, ownKey }: AccountChange,
): Promise<AccountView> {
  await context.db.transaction().execute(async (tx) => {
    await tx
      .insertInto('accounts')
      .values({ name })
      .onConflict((conflict) => conflict.column('name').doNothing())
      .execute();
    const changes = {
      ...(maxNodes !== undefined && { max_nodes: maxNodes }),
      ...(capPerJob !== undefined && { cap_per_job: capPerJob?.toString() ?? null }),
      ...(capInAll !== undefined && { cap_in_all: capInAll?.toString() ?? null }),
    };
    if (Object.keys(changes).length > 0)
      await tx.updateTable('accounts').set(changes).where('name', '=', name).execute();
    if (ownKey === true) await giveKey(context, tx, name);
  });
  return await accountView(context, name);
}

/** Any name is an account's, whether somebody has used it or not. */
export async function accountView({ db }: CoordinatorContext, name: string): Promise<AccountView> {
  const row = await db.selectFrom('accounts').selectAll().where('name', '=', name).executeTakeFirst();
  return {
    name,
    maxNodes: row?.max_nodes ?? null,
    capPerJob: moneyOf(row?.cap_per_job),
    capInAll: moneyOf(row?.cap_in_all),
    address: row?.address ?? null,
    ...(await spendingOf(db, name)),
  };
}
