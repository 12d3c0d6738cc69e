/**
 * How fast tasks go out and come back: a real message server, chain and coordinator, and 1,500 nodes that take no time
 * over their tasks, in one process that speaks the nodes' protocol with real signatures. One task here is a whole round: leased,
 * delivered, checked, written down.
 */
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { MAX_RUN } from '../../protocol/messages.ts';
import { startPostgres } from '../../test/support/postgres.ts';
import { type Goal, goal, type Report, type Row, thisMachine } from '../lib/report.ts';
import type { Load } from './driver-messages.ts';
import { type Driver, startDriver } from './drivers.ts';
import { type DispatchFarm, startDispatchFarm } from './farm.ts';
import { type Measured, measure } from './measure.ts';
import { measureTakeOver } from './measure-take-over.ts';
import { type PreparedChain, prepareChain } from './prepare-chain.ts';

const NODES = 1_500;
/** Enough for the errors that ended it. */
const LOG_TAIL = 4_000;
const ENGINE = { id: 'synthetic-1', deviceClass: 'cpu-synthetic' };

type Say = (line: string) => void;
type Options = { profile?: string | undefined; only?: string | undefined };
type Case = {
  name: string;
  database: 'postgres' | 'pglite';
  jobs: number;
  framesEach: number;
  load: Load | 'half';
};

const AS_MANY_AS_POSSIBLE: Load = { tasksPerRun: MAX_RUN, perSecond: null };

/**
 * The first is what the others are held against. Each has several times what is done while it is measured: towards the end of its
 * work a farm hands out less at a time.
 */
const CASES: readonly Case[] = [
  { name: 'one job', database: 'postgres', jobs: 1, framesEach: 100_000, load: AS_MANY_AS_POSSIBLE },
  { name: 'half of that', database: 'postgres', jobs: 1, framesEach: 100_000, load: 'half' },
  { name: '200 jobs', database: 'postgres', jobs: 200, framesEach: 500, load: AS_MANY_AS_POSSIBLE },
  { name: 'backlog', database: 'postgres', jobs: 10, framesEach: 100_000, load: AS_MANY_AS_POSSIBLE },
  {
    name: 'one by one',
    database: 'postgres',
    jobs: 1,
    framesEach: 40_000,
    load: { tasksPerRun: 1, perSecond: null },
  },
  { name: 'pglite', database: 'pglite', jobs: 1, framesEach: 100_000, load: AS_MANY_AS_POSSIBLE },
];

export async function run(signal: AbortSignal, say: Say, { profile, only }: Options = {}): Promise<Report> {
  const rows: Row[] = [];
  const measured = new Map<string, Measured>();
  await using postgres = await startPostgres();
  const folder = await mkdtemp(join(tmpdir(), 'tessera-bench-'));
  await using _folder = { [Symbol.asyncDispose]: () => rm(folder, { recursive: true, force: true }) };
  say(`registering ${NODES} nodes`);
  const prepared = await prepareChain(folder, { nodes: NODES, deviceClass: ENGINE.deviceClass }, signal);
  const wanted = (name: string): boolean => only === undefined || only.split(',').includes(name);
  for (const one of CASES) {
    if (!wanted(one.name)) continue;
    const database =
      one.database === 'postgres' ? { url: await postgres.createDatabase(), pid: postgres.pid } : undefined;
    const most = measured.get('one job')?.tasksPerSecond ?? 2 * FALLBACK_HALF;
    const load = one.load === 'half' ? { tasksPerRun: MAX_RUN, perSecond: most / 2 / MAX_RUN } : one.load;
    const result = await measureCase({ ...one, load }, prepared, database, profile, signal, say);
    measured.set(one.name, result);
    rows.push(result.row);
  }
  const goals = goalsOf(measured);
  const more: Report['more'] = [];
  if (wanted(TAKE_OVER)) {
    const url = await postgres.createDatabase();
    await using farm = await startDispatchFarm({ prepared, databaseUrl: url, coordinators: 2, signal });
    const { row, recoveredMs } = await onFarm(
      farm,
      prepared,
      { name: TAKE_OVER, ...TAKE_OVER_JOBS },
      signal,
      say,
      (driver) =>
        measureTakeOver({ farm, driver, nodes: NODES, databaseUrl: url }, AS_MANY_AS_POSSIBLE, signal),
    );
    more.push({ title: TAKE_OVER, rows: [row] });
    goals.push(goal('recoveredMs', recoveredMs, 5_000, 'lower'));
  }
  return { bench: 'dispatch', machine: thisMachine(), goals, rows, more };
}

/** Its own kind of case: two coordinators, of which one is killed. */
const TAKE_OVER = 'one of two coordinators killed';
const TAKE_OVER_JOBS = { jobs: 2, framesEach: 100_000 };

/** Where only that case is asked for: half of what is asked for at most. */
const FALLBACK_HALF = 1_000;

function goalsOf(measured: ReadonlyMap<string, Measured>): Goal[] {
  const goals: Goal[] = [];
  const add = (name: string, value: number | undefined, limit: number, better: Goal['better']): void => {
    if (value !== undefined) goals.push(goal(name, value, limit, better));
  };
  const empty = measured.get('one job')?.tasksPerSecond;
  const full = ['200 jobs', 'backlog'].flatMap((name) => measured.get(name)?.tasksPerSecond ?? []);
  add('perSecondPostgres', empty, 2_000, 'higher');
  add('perSecondPglite', measured.get('pglite')?.tasksPerSecond, 700, 'higher');
  add('idleToTaskP99Ms', measured.get('half of that')?.waitP99Ms, 100, 'lower');
  if (empty !== undefined && full.length > 0)
    add('backlogSlowdown', Math.min(...full) / empty, 0.8, 'higher');
  const onPostgres = CASES.filter(({ database }) => database === 'postgres').flatMap(
    ({ name }) => measured.get(name)?.coordinatorMb ?? [],
  );
  if (onPostgres.length > 0) add('rssMb', Math.max(...onPostgres), 600, 'lower');
  return goals;
}

async function measureCase(
  { name, jobs, framesEach, load }: Case & { load: Load },
  prepared: PreparedChain,
  database: { url: string; pid: number } | undefined,
  profile: string | undefined,
  signal: AbortSignal,
  say: Say,
): Promise<Measured> {
  await using farm = await startDispatchFarm({
    prepared,
    databaseUrl: database?.url,
    profileFolder: profile,
    signal,
  });
  return await onFarm(farm, prepared, { name, jobs, framesEach }, signal, say, (driver) =>
    measure(name, { farm, driver, nodes: NODES, database: database?.pid }, load, signal),
  );
}

/** All nodes connected and the jobs handed in, then `work`. */
async function onFarm<T>(
  farm: DispatchFarm,
  prepared: PreparedChain,
  { name, jobs, framesEach }: Pick<Case, 'name' | 'jobs' | 'framesEach'>,
  signal: AbortSignal,
  say: Say,
  work: (driver: Driver) => Promise<T>,
): Promise<T> {
  const { apiUrl, natsUrl, picture } = farm;
  const { nodes, operator } = prepared;
  await using driver = await startDriver({ apiUrl, natsUrl, nodes, operator, picture, engine: ENGINE });
  say(`${name}: ${jobs} × ${framesEach} tasks, ${NODES} nodes`);
  try {
    await farm.submit(jobs, framesEach, signal);
    return await work(driver);
  } catch (error) {
    // Its folder goes away with it.
    say((await readFile(farm.coordinatorLog, 'utf8')).slice(-LOG_TAIL));
    throw error;
  }
}
