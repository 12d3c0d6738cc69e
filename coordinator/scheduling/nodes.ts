/** Nodes as the farm knows them: seen, quarantined, excluded. */

import { type Selectable, sql } from 'kysely';
import type { z } from 'zod';
import { classKey, isGpuClass } from '../../platform/render/device-choice.ts';
import type { Settled } from '../../platform/together.ts';
import { FarmError } from '../../protocol/errors.ts';
import type { NodeId } from '../../protocol/ids.ts';
import type { helloSchema } from '../../protocol/messages.ts';
import type { CoordinatorContext } from '../context.ts';
import type { FarmTables, NodeGpu } from '../database/schema.ts';
import { requireNoSynthetic } from '../synthetic-engines.ts';

/** A node that was not heard of for this many lease times is offline; one missed heartbeat is a slow network. */
const OFFLINE_AFTER_LEASES = 3;

export type KnownNode = {
  id: NodeId;
  address: string;
  /** On its CPU. */
  engines: string[];
  /** The GPU that asks, and what it renders as {@link classKey}s: then it is not the CPU that asks. */
  gpu?: { device: string; classes: string[] };
  pools?: readonly string[];
};

/**
 * A node says hello: it is written down under its address. A name belongs to the key that first used it. Gives the
 * device class that it likes best of those that are checked here.
 */
export async function welcomeNode(
  context: CoordinatorContext,
  id: NodeId,
  hello: z.output<typeof helloSchema>,
): Promise<string> {
  const { allowSynthetic } = context.config;
  requireNoSynthetic(id, hello.engines, { allowSynthetic, chainId: context.chain.chainId });
  const own = context.engines.map((runtime) => runtime.engine);
  // What the farm's verifier cannot render again cannot be paid.
  const served = hello.engines.filter(({ id: engine, deviceClass }) =>
    own.some((one) => one.id === engine && one.deviceClass === deviceClass),
  );
  const onCpu = served.filter((one) => one.device === undefined && !isGpuClass(one.deviceClass));
  const onGpus = served.flatMap(({ id: engine, deviceClass, device }) =>
    device !== undefined && isGpuClass(deviceClass) ? [{ engine, deviceClass, device }] : [],
  );
  const first = onCpu[0] ?? served.find((one) => one.device !== undefined && isGpuClass(one.deviceClass));
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
    engines: JSON.stringify(Object.fromEntries(onCpu.map((one) => [one.id, one.deviceClass]))),
    gpus: JSON.stringify(onGpus),
    appeals: hello.appeals === true,
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
  return first.deviceClass;
}

/** Nodes that ask at the same moment are looked up together, so many at a time. */
export const MAX_LOOKED_UP = 256;

/** Who was heard of less long ago need not be noted again: it is compared with times of seconds. */
const SEEN_MS = 1_000;

/** A node that asks, and the GPU that asks where it is one. */
export type Question = { id: NodeId; device?: string | undefined };

/** {@link workingNodes} for one. */
export async function requireWorkingNode(
  context: CoordinatorContext,
  id: NodeId,
  device?: string,
): Promise<KnownNode> {
  const [found] = await workingNodes(context, [{ id, device }]);
  if (found === undefined) throw new Error('a node was not looked up');
  if ('error' in found) throw found.error;
  return found.value;
}

/**
 * For each that asks the node, or its GPU, if it may work now. Else the error is NODE_QUARANTINED with the reason and the
 * end of it, NODE_NOT_REGISTERED where the escrow would not pay it, or MESSAGE_INVALID for a GPU that its hello did not name or
 * this farm does not check.
 */
export async function workingNodes(
  context: CoordinatorContext,
  questions: readonly Question[],
): Promise<Settled<KnownNode>[]> {
  const now = context.clock.now();
  const ids = [...new Set(questions.map(({ id }) => id))];
  const { rows } = await sql<Selectable<FarmTables['nodes']>>`
    select * from nodes where id = any(${ids}::text[])`.execute(context.db);
  const unseen = rows.filter((row) => Math.abs(now - row.last_seen_at.getTime()) >= SEEN_MS);
  // Nobody waits for it: its next message says the same.
  void noteSeen(
    context,
    unseen.map((row) => row.id),
  ).catch((error: unknown) => context.log.warn({ err: error }, 'it was not noted which nodes were heard of'));
  const nodes = new Map(rows.map((row) => [row.id, row]));
  return questions.map((question) => {
    try {
      return { value: knownNode(question, nodes.get(question.id), now) };
    } catch (error) {
      return { error };
    }
  });
}

/** These nodes were heard of just now. */
export async function noteSeen(context: CoordinatorContext, ids: readonly NodeId[]): Promise<void> {
  if (ids.length === 0) return;
  // Locked in one order, whoever notes it.
  await sql`
    update nodes n set last_seen_at = ${new Date(context.clock.now())}
    from (select id from nodes where id = any(${ids as NodeId[]}::text[]) order by id for update) mine
    where n.id = mine.id`.execute(context.db);
}

function knownNode(
  { id, device }: Question,
  row: Selectable<FarmTables['nodes']> | undefined,
  now: number,
): KnownNode {
  if (row === undefined) throw new FarmError('UNAUTHORIZED', `${id} has not said hello`);
  if (row.quarantined_until !== null && row.quarantined_until.getTime() > now) {
    throw new FarmError(
      'NODE_QUARANTINED',
      `no work until ${row.quarantined_until.toISOString()}: ${row.reason}`,
    );
  }
  if (row.operator === null) {
    throw new FarmError('NODE_NOT_REGISTERED', `${id} (${row.address}) is not registered on chain`);
  }
  const node = { id: row.id, address: row.address, engines: enginesOf(row), pools: row.pools };
  if (device === undefined) return node;
  const own = row.gpus.filter((one) => one.device === device);
  if (own.length === 0) {
    throw new FarmError('MESSAGE_INVALID', `${id} has no GPU ${device} that this farm checks`);
  }
  return { ...node, gpu: { device, classes: own.map((one) => classKey(one.engine, one.deviceClass)) } };
}

type Engines = { engine: string; device_class: string; engines: Record<string, string> };

/** The ids of a node's engines on its CPU. */
function enginesOf(row: Engines): string[] {
  const first = isGpuClass(row.device_class) ? [] : [row.engine];
  return [...new Set([...first, ...Object.keys(row.engines)])];
}

/**
 * The device class that this node has said to render such a job on; null when it has not that engine there. A job
 * without a class is for CPUs.
 */
export function deviceClassOf(
  row: Engines & { gpus: readonly NodeGpu[] },
  job: { engine: string; deviceClass?: string | undefined },
): string | null {
  const { engine, deviceClass } = job;
  if (deviceClass !== undefined) {
    const has = row.gpus.some((one) => one.engine === engine && one.deviceClass === deviceClass);
    return has ? deviceClass : null;
  }
  const isFirst = row.engine === engine && !isGpuClass(row.device_class);
  return isFirst ? row.device_class : (row.engines[engine] ?? null);
}

/** The {@link classKey}s of GPUs that are online and may work. */
export async function offeredGpus(context: CoordinatorContext): Promise<Set<string>> {
  const now = context.clock.now();
  const rows = await context.db
    .selectFrom('nodes')
    .select(['gpus', 'quarantined_until'])
    .where('last_seen_at', '>', onlineSince(now, context.config.leaseMs))
    .execute();
  const working = rows.filter((row) => (row.quarantined_until?.getTime() ?? 0) <= now);
  return new Set(working.flatMap((row) => row.gpus.map((one) => classKey(one.engine, one.deviceClass))));
}

function listed(engines: readonly { id: string; deviceClass: string }[]): string {
  return engines.map((one) => `${one.id} on ${one.deviceClass}`).join(', ');
}

/** Since when a node must have been heard of to count as online. */
export function onlineSince(nowMs: number, leaseMs: number): Date {
  return new Date(nowMs - OFFLINE_AFTER_LEASES * leaseMs);
}
