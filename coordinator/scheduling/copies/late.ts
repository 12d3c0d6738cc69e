/**
 * Which tasks at the end of a job get a copy, and on which idle node. Pure. The technique is that of the backup tasks of MapReduce
 * (Dean and Ghemawat 2004, 3.6): what is left of a job at its end is mostly what some machine is slow with, and a second
 * machine is done with it sooner.
 */
import type { JobId, NodeId, TaskId } from '../../../protocol/ids.ts';
import type { TaskKind } from '../../../protocol/receipt.ts';
import type { FarmFacts, NodeFacts } from '../matching/facts.ts';
import { match, noteLeased } from '../matching/match.ts';

/**
 * Times the median after which a task is late. Tiles of one frame differ by less than two, since their borders follow the
 * cost of the picture, and nodes of one class by about two; a copy on every task that is a little slow would keep nodes at
 * work for nothing. Spark's speculation, which has the same rule, begins at 1.5, with machines that are all alike.
 */
export const LATE_FACTOR = 3;

/** Less than this over the median is never late: a copy has to fetch the scene and open it first, which takes as long. */
export const LEAST_LATE_MS = 10_000;

/** Of fewer times than this the one in the middle may itself be the odd one. */
export const LEAST_TIMES = 3;

/** Copies of a job at a time. What is left at its end are a few; where more is late, something is wrong that more nodes do not mend. */
export const MAX_COPIES = 4;

/** A lease in a job that has nothing to hand out any more, and that has no copy. */
export type OpenLease = {
  taskId: TaskId;
  token: number;
  jobId: JobId;
  kind: TaskKind;
  frame: number;
  tile: number;
  nodeId: NodeId;
  /** Since when its node can have been at it: the lease, or the last result that the node handed in. */
  sinceMs: number;
  /** Nodes that may not have this task. */
  avoid: readonly NodeId[];
};

/** What is known at one moment. */
export type Ending = {
  leases: readonly OpenLease[];
  /** What tasks took that are done, by {@link timesKey}. */
  times: ReadonlyMap<string, readonly number[]>;
  /** Copies under way. */
  copies: ReadonlyMap<JobId, number>;
  /** Nodes, or GPUs of nodes, that wait for work and have none. */
  idle: readonly NodeFacts[];
  farm: FarmFacts;
  /** Jobs that have something queued. */
  queued: ReadonlySet<JobId>;
  nowMs: number;
};

/** `reason`: for people. */
export type Copy = { lease: OpenLease; node: NodeFacts; reason: string };

export const timesKey = ({ jobId, kind }: Pick<OpenLease, 'jobId' | 'kind'>): string => `${jobId} ${kind}`;

/** The one in the middle; null where there are too few to say. */
export function medianMs(times: readonly number[]): number | null {
  if (times.length < LEAST_TIMES) return null;
  return times.toSorted((a, b) => a - b)[times.length >> 1] ?? null;
}

/** How many times the median a task has taken so far, where that is late; null where it is not. */
function lateness(lease: OpenLease, typicalMs: number, nowMs: number): number | null {
  const ms = nowMs - lease.sinceMs;
  const late = ms > LATE_FACTOR * typicalMs && ms > typicalMs + LEAST_LATE_MS;
  return late ? ms / Math.max(1, typicalMs) : null;
}

/** The latest first, each to the first idle node that may have it, one with the scene open before others. */
export function chooseCopies({ leases, times, copies, idle, farm, queued, nowMs }: Ending): Copy[] {
  const late = leases.flatMap((lease) => {
    const typicalMs = medianMs(times.get(timesKey(lease)) ?? []);
    const by = typicalMs === null ? null : lateness(lease, typicalMs, nowMs);
    return typicalMs === null || by === null ? [] : [{ lease, typicalMs, by }];
  });
  late.sort((a, b) => b.by - a.by || (a.lease.taskId < b.lease.taskId ? -1 : 1));
  // Who could have something of its own is not idle: it is on its way there.
  const free = new Set(idle.filter((node) => match(node, farm, queued, nowMs).order.length === 0));
  const count = new Map(copies);
  const chosen: Copy[] = [];
  for (const { lease, typicalMs } of late) {
    const { jobId } = lease;
    const running = count.get(jobId) ?? 0;
    const scene = farm.jobs.get(jobId)?.scene;
    if (running >= MAX_COPIES || queued.has(jobId) || scene === undefined) continue;
    const fitting = [...free].filter(
      (node) =>
        node.id !== lease.nodeId &&
        !lease.avoid.includes(node.id) &&
        match(node, farm, [jobId], nowMs).order.length > 0,
    );
    const node = fitting.find(({ warm }) => warm.includes(scene)) ?? fitting[0];
    if (node === undefined) continue;
    count.set(jobId, running + 1);
    // A node has one copy, whichever of its devices asked.
    for (const one of free) if (one.id === node.id) free.delete(one);
    noteLeased(farm, jobId, node.id, 1, nowMs);
    const reason = `${lease.nodeId} has been at it for ${seconds(nowMs - lease.sinceMs)}; others of this job took ${seconds(typicalMs)}`;
    chosen.push({ lease, node, reason });
  }
  return chosen;
}

function seconds(ms: number): string {
  return ms < 10_000 ? `${Math.round(ms / 100) / 10} s` : `${Math.round(ms / 1_000)} s`;
}
