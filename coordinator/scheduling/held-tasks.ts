/** Pointers that this coordinator holds, by job. */
import type { HeldPointer } from '../../platform/nats/task-queue.ts';
import type { JobId, TaskId } from '../../protocol/ids.ts';

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

  get ids(): TaskId[] {
    return [...this.#pointers.keys()];
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

  /** Ids of these jobs in this order, in parts of `size` or, for whole jobs, some more. */
  *inParts(order: readonly JobId[], size: number): Generator<TaskId[]> {
    let part: TaskId[] = [];
    for (const job of order) {
      part.push(...(this.#byJob.get(job) ?? []));
      if (part.length < size) continue;
      yield part;
      part = [];
    }
    if (part.length > 0) yield part;
  }
}
