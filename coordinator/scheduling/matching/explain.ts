/** Why something of a job waits, in words: the refusals of match.ts, counted over the nodes. Pure. */
import { assertNever } from '../../../protocol/errors.ts';
import type { NodeId } from '../../../protocol/ids.ts';
import type { JobState } from '../../../protocol/job.ts';
import type { TaskKind } from '../../../protocol/receipt.ts';
import type { JobWhy, Stand } from '../../../protocol/why.ts';
import { taskName } from '../task-name.ts';
import type { FarmFacts, JobFacts, NodeFacts } from './facts.ts';
import { type Standing, standing } from './fair-share.ts';
import { match } from './match.ts';

export type SeenNode = {
  id: NodeId;
  online: boolean;
  /** Its CPU and its GPUs. */
  devices: readonly NodeFacts[];
  /** Waiting tasks of the job that it may take, as far as its failures go. */
  mayTake: number;
};

/** A task that `nodeId` has a copy of, and how long `ofNodeId` has had it. */
export type RunningCopy = {
  kind: TaskKind;
  frame: number;
  tile: number;
  nodeId: NodeId;
  ofNodeId: NodeId;
  ofMs: number;
};

export type Situation = {
  job: {
    state: JobState;
    reason: string | null;
    engine: string;
    deviceClass: string | null;
    /** Tasks that could be handed out now, rows or not. */
    queued: number;
    /** Finish tasks whose tiles are not all here. */
    waiting: number;
    leased: number;
    delivered: number;
    /** Tasks that a second node works on as well. */
    copies: readonly RunningCopy[];
  };
  /** Null where it is not active. */
  facts: JobFacts | null;
  farm: FarmFacts;
  nodes: readonly SeenNode[];
  /** Nodes that a person keeps away from the job, with name and reason; and whether any is kept away from tasks of it. */
  kept: { ofJob: ReadonlyMap<NodeId, string>; ofTasks: boolean };
  nowMs: number;
};

/** From what says least to what says most about one node with several devices. */
const TELLING: readonly Stand[] = [
  'device',
  'engine',
  'pool',
  'price',
  'excluded',
  'blocked',
  'deadline',
  'quarantined',
  'job-limit',
  'account-limit',
  'offline',
  'failed-all',
  'busy',
  'works',
  'free',
];

export function explain(situation: Situation): Pick<JobWhy, 'summary' | 'nodes' | 'share'> {
  const { job, facts, farm, nodes, kept, nowMs } = situation;
  const early = beforeNodes(job);
  if (early !== null || facts === null)
    return { summary: early ?? 'nothing of it waits', nodes: [], share: null };
  const stands = new Map<Stand, NodeId[]>();
  const behind = standing(farm, nowMs);
  for (const node of nodes) {
    const stand =
      kept.ofJob.has(node.id) && node.online ? 'blocked' : standOf(node, facts, farm, behind, nowMs);
    stands.set(stand, [...(stands.get(stand) ?? []), node.id]);
  }
  const share = shareOf(facts, farm, stands);
  const groups = TELLING.flatMap((stand) => {
    const ids = stands.get(stand);
    return ids === undefined ? [] : [{ stand, ids, text: textOf(stand, facts, farm, reasonsOf(ids, kept)) }];
  }).reverse();
  return { summary: summaryOf(job, facts, farm, stands, share, kept), nodes: groups, share };
}

/** What can be said without looking at nodes. */
function beforeNodes(job: Situation['job']): string | null {
  switch (job.state) {
    case 'opening':
      return 'its budget is being locked in the escrow; work begins when the chain has it';
    case 'completed':
      return 'it is completed; nothing of it waits';
    case 'failed':
    case 'cancelled':
      return `it has ended (${job.state}): ${job.reason ?? 'no reason was given'}`;
    case 'active':
      break;
    default:
      return assertNever(job.state);
  }
  if (job.queued > 0) return null;
  if (job.leased > 0) {
    const copies = job.copies.map((copy) => `; ${copyText(copy)}`).join('');
    return `nothing waits for a node: ${tasks(job.leased)} being rendered${copies}`;
  }
  if (job.waiting > 0 && job.delivered > 0)
    return `all tiles are rendered: ${tasks(job.delivered)} being checked, and frames are merged after that`;
  return job.delivered > 0
    ? `everything is rendered: ${tasks(job.delivered)} being checked`
    : 'nothing of it waits';
}

function standOf(node: SeenNode, job: JobFacts, farm: FarmFacts, behind: Standing, nowMs: number): Stand {
  if (!node.online) return 'offline';
  const stands = node.devices.map((device): Stand => {
    const refused = match(device, farm, [job.id], nowMs, behind).refused.get(job.id);
    if (refused !== undefined) return refused;
    if (job.inFlight.has(node.id)) return 'works';
    if (node.mayTake === 0) return 'failed-all';
    return [...farm.jobs.values()].some(({ inFlight }) => inFlight.has(node.id)) ? 'busy' : 'free';
  });
  return TELLING.findLast((stand) => stands.includes(stand)) ?? 'engine';
}

/** How many of the nodes that fit are the job's by its priority and its account. */
function shareOf(
  job: JobFacts,
  farm: FarmFacts,
  stands: ReadonlyMap<Stand, NodeId[]>,
): NonNullable<JobWhy['share']> {
  const fitting = (['works', 'busy', 'free'] as const).flatMap((stand) => stands.get(stand) ?? []);
  const own = [...farm.jobs.values()].filter(({ account }) => account === job.account);
  const weights = own.reduce((sum, { priority }) => sum + priority, 0);
  const part = job.priority / weights / Math.max(1, farm.accounts.size);
  return {
    working: stands.get('works')?.length ?? 0,
    fair: Math.round(fitting.length * part * 10) / 10,
    fitting: fitting.length,
  };
}

function summaryOf(
  job: Situation['job'],
  facts: JobFacts,
  farm: FarmFacts,
  stands: ReadonlyMap<Stand, NodeId[]>,
  share: NonNullable<JobWhy['share']>,
  kept: Situation['kept'],
): string {
  const many = (count: number): string => (count === 1 ? '1 node' : `${count} nodes`);
  const waits = job.queued === 1 ? '1 task waits' : `${job.queued} tasks wait`;
  const free = stands.get('free')?.length ?? 0;
  const fair = `its fair share is ${share.fair} of ${share.fitting}`;
  if (share.working > 0)
    return `${waits} while ${many(share.working)} of ${share.fitting} that fit work on it; ${fair}`;
  if (free > 0) return `${waits}; ${many(free)} that fit are free and get them next`;
  if (share.fitting > 0) return `${waits}: every node that fits is busy with other jobs; ${fair}`;
  const nearest = TELLING.findLast((stand) => stand !== 'offline' && stands.has(stand));
  if (nearest === undefined)
    return stands.size === 0
      ? `${waits}: this farm has no nodes yet`
      : `${waits}: every node of this farm is offline`;
  const ids = stands.get(nearest) ?? [];
  const text = textOf(nearest, facts, farm, reasonsOf(ids, kept));
  return `${waits}: no node may take them; nearest to it: ${many(ids.length)} (${text})`;
}

/** What people say of these nodes. */
type Reasons = { names: string; ofTasks: boolean };

function reasonsOf(ids: readonly NodeId[], { ofJob, ofTasks }: Situation['kept']): Reasons {
  const said = ids.flatMap((id) => ofJob.get(id) ?? []);
  return { names: [...new Set(said)].join('; '), ofTasks };
}

function textOf(stand: Stand, job: JobFacts, farm: FarmFacts, { names, ofTasks }: Reasons): string {
  const limit = (of: string, count: number | null | undefined): string =>
    `${of} may have ${count === 1 ? '1 node' : `${count} nodes`} at once, and has them`;
  switch (stand) {
    case 'engine':
      return job.deviceClass === null ? `has no ${job.engine}` : `has no ${job.engine} on ${job.deviceClass}`;
    case 'device':
      return job.deviceClass === null
        ? 'has only GPUs, and the job is for CPUs'
        : `has no ${job.deviceClass}`;
    case 'pool':
      return `is not in the pool ${job.pool}`;
    case 'price':
      return 'asks for more than the job pays';
    case 'excluded':
      return 'failed a check of this job and gets no more of it';
    case 'blocked':
      return `is kept away from this job by ${names}`;
    case 'deadline':
      return "the job's deadline has passed";
    case 'quarantined':
      return 'is quarantined';
    case 'job-limit':
      return limit('the job', job.maxNodes);
    case 'account-limit':
      return limit(`the account ${job.account}`, farm.accounts.get(job.account)?.maxNodes);
    case 'offline':
      return 'was not heard of lately';
    case 'failed-all':
      return ofTasks
        ? 'failed every task that is left or is kept away from it, and others are to try'
        : 'failed every task that is left, and others are to try';
    case 'works':
      return 'works on it';
    case 'busy':
      return 'works on other jobs';
    case 'free':
      return 'is free';
    default:
      return assertNever(stand);
  }
}

function tasks(count: number): string {
  return count === 1 ? '1 task is' : `${count} tasks are`;
}

function copyText({ nodeId, ofNodeId, ofMs, ...task }: RunningCopy): string {
  const seconds = Math.round(ofMs / 1_000);
  return `${nodeId} has a copy of ${taskName(task)}, which ${ofNodeId} has had for ${seconds} s: whoever is done first`;
}
