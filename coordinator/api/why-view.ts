/** `GET /jobs/:id/why`: the situation of a job, read once, and what the matching says about it. */
import { sql } from 'kysely';
import { classKey, isGpuClass } from '../../platform/render/device-choice.ts';
import type { BlockView } from '../../protocol/blocks.ts';
import { FarmError } from '../../protocol/errors.ts';
import type { JobId, NodeId } from '../../protocol/ids.ts';
import type { JobWhy } from '../../protocol/why.ts';
import type { CoordinatorContext } from '../context.ts';
import type { FarmQuery, NodeGpu } from '../database/schema.ts';
import { blocksOf } from '../scheduling/blocks.ts';
import { isOfNode } from '../scheduling/claim-run.ts';
import { isBesideOlder } from '../scheduling/copies/two-leases.ts';
import { explain, type RunningCopy, type SeenNode, type Situation } from '../scheduling/matching/explain.ts';
import type { NodeFacts } from '../scheduling/matching/facts.ts';
import { onlineSince } from '../scheduling/nodes.ts';
import { readUnchanged } from '../scheduling/read-facts.ts';
import { openTasks } from './task-counts.ts';

export async function whyView(context: CoordinatorContext, id: JobId): Promise<JobWhy> {
  const { db, clock, config } = context;
  const nowMs = clock.now();
  const job = await db.selectFrom('jobs').selectAll().where('id', '=', id).executeTakeFirst();
  if (job === undefined) throw new FarmError('NOT_FOUND', `there is no job ${id}`);
  const { queued, waiting, leased, delivered } = await openTasks(db, job);
  const tasks = { queued, waiting, leased, delivered };
  const farm = await readUnchanged(db, nowMs);
  const { engine, deviceClass = null } = job.spec;
  const said = explain({
    job: {
      state: job.state,
      reason: job.reason,
      engine,
      deviceClass,
      ...tasks,
      copies: await copiesOf(db, id, nowMs),
    },
    facts: farm.jobs.get(id) ?? null,
    farm,
    kept: keptOf((await blocksOf(db, [id])).get(id) ?? []),
    nodes: await seenNodes(context, id, onlineSince(nowMs, config.leaseMs)),
    nowMs,
  });
  return { id, state: job.state, tasks, ...said };
}

function keptOf(blocks: readonly BlockView[]): Situation['kept'] {
  const ofJob = blocks.flatMap(({ nodeId, taskId, by, reason }) =>
    taskId === null && by !== null ? [[nodeId, `${by}: ${reason}`] as const] : [],
  );
  return { ofJob: new Map(ofJob), ofTasks: blocks.some(({ taskId }) => taskId !== null) };
}

async function copiesOf(db: FarmQuery, id: JobId, nowMs: number): Promise<RunningCopy[]> {
  const { rows } = await sql<Omit<RunningCopy, 'ofMs'> & { since: Date }>`
    select t.kind, t.frame, t.tile, t.node_id as "nodeId", c.node_id as "ofNodeId", c.leased_at as since
    from task_copies c join tasks t on ${isBesideOlder}
    where t.job_id = ${id} and not c.alone order by t.position`.execute(db);
  return rows.map(({ since, ...copy }) => ({ ...copy, ofMs: nowMs - since.getTime() }));
}

type NodeLine = {
  id: NodeId;
  engine: string;
  device_class: string;
  engines: Record<string, string>;
  gpus: NodeGpu[];
  pools: string[];
  quarantined_until: Date | null;
  online: boolean;
  may_take: number;
};

async function seenNodes({ db }: CoordinatorContext, jobId: JobId, since: Date): Promise<SeenNode[]> {
  const { rows } = await sql<NodeLine>`
    select n.id, n.engine, n.device_class, n.engines, n.gpus, n.pools, n.quarantined_until,
           n.last_seen_at > ${since} as online,
           (select count(*)::int from tasks t
            where t.job_id = ${jobId} and t.state = 'queued' and ${isOfNode(sql`n.id`)}) as may_take
    from nodes n order by n.id`.execute(db);
  return rows.map((row) => ({
    id: row.id,
    online: row.online,
    devices: devicesOf(row),
    mayTake: row.may_take,
  }));
}

/** A node as each of its devices would ask. */
function devicesOf(row: NodeLine): NodeFacts[] {
  const common = {
    id: row.id,
    pools: row.pools,
    quarantinedUntilMs: row.quarantined_until?.getTime() ?? null,
    warm: [],
    lastJob: null,
    ask: null,
  };
  const first = isGpuClass(row.device_class) ? [] : [row.engine];
  const engines = [...new Set([...first, ...Object.keys(row.engines)])];
  const cpu: NodeFacts[] = engines.length === 0 ? [] : [{ ...common, device: { kind: 'cpu', engines } }];
  const cards = [...new Set(row.gpus.map(({ device }) => device))];
  return cpu.concat(
    cards.map((card) => {
      const own = row.gpus.filter(({ device }) => device === card);
      const classes = own.map((one) => classKey(one.engine, one.deviceClass));
      return { ...common, device: { kind: 'gpu', classes } };
    }),
  );
}
