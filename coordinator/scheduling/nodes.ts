/** Nodes as the farm knows them: seen, quarantined, excluded. */

import type { z } from 'zod';
import { FarmError } from '../../protocol/errors.ts';
import type { NodeId } from '../../protocol/ids.ts';
import type { helloSchema } from '../../protocol/messages.ts';
import type { CoordinatorContext } from '../context.ts';

/** A node that was not heard of for this many lease times is offline; one missed heartbeat is a slow network. */
const OFFLINE_AFTER_LEASES = 3;

export type KnownNode = { id: NodeId; address: string; engine: string };

/** A node says hello: it is written down under its address. A name belongs to the key that first used it. */
export async function welcomeNode(
  context: CoordinatorContext,
  id: NodeId,
  hello: z.output<typeof helloSchema>,
): Promise<void> {
  const own = context.runtime.engine;
  if (hello.engine !== own.id || hello.deviceClass !== own.deviceClass) {
    throw new FarmError(
      'NODE_NOT_SERVED',
      `${id} has ${hello.engine} on ${hello.deviceClass}; this farm checks ${own.id} on ${own.deviceClass}`,
    );
  }
  const now = new Date(context.clock.now());
  const row = {
    address: hello.address,
    engine: hello.engine,
    device_class: hello.deviceClass,
    last_seen_at: now,
  };
  const known = await context.db
    .selectFrom('nodes')
    .select('address')
    .where('id', '=', id)
    .executeTakeFirst();
  if (known !== undefined && known.address !== hello.address) {
    throw new FarmError('UNAUTHORIZED', `the name ${id} belongs to another key`);
  }
  await context.db
    .insertInto('nodes')
    .values({ id, ...row })
    .onConflict((conflict) => conflict.column('id').doUpdateSet(row))
    .execute();
}

/** The node, if it may work now. Throws NODE_QUARANTINED with the reason and the end of it. */
export async function requireWorkingNode(context: CoordinatorContext, id: NodeId): Promise<KnownNode> {
  const now = context.clock.now();
  const row = await context.db
    .updateTable('nodes')
    .set({ last_seen_at: new Date(now) })
    .where('id', '=', id)
    .returningAll()
    .executeTakeFirst();
  if (row === undefined) throw new FarmError('UNAUTHORIZED', `${id} has not said hello`);
  if (row.quarantined_until !== null && row.quarantined_until.getTime() > now) {
    throw new FarmError(
      'NODE_QUARANTINED',
      `no work until ${row.quarantined_until.toISOString()}: ${row.reason}`,
    );
  }
  return { id: row.id, address: row.address, engine: row.engine };
}

/** Since when a node must have been heard of to count as online. */
export function onlineSince(nowMs: number, leaseMs: number): Date {
  return new Date(nowMs - OFFLINE_AFTER_LEASES * leaseMs);
}
