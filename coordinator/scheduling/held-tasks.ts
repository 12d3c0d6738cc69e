/** Pointers that this coordinator holds, by job. */
import type { HeldPointer } from '../../platform/nats/task-queue.ts';
import type { JobId, TaskId } from '../../protocol/ids.ts';

/**
 * Pointers held at a time. With hundreds of jobs there has to be a whole run of each, or nodes would be given short ones; each is told
 * every few seconds that it is still held.
 */
export const MAX_HELD = 4_096;

/** Of one job: at thousands of tasks a second those of half a second, so that nobody waits for the message server. */
export const MAX_WINDOW = 1_024;

/** What is held has to have something of every job, or nodes could not be shared among them. */
const LEAST_WINDOW = 8;

/** How many tasks of one job are on the to-do list at a time, where so many jobs are active. */
export function publishWindow(jobs: number): number {
  return Math.min(MAX_WINDOW, Math.max(LEAST_WINDOW, Math.floor(MAX_HELD / Math.max(1, jobs))));
}

export class HeldTasks {
  readonly #pointers = new Map<TaskId, HeldPointer>();
  readonly #byJob = new Map<JobId, Set<TaskId>>();

  get size(): number {
    return this.#pointers.size;
  }

  /** Jobs that something is held of, longest held first. */
  get jobs(): JobId[] {
    return [...this.#byJob.keys()];
  }

  get all(): HeldPointer[] {
    return [...this.#pointers.values()];
  }

  get ids(): TaskId[] {
    return [...this.#pointers.keys()];
  }

  has(id: TaskId): boolean {
    return this.#pointers.has(id);
  }

  get(id: TaskId): HeldPointer | undefined {
    return this.#pointers.get(id);
  }

  countOf(job: JobId): number {
    return this.#byJob.get(job)?.size ?? 0;
  }

  add(pointer: HeldPointer): void {
    this.#pointers.set(pointer.taskId, pointer);
    const of = this.#byJob.get(pointer.jobId);
    if (of === undefined) this.#byJob.set(pointer.jobId, new Set([pointer.taskId]));
    else of.add(pointer.taskId);
  }

  /** Takes a pointer off the list for good. */
  release(id: TaskId): void {
    const pointer = this.#pointers.get(id);
    if (pointer === undefined) return;
    pointer.done();
    this.#pointers.delete(id);
    const of = this.#byJob.get(pointer.jobId);
    of?.delete(id);
    if (of?.size === 0) this.#byJob.delete(pointer.jobId);
  }

  /** Puts all at the end of the list. */
  letGo(): void {
    for (const pointer of this.#pointers.values()) pointer.later();
    this.#pointers.clear();
    this.#byJob.clear();
  }
}
