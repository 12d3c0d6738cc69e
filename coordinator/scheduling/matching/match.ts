/**
 * Which job a node works on next: those it may take, furthest behind in their share first. Pure; the same function
 * decides what is handed out and says why something waits, so that the two cannot disagree.
 */
import type { JobId } from '../../../protocol/ids.ts';
import type { FarmFacts, JobFacts, NodeFacts } from './facts.ts';
import { standing } from './fair-share.ts';
import { type Refusal, refusal } from './refusal.ts';

/**
 * A node stays with a scene that it has open until another job is this much node time further behind: opening one takes a
 * second for a small scene and tens of seconds for a large one. It holds for whatever job is open, so shares stay as they are.
 */
const WARM_MS = 5_000;

export type Decision = {
  /** Jobs to take a task of, the first that has one for this node. */
  order: JobId[];
  /** Why not the others. */
  refused: Map<JobId, Refusal>;
};

/** `waiting`: jobs that have something to hand out. */
export function match(node: NodeFacts, farm: FarmFacts, waiting: Iterable<JobId>, nowMs: number): Decision {
  const refused = new Map<JobId, Refusal>();
  const fitting: JobFacts[] = [];
  for (const id of waiting) {
    const job = farm.jobs.get(id);
    if (job === undefined) continue;
    const why = refusal(node, job, farm, nowMs);
    if (why === null) fitting.push(job);
    else refused.set(id, why);
  }
  const behind = standing(farm, nowMs);
  const isWarm = (job: JobFacts): boolean => node.warm.includes(job.scene);
  const warmAccounts = new Set(fitting.filter(isWarm).map((job) => job.account));
  const accountTime = ({ account }: JobFacts): number =>
    (behind.accounts.get(account) ?? 0) - (warmAccounts.has(account) ? WARM_MS : 0);
  const jobTime = (job: JobFacts): number =>
    (behind.jobs.get(job.id) ?? 0) - (isWarm(job) ? WARM_MS / job.priority : 0);
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
  return { order: fitting.map((job) => job.id), refused };
}

/** Writes leases into the facts, or fewer than none out of them, for the decisions until they are read anew. */
export function noteLeased(
  farm: FarmFacts,
  id: JobId,
  node: NodeFacts['id'],
  leases: number,
  nowMs: number,
): void {
  const job = farm.jobs.get(id);
  if (job === undefined || leases === 0) return;
  const before = job.inFlight.get(node);
  const after = (before?.leases ?? 0) + leases;
  if (after <= 0) job.inFlight.delete(node);
  else job.inFlight.set(node, { leases: after, sinceMs: before?.sinceMs ?? nowMs });
}
