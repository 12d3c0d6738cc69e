/** Nodes as the farm knows them: seen, quarantined, excluded. */

import type { z } from 'zod';
import { FarmError } from '../../protocol/errors.ts';
import type { NodeId } from '../../protocol/ids.ts';
import type { helloSchema } from '../../protocol/messages.ts';
import type { CoordinatorContext } from '../context.ts';
import { requireNoSynthetic } from '../synthetic-engines.ts';

/** A node that was not heard of for this many lease times is offline; one missed heartbeat is a slow network. */
const OFFLINE_AFTER_LEASES = 3;

export type KnownNode = { id: NodeId; address: string; engines: string[] };

/** A node says hello: it is written down under its address. A name belongs to the key that first used it. */
export async function welcomeNode(
  context: CoordinatorContext,
  id: NodeId,
  hello: z.output<typeof helloSchema>,
): Promise<void> {
  const { allowSynthetic } = context.config;
  requireNoSynthetic(id, hello.engines, { allowSynthetic, chainId: context.chain.chainId });
  const own = context.engines.map((runtime) => runtime.engine);
  // What the farm's verifier cannot render again cannot be paid.
  const served = hello.engines.filter(({ id: engine, deviceClass }) =>
    own.some((one) => one.id === engine && one.deviceClass === deviceClass),
  );
  const [first] = served;
  if (first === undefined) {
    throw new FarmError(
      'NODE_NOT_SERVED',
      `${id} has ${listed(hello.engines)}; this farm checks ${listed(own)}`,
    );
  }
  const now = new Date(context.clock.now());
  const row = {
    address: hello.address,
    engine: first.id,
    device_class: first.deviceClass,
    engines: JSON.stringify(Object.fromEntries(served.map((one) => [one.id, one.deviceClass]))),
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
  return { id: row.id, address: row.address, engines: enginesOf(row) };
}

/** The ids of a node's engines. */
function enginesOf(row: { engine: string; engines: Record<string, string> }): string[] {
  return [...new Set([row.engine, ...Object.keys(row.engines)])];
}

/** The device class that this node has said to render with this engine on; null when it has not that engine. */
export function deviceClassOf(
  row: { engine: string; device_class: string; engines: Record<string, string> },
  engine: string,
): string | null {
  return row.engine === engine ? row.device_class : (row.engines[engine] ?? null);
}

function listed(engines: readonly { id: string; deviceClass: string }[]): string {
  return engines.map((one) => `${one.id} on ${one.deviceClass}`).join(', ');
}

/** Since when a node must have been heard of to count as online. */
export function onlineSince(nowMs: number, leaseMs: number): Date {
  return new Date(nowMs - OFFLINE_AFTER_LEASES * leaseMs);
}
