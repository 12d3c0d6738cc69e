/** What is known of the tasks that are held, by job and in the order of work. */
import type { Digest, JobId, TaskId } from '../../protocol/ids.ts';
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

/**
 * Thousands are held and some of one or two jobs are taken at a time: only a job that changed is put in order again, and only
 * when somebody asks for it.
 */
export class CandidateList {
  readonly #byId = new Map<TaskId, Candidate>();
  readonly #byJob = new Map<JobId, Candidate[]>();
  readonly #changed = new Set<JobId>();

  has(id: TaskId): boolean {
    return this.#byId.has(id);
  }

  add(candidate: Candidate): void {
    this.delete(candidate.id);
    this.#byId.set(candidate.id, candidate);
    const of = this.#byJob.get(candidate.jobId);
    if (of === undefined) this.#byJob.set(candidate.jobId, [candidate]);
    else of.push(candidate);
    this.#changed.add(candidate.jobId);
  }

  delete(id: TaskId): void {
    const known = this.#byId.get(id);
    if (known === undefined) return;
    this.#byId.delete(id);
    this.#changed.add(known.jobId);
  }

  clear(): void {
    this.#byId.clear();
    this.#byJob.clear();
    this.#changed.clear();
  }

  /** Finish tasks first, since a frame that only waits for its finish is the cheapest to have. */
  inOrder(job: JobId): readonly Candidate[] {
    const of = this.#byJob.get(job) ?? [];
    if (!this.#changed.delete(job)) return of;
    const left = of.filter((one) => this.#byId.get(one.id) === one).sort(inOrderOfWork);
    if (left.length === 0) this.#byJob.delete(job);
    else this.#byJob.set(job, left);
    return left;
  }
}

function inOrderOfWork(a: Candidate, b: Candidate): number {
  const late = (one: Candidate): number => (one.kind === 'finish' ? 0 : 1);
  return late(a) - late(b) || a.position - b.position;
}
