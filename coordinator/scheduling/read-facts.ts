/** The facts that decisions are made from, out of the database: active jobs, their accounts, what is in flight. */
import { sql } from 'kysely';
import type { Digest, JobId, NodeId } from '../../protocol/ids.ts';
import type { FarmDb } from '../database/schema.ts';
import { isBesideOlder } from './copies/two-leases.ts';
import type { AccountFacts, FarmFacts, JobFacts } from './matching/facts.ts';
import { type Rebased, rebase } from './matching/fair-share.ts';

type JobLine = {
  id: JobId;
  seq: string;
  account: string;
  priority: number;
  scene: Digest;
  engine: string;
  device_class: string | null;
  deadline_at: Date;
  max_nodes: number | null;
  pool: string | null;
  share_base: number | null;
  account_max: number | null;
  account_base: number | null;
  excluded: NodeId[] | null;
  tasks_total: number;
};

/** What every decision of the next moment is made from. `competing`: jobs that have something to hand out. */
export async function readFacts(
  db: FarmDb,
  competing: ReadonlySet<JobId>,
  nowMs: number,
): Promise<FarmFacts> {
  const farm = await readUnchanged(db, nowMs);
  const rebased = rebase(farm, competing, nowMs);
  await writeBases(db, rebased);
  for (const [id, base] of rebased.jobs) Object.assign(farm.jobs.get(id) ?? {}, { base });
  for (const [name, base] of rebased.accounts) Object.assign(farm.accounts.get(name) ?? {}, { base });
  return farm;
}

/** The same for who only looks: nobody's share begins, or is cut, by looking. */
export async function readUnchanged(db: FarmDb, nowMs: number): Promise<FarmFacts> {
  const jobs = new Map<JobId, JobFacts>();
  const accounts = new Map<string, AccountFacts>();
  const { rows } = await sql<JobLine>`
    select j.id, j.seq, j.account, j.priority, j.scene, j.engine, j.device_class, j.deadline_at, j.max_nodes, j.pool, j.share_base,
           a.max_nodes as account_max, a.share_base as account_base,
           (select array_agg(e.node_id) from job_exclusions e where e.job_id = j.id) as excluded, j.tasks_total
    from jobs j left join accounts a on a.name = j.account
    where j.state = 'active' order by j.seq`.execute(db);
  for (const row of rows) {
    jobs.set(row.id, {
      id: row.id,
      seq: Number(row.seq),
      account: row.account,
      priority: row.priority,
      scene: row.scene,
      engine: row.engine,
      deviceClass: row.device_class,
      deadlineMs: row.deadline_at.getTime(),
      maxNodes: row.max_nodes,
      pool: row.pool,
      // Nodes have no asks of their own yet: the farm's tariff is the same for all.
      cap: null,
      excluded: new Set(row.excluded ?? []),
      base: row.share_base,
      usedMs: 0,
      usedTasks: 0,
      inFlight: new Map(),
      left: row.tasks_total,
    });
    accounts.set(row.account, { maxNodes: row.account_max, base: row.account_base, usedMs: 0 });
  }
  if (jobs.size > 0) await addUse(db, { atMs: nowMs, jobs, accounts });
  return { atMs: nowMs, jobs, accounts };
}

async function addUse(db: FarmDb, { jobs, accounts }: FarmFacts): Promise<void> {
  const used = await sql<{ account: string; job_id: JobId | null; ms: number; tasks: number }>`
    select account, job_id, sum(ms) as ms, sum(tasks) as tasks from node_time
    where account = any(${[...accounts.keys()]}::text[])
    group by account, job_id`.execute(db);
  for (const { account: name, job_id: id, ms, tasks } of used.rows) {
    const account = accounts.get(name);
    if (account !== undefined) account.usedMs += ms;
    const job = id === null ? undefined : jobs.get(id);
    if (job !== undefined)
      Object.assign(job, { usedMs: ms, usedTasks: tasks, left: Math.max(0, job.left - tasks) });
  }
  const leased = await sql<{ job_id: JobId; node_id: NodeId; leases: number; since: Date }>`
    select job_id, node_id, count(*)::int as leases, min(leased_at) as since
    from (select job_id, node_id, leased_at from tasks where state = 'leased'
          union all
          select t.job_id, c.node_id, c.leased_at from task_copies c join tasks t on ${isBesideOlder}
          where not c.alone) l
    group by job_id, node_id`.execute(db);
  for (const { job_id: id, node_id: node, leases, since } of leased.rows) {
    const job = jobs.get(id);
    if (job === undefined) continue;
    job.inFlight.set(node, { leases, sinceMs: since.getTime() });
    job.left = Math.max(0, job.left - leases);
  }
}

async function writeBases(db: FarmDb, { jobs, accounts }: Rebased): Promise<void> {
  if (jobs.size > 0) {
    const rows = [...jobs].map(([id, base]) => ({ id, base }));
    await sql`
      update jobs j set share_base = r.base
      from jsonb_to_recordset(${JSON.stringify(rows)}::jsonb) as r(id text, base double precision)
      where j.id = r.id`.execute(db);
  }
  if (accounts.size > 0) {
    const rows = [...accounts].map(([name, base]) => ({ name, base }));
    await sql`
      insert into accounts (name, share_base)
      select r.name, r.base from jsonb_to_recordset(${JSON.stringify(rows)}::jsonb) as r(name text, base double precision)
      on conflict (name) do update set share_base = excluded.share_base`.execute(db);
  }
}
