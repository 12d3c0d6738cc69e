/** Who gets which tasks, for many waiting nodes at once. Pure: the database is asked before, and has the last word after. */
import { classKey } from '../../platform/render/device-choice.ts';
import type { JobId, NodeId } from '../../protocol/ids.ts';
import type { LeaseRequest } from '../../protocol/messages.ts';
import type { Candidate, CandidateList } from './candidate-list.ts';

/** A node that waits, or a GPU of it. */
export type Asking = {
  nodeId: NodeId;
  engines: readonly string[];
  gpu?: { classes: readonly string[] } | undefined;
  run?: LeaseRequest['run'];
};

/** `troubled`: before the task that this node would get in any case stands one that it may have to be given. */
export type Assignment = { tasks: Candidate[]; troubled: boolean };

/** One decision after the other over the same list: what one gets is not there for the next. The list itself stays as it is. */
export class Candidates {
  readonly #list: CandidateList;
  /** How many of each job's were taken, from the first on. */
  readonly #taken = new Map<JobId, number>();

  constructor(list: CandidateList) {
    this.#list = list;
  }

  /** What this node gets. `order`: jobs, first come first. Empty where nothing is for it. */
  take(node: Asking, order: readonly JobId[]): Assignment {
    for (const job of order) {
      const of = this.#list.inOrder(job);
      const from = this.#taken.get(job) ?? 0;
      const first = of[from];
      if (first === undefined || !fits(node, first)) continue;
      if (first.troubled) return { tasks: [], troubled: true };
      const most = sameRun(node.run, first) ? (node.run?.tasks ?? 1) : 1;
      let until = from + 1;
      for (let next = of[until]; until - from < most && next !== undefined; next = of[until]) {
        if (next.kind !== first.kind || next.troubled) break;
        until += 1;
      }
      this.#taken.set(job, until);
      return { tasks: of.slice(from, until), troubled: false };
    }
    return { tasks: [], troubled: false };
  }
}

function sameRun(run: LeaseRequest['run'], first: Candidate): boolean {
  return run !== undefined && run.scene === first.scene && run.kind === first.kind;
}

function fits({ engines, gpu }: Asking, { engine, deviceClass }: Candidate): boolean {
  if (gpu === undefined) return deviceClass === null && engines.includes(engine);
  return deviceClass !== null && gpu.classes.includes(classKey(engine, deviceClass));
}
