/** Two coordinators under load, of which one is killed: how long until as much goes through as before, and whether anything was taken twice. */
import pg from 'pg';
import { pause } from '../../platform/wait.ts';
import type { Row } from '../lib/report.ts';
import type { Load } from './driver-messages.ts';
import type { Driver } from './drivers.ts';
import type { DispatchFarm } from './farm.ts';
import { warmUp } from './measure.ts';

const BEFORE_MS = 10_000;
/** The longest that it is looked at. */
const AFTER_MS = 30_000;
const LOOK_MS = 250;
/** Throughput is that of the last second: of less, it jumps. */
const WINDOW_LOOKS = 4;
/** Of the throughput before: what is left of two is as good as one, and the machine's cores are as many as before. */
const RECOVERED_SHARE = 0.8;

/**
 * `recoveredMs`: from the kill to the end of the first second with {@link RECOVERED_SHARE} of the throughput before.
 * Throws where a task was taken twice, or one that was taken is not written down.
 */
export async function measureTakeOver(
  {
    farm,
    driver,
    nodes,
    databaseUrl,
  }: { farm: DispatchFarm; driver: Driver; nodes: number; databaseUrl: string },
  load: Load,
  signal: AbortSignal,
): Promise<{ row: Row; recoveredMs: number }> {
  driver.load(load);
  await warmUp(driver, nodes, signal);
  const start = await sample(driver);
  await pause(BEFORE_MS, signal);
  const end = await sample(driver);
  const before = perSecond(start, end);
  farm.killCoordinator();
  const killed = await sample(driver);
  const looks = [killed];
  let recoveredMs: number | undefined;
  let least = Number.POSITIVE_INFINITY;
  for (let now = killed; now.atMs - killed.atMs < AFTER_MS; ) {
    await pause(LOOK_MS, signal);
    now = await sample(driver);
    looks.push(now);
    const then = looks.at(-1 - WINDOW_LOOKS);
    if (then === undefined) continue;
    const rate = perSecond(then, now);
    least = Math.min(least, rate);
    if (rate >= RECOVERED_SHARE * before) recoveredMs ??= now.atMs - killed.atMs;
  }
  const after = perSecond(looks.at(-1 - Math.floor(BEFORE_MS / LOOK_MS)) ?? killed, looks.at(-1) ?? killed);
  await driver.stop();
  const taken = (await driver.counts()).completed;
  const written = await requireOnce(databaseUrl, taken);
  return {
    recoveredMs: recoveredMs ?? Number.POSITIVE_INFINITY,
    row: {
      'tasks/s before': before,
      'least tasks/s in a second after': least,
      'tasks/s at the end': after,
      'recovered after ms': recoveredMs ?? 'not at all',
      'taken, as nodes were told': taken,
      'taken, as written down': written,
    },
  };
}

type Sample = { atMs: number; completed: number };

async function sample(driver: Driver): Promise<Sample> {
  const { completed } = await driver.counts();
  return { atMs: performance.now(), completed };
}

function perSecond(from: Sample, to: Sample): number {
  return ((to.completed - from.completed) * 1_000) / (to.atMs - from.atMs);
}

/** A node that did not hear the answer of the dead coordinator counts less than is written down; never more. */
async function requireOnce(databaseUrl: string, taken: number): Promise<number> {
  const client = new pg.Client({ connectionString: databaseUrl });
  await client.connect();
  try {
    const { rows } = await client.query<{ tasks: number; leaves: number; receipts: number }>(
      `select (select count(*)::int from tasks where leaf is not null) as tasks,
        (select count(distinct leaf)::int from tasks where leaf is not null) as leaves,
        (select coalesce(sum(receipts), 0)::int from batches) as receipts`,
    );
    const [{ tasks, leaves, receipts } = { tasks: 0, leaves: 0, receipts: 0 }] = rows;
    if (tasks !== leaves || tasks !== receipts || taken > tasks)
      throw new Error(
        `nodes were told of ${taken} results that were taken; ${tasks} tasks have one, ${leaves} different ones, batches count ${receipts}`,
      );
    return tasks;
  } finally {
    await client.end();
  }
}
