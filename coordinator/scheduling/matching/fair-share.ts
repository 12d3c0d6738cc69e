/**
 * Who is next: stride scheduling (Waldspurger and Weihl 1995) in two levels. Each account, and each job within its
 * account, has a virtual time: the node time that it had, divided by its weight (1 for accounts, the priority for jobs).
 * Whoever is furthest behind is served next, so that shares of node time follow the weights however long the tasks are. Pure;
 * a decision looks at jobs and at nodes with leases, never at tasks.
 */
import type { JobId } from '../../../protocol/ids.ts';
import type { AccountFacts, FarmFacts, InFlight, JobFacts } from './facts.ts';

/** What a task is taken to last while no task of any job is back. */
const UNKNOWN_MS = 1_000;

/**
 * Who could not be served (no node fitted, nothing to do) catches up on this much of the whole farm's time afterwards
 * and is forgiven the rest, so that nobody who was away for a day takes the farm for hours.
 */
const CREDIT_MS = 60_000;

/** A task too long for that is no absence: differences of some such tasks are left as they are. */
const CREDIT_TASKS = 4;

/** What a share is counted for. */
type Party = { base: number | null; chargedMs: number; chunkMs: number; weight: number };

/** Mean node time of a job's tasks so far; before its first, that of the others. */
export function typicalMs(job: JobFacts, farm: FarmFacts): number {
  if (job.usedTasks > 0) return job.usedMs / job.usedTasks;
  let ms = 0;
  let tasks = 0;
  for (const other of farm.jobs.values()) {
    ms += other.usedMs;
    tasks += other.usedTasks;
  }
  return tasks > 0 ? ms / tasks : UNKNOWN_MS;
}

/** Node time of one node's leases: at least what has passed, and what they may be expected to take. */
function inFlightMs({ leases, sinceMs }: InFlight, typical: number, nowMs: number): number {
  return Math.max(0, nowMs - sinceMs, leases * typical);
}

function partyOfJob(job: JobFacts, farm: FarmFacts, nowMs: number): Party {
  const typical = typicalMs(job, farm);
  let flyingMs = 0;
  let chunkMs = typical;
  for (const flight of job.inFlight.values()) {
    const ms = inFlightMs(flight, typical, nowMs);
    flyingMs += ms;
    chunkMs = Math.max(chunkMs, ms);
  }
  return { base: job.base, chargedMs: job.usedMs + flyingMs, chunkMs, weight: job.priority };
}

function virtualTime({ base, chargedMs, weight }: Party): number {
  return (base ?? 0) + chargedMs / weight;
}

/** Virtual times of all jobs and accounts at one moment. */
export type Standing = { jobs: Map<JobId, number>; accounts: Map<string, number> };

export function standing(farm: FarmFacts, nowMs: number): Standing {
  const { jobs, accounts } = parties(farm, nowMs);
  const timesOf = <K>(of: Map<K, Party>) => new Map([...of].map(([key, party]) => [key, virtualTime(party)]));
  return { jobs: timesOf(jobs), accounts: timesOf(accounts) };
}

function parties(farm: FarmFacts, nowMs: number) {
  const jobs = new Map<JobId, Party>();
  const accounts = new Map<string, Party>();
  for (const [name, account] of farm.accounts) accounts.set(name, partyOfAccount(account));
  for (const [id, job] of farm.jobs) {
    const party = partyOfJob(job, farm, nowMs);
    jobs.set(id, party);
    const account = accounts.get(job.account);
    if (account === undefined) continue;
    account.chargedMs += party.chargedMs - job.usedMs;
    account.chunkMs = Math.max(account.chunkMs, party.chunkMs);
  }
  return { jobs, accounts };
}

function partyOfAccount({ base, usedMs }: AccountFacts): Party {
  return { base, chargedMs: usedMs, chunkMs: 0, weight: 1 };
}

/** Where virtual times have to begin anew. */
export type Rebased = { jobs: Map<JobId, number>; accounts: Map<string, number> };

/**
 * Lets newcomers begin where the one furthest behind is, and closes gaps that are wider than {@link CREDIT_MS} allows.
 * The order never changes. `competing`: jobs that have something to hand out.
 */
export function rebase(farm: FarmFacts, competing: ReadonlySet<JobId>, nowMs: number): Rebased {
  const { jobs, accounts } = parties(farm, nowMs);
  const nodes = new Set([...farm.jobs.values()].flatMap((job) => [...job.inFlight.keys()]));
  const creditMs = CREDIT_MS * Math.max(1, nodes.size);
  const result: Rebased = { jobs: new Map(), accounts: new Map() };
  const busy = new Set(
    [...farm.jobs.values()].filter(({ id }) => competing.has(id)).map((job) => job.account),
  );
  for (const [name, base] of basesOf(accounts, busy, creditMs)) result.accounts.set(name, base);
  for (const name of accounts.keys()) {
    const own = new Map([...jobs].filter(([id]) => farm.jobs.get(id)?.account === name));
    for (const [id, base] of basesOf(own, competing, creditMs)) result.jobs.set(id, base);
  }
  return result;
}

/** The bases that change. */
function basesOf<K>(all: Map<K, Party>, competing: ReadonlySet<K>, creditMs: number): Map<K, number> {
  const changed = new Map<K, number>();
  const known = [...all].filter(([, party]) => party.base !== null);
  const rivals = known.filter(([key]) => competing.has(key));
  const behind = (rivals.length > 0 ? rivals : known).map(([, party]) => virtualTime(party));
  const start = behind.length === 0 ? 0 : Math.min(...behind);
  for (const [key, party] of all) {
    if (party.base === null) changed.set(key, start - party.chargedMs / party.weight);
  }
  const order = known.sort(([, a], [, b]) => virtualTime(b) - virtualTime(a));
  let lift = 0;
  for (const [index, [key, party]] of order.entries()) {
    const above = order[index - 1]?.[1];
    if (above !== undefined) {
      const gap = virtualTime(above) - virtualTime(party);
      const allowed = Math.max(creditMs / party.weight, (CREDIT_TASKS * above.chunkMs) / above.weight);
      lift += Math.max(0, gap - allowed);
    }
    if (lift > 0) changed.set(key, (party.base ?? 0) + lift);
  }
  return changed;
}
