/**
 * What is read when somebody looks: states and money, from rows in flight only. No query here reads tasks, and each has
 * an index that leaves out what is settled, so a scrape costs the same after a million tasks as after one.
 */
import { statfs } from 'node:fs/promises';
import { sql } from 'kysely';
import { jobStateSchema, nodeStateSchema } from '../../protocol/job.ts';
import { batchStateSchema } from '../../protocol/verdict.ts';
import type { CoordinatorContext } from '../context.ts';
import type { FarmDb } from '../database/schema.ts';
import { onlineSince } from '../scheduling/nodes.ts';
import { nodeState } from '../states/node.ts';
import type { Part, Parts } from './readiness.ts';

/** The token has six decimals; a gauge is a float, so it is shown in whole tokens. */
const UNITS_PER_TOKEN = 1e6;

/** Sets every gauge anew. Of a part that does not answer nothing is asked: its numbers are not a number then. */
export async function readGauges(context: CoordinatorContext, parts: Parts): Promise<void> {
  const { metrics, queue, config, log } = context;
  for (const [part, state] of Object.entries(parts)) metrics.up.set({ part: part as Part }, state.ok ? 1 : 0);
  const read = async (part: Part | 'disk', work: () => Promise<void>, unknown: () => void): Promise<void> => {
    try {
      if (part !== 'disk' && !parts[part].ok) return unknown();
      await work();
    } catch (error) {
      log.warn({ err: error, part }, 'some metrics could not be read');
      unknown();
    }
  };
  await read(
    'messages',
    async () => metrics.queueDepth.set(await queue.depth()),
    () => metrics.queueDepth.set(Number.NaN),
  );
  await read(
    'disk',
    async () => {
      const { bavail, bsize } = await statfs(config.dataFolder);
      metrics.diskFree.set(bavail * bsize);
    },
    () => metrics.diskFree.set(Number.NaN),
  );
  await read(
    'database',
    async () => {
      await readNodes(context);
      await readMoney(context);
    },
    () => {
      for (const one of [metrics.nodes, metrics.openJobs, metrics.openBatches, metrics.money]) one.reset();
      metrics.oldestBatch.set(Number.NaN);
    },
  );
}

async function readNodes({ db, clock, config, metrics }: CoordinatorContext): Promise<void> {
  const now = clock.now();
  const since = onlineSince(now, config.leaseMs);
  const rows = await db
    .selectFrom('nodes')
    .select(['last_seen_at', 'quarantined_until'])
    .where('canary', '=', false)
    .execute();
  const counts = new Map(nodeStateSchema.options.map((state) => [state, 0]));
  for (const row of rows) {
    const state = nodeState(row, now, since);
    counts.set(state, (counts.get(state) ?? 0) + 1);
  }
  for (const [state, count] of counts) metrics.nodes.set({ state }, count);
}

async function readMoney({ db, clock, metrics }: CoordinatorContext): Promise<void> {
  const batches = await unsettledBatches(db);
  let unsettled = 0n;
  let oldestMs = clock.now();
  // All of them, so that one that is gone becomes 0.
  for (const state of batchStateSchema.options.filter((one) => one !== 'settled')) {
    const row = batches.find((one) => one.state === state);
    metrics.openBatches.set({ state }, row?.batches ?? 0);
    if (row === undefined) continue;
    unsettled += BigInt(row.amount);
    if (state !== 'open') oldestMs = Math.min(oldestMs, row.oldest.getTime());
  }
  metrics.oldestBatch.set((clock.now() - oldestMs) / 1_000);
  const jobs = await unclosedJobs(db);
  let unspent = 0n;
  for (const state of jobStateSchema.options) {
    const row = jobs.find((one) => one.state === state);
    metrics.openJobs.set({ state }, row?.jobs ?? 0);
    unspent += BigInt(row?.unspent ?? 0);
  }
  metrics.money.set({ part: 'unsettled' }, Number(unsettled) / UNITS_PER_TOKEN);
  metrics.money.set({ part: 'unspent' }, Number(unspent - unsettled) / UNITS_PER_TOKEN);
}

async function unsettledBatches(db: FarmDb) {
  const { rows } = await sql<{ state: string; batches: number; amount: string; oldest: Date }>`
    select state, count(*)::int as batches, coalesce(sum(amount), 0)::text as amount, min(opened_at) as oldest
    from batches where state <> 'settled' and receipts > 0 group by state`.execute(db);
  return rows;
}

async function unclosedJobs(db: FarmDb) {
  const { rows } = await sql<{ state: string; jobs: number; unspent: string }>`
    select state, count(*)::int as jobs,
           coalesce(sum(quote - spent) filter (where escrow = 'open'), 0)::text as unspent
    from jobs where escrow <> 'closed' group by state`.execute(db);
  return rows;
}
