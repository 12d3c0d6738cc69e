/** Who gets which tasks, for many waiting nodes at once. Pure: the database is asked before, and has the last word after. */
import { classKey } from '../../platform/render/device-choice.ts';
import type { Digest, JobId, NodeId, TaskId } from '../../protocol/ids.ts';
import type { LeaseRequest } from '../../protocol/messages.ts';
import type { TaskKind } from '../../protocol/receipt.ts';

/** A task that is held, as it was when its pointer came. */
export type Candidate = {
  id: TaskId;
  jobId: JobId;
  /** The job's: order of submission. */
  seq: number;
  kind: TaskKind;
  position: number;
  /** A claim needs it to be the same still. */
  token: number;
  scene: Digest;
  engine: string;
  deviceClass: string | null;
  /** Some node lost it or failed on it: who may have it now is for {@link claimRun} to say. */
  troubled: boolean;
};

/** A node that waits, or a GPU of it. */
export type Asking = {
  nodeId: NodeId;
  engines: readonly string[];
  gpu?: { classes: readonly string[] } | undefined;
  run?: LeaseRequest['run'];
};

/** `troubled`: before the task that this node would get in any case stands one that it may have to be given. */
export type Assignment = { tasks: Candidate[]; troubled: boolean };

/** Candidates by job, in the order of work: finish tasks first, since a frame that only waits for its finish is the cheapest to have. */
export class Candidates {
  readonly #byJob = new Map<JobId, Candidate[]>();

  constructor(candidates: Iterable<Candidate>) {
    for (const one of candidates) {
      const of = this.#byJob.get(one.jobId);
      if (of === undefined) this.#byJob.set(one.jobId, [one]);
      else of.push(one);
    }
    for (const of of this.#byJob.values()) of.sort(inOrderOfWork);
  }

  /** Takes what this node gets out of the list. `order`: jobs, first come first. Empty where nothing is for it. */
  take(node: Asking, order: readonly JobId[]): Assignment {
    for (const job of order) {
      const of = this.#byJob.get(job);
      const [first] = of ?? [];
      if (of === undefined || first === undefined || !fits(node, first)) continue;
      if (first.troubled) return { tasks: [], troubled: true };
      const most = sameRun(node.run, first) ? (node.run?.tasks ?? 1) : 1;
      let count = 1;
      for (let next = of[count]; count < most && next !== undefined; next = of[count]) {
        if (next.kind !== first.kind || next.troubled) break;
        count += 1;
      }
      return { tasks: of.splice(0, count), troubled: false };
    }
    return { tasks: [], troubled: false };
  }
}

function inOrderOfWork(a: Candidate, b: Candidate): number {
  const late = (one: Candidate): number => (one.kind === 'finish' ? 0 : 1);
  return late(a) - late(b) || a.position - b.position;
}

function sameRun(run: LeaseRequest['run'], first: Candidate): boolean {
  return run !== undefined && run.scene === first.scene && run.kind === first.kind;
}

function fits({ engines, gpu }: Asking, { engine, deviceClass }: Candidate): boolean {
  if (gpu === undefined) return deviceClass === null && engines.includes(engine);
  return deviceClass !== null && gpu.classes.includes(classKey(engine, deviceClass));
}
