/** What an operator says about sharing the farm: pools of nodes, and the most nodes of an account. */
import { FarmError } from '../../protocol/errors.ts';
import type { NodeId } from '../../protocol/ids.ts';
import type { AccountView } from '../../protocol/sharing.ts';
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

/** Null: any number. What the account has now is not taken away; it gets no more. */
export async function setAccountLimit(
  { db }: CoordinatorContext,
  name: string,
  maxNodes: number | null,
): Promise<AccountView> {
  await db
    .insertInto('accounts')
    .values({ name, max_nodes: maxNodes })
    .onConflict((conflict) => conflict.column('name').doUpdateSet({ max_nodes: maxNodes }))
    .execute();
  return { name, maxNodes };
}
