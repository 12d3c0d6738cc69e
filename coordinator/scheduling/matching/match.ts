/**
 * Which job a node works on next: those it may take, furthest behind in their share first. Pure; the same function
 * decides what is handed out and says why something waits, so that the two cannot disagree.
 */
import type { JobId } from '../../../protocol/ids.ts';
import type { FarmFacts, JobFacts, NodeFacts } from './facts.ts';
import { charge, type Standing, standing } from './fair-share.ts';
import { type Refusal, refusal } from './refusal.ts';

/**
 * A node stays with the job it works on, or with a scene that it has open, until another job is this much node time further
 * behind: opening a scene takes a second for a small one and tens of seconds for a large one, and a batch that gets fuller costs less
 * to check and to settle. It holds for whatever job is open, so shares stay as they are.
 */
const STAY_MS = 5_000;

export type Decision = {
  /** Jobs to take a task of, the first that has one for this node. */
  order: JobId[];
  /** Why not the others. */
  refused: Map<JobId, Refusal>;
};

/** `waiting`: jobs that have something to hand out. `behind`: who asks for many nodes has it worked out once. */
export function match(
  node: NodeFacts,
  farm: FarmFacts,
  waiting: Iterable<JobId>,
  nowMs: number,
  behind: Standing = standing(farm, nowMs),
): Decision {
  const refused = new Map<JobId, Refusal>();
  const fitting: JobFacts[] = [];
  for (const id of waiting) {
    const job = farm.jobs.get(id);
    if (job === undefined) continue;
    const why = refusal(node, job, farm, nowMs);
    if (why === null) fitting.push(job);
    else refused.set(id, why);
  }
  const accountTime = ({ account }: JobFacts): number => behind.accounts.get(account) ?? 0;
  const jobTime = ({ id }: JobFacts): number => behind.jobs.get(id) ?? 0;
  const ages = new Map<string, number>();
  for (const { account, seq } of fitting)
    ages.set(account, Math.min(seq, ages.get(account) ?? Number.POSITIVE_INFINITY));
  const age = ({ account }: JobFacts): number => ages.get(account) ?? 0;
  fitting.sort(
    (a, b) =>
      accountTime(a) - accountTime(b) ||
      age(a) - age(b) ||
      jobTime(a) - jobTime(b) ||
      a.deadlineMs - b.deadlineMs ||
      a.seq - b.seq,
  );
  const [next] = fitting;
  const stays =
    next &&
    staysWith(node, fitting).find((job) => {
      const aheadMs =
        job.account === next.account
          ? (jobTime(job) - jobTime(next)) * next.priority
          : accountTime(job) - accountTime(next);
      return aheadMs <= stayMs(job, next, farm);
    });
  const order = stays === undefined ? fitting : [stays, ...fitting.filter((job) => job !== stays)];
  return { order: order.map((job) => job.id), refused };
}

/** The job it has been working on, then those whose scene it has open, as they come. */
function staysWith({ lastJob, warm }: NodeFacts, fitting: readonly JobFacts[]): JobFacts[] {
  const last = fitting.filter((job) => job.id === lastJob);
  return [...last, ...fitting.filter((job) => job.id !== lastJob && warm.includes(job.scene))];
}

/**
 * How far `next`, or its account, may fall behind `own` while nodes stay where they are. Of n nodes that work for the two, each is
 * done at a time of its own, so that the difference between them is off by about the root of n times what one makes of it.
 */
function stayMs(own: JobFacts, next: JobFacts, farm: FarmFacts): number {
  const compared =
    own.account === next.account
      ? [own, next]
      : [...farm.jobs.values()].filter(({ account }) => account === own.account || account === next.account);
  const nodes = compared.reduce((sum, { inFlight }) => sum + inFlight.size, 0);
  return STAY_MS * Math.sqrt(Math.max(1, nodes));
}

/** Writes leases into the facts, or fewer than none out of them, for the decisions until they are read anew; into `behind`, too. */
export function noteLeased(
  farm: FarmFacts,
  id: JobId,
  node: NodeFacts['id'],
  leases: number,
  nowMs: number,
  behind?: Standing,
): void {
  const job = farm.jobs.get(id);
  if (job === undefined || leases === 0) return;
  const before = job.inFlight.get(node);
  const after = (before?.leases ?? 0) + leases;
  const flight = after <= 0 ? undefined : { leases: after, sinceMs: before?.sinceMs ?? nowMs };
  if (flight === undefined) job.inFlight.delete(node);
  else job.inFlight.set(node, flight);
  if (behind !== undefined) charge(behind, farm, job, { before, after: flight }, nowMs);
}
