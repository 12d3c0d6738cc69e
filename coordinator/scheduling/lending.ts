/**
 * Coordinators side by side: a task's pointer is held by one of them, and the node that could take it may wait at another.
 * Who has nodes that wait says so; who holds what nobody there takes lets the other try. Nothing is lost when nobody hears,
 * but the time until the node asks again, perhaps somewhere else.
 */
import type { Clock } from '../../platform/clock.ts';
import type { HeldPointer } from '../../platform/nats/task-queue.ts';
import type { TaskId } from '../../protocol/ids.ts';
import type { TaskPointer } from '../../protocol/messages.ts';

/** The way to the other coordinators. */
export type Sharing = {
  /** Nodes wait here for whom nothing is held. */
  waiting(): void;
  /** These are held here, and nobody here takes them. */
  offer(pointers: readonly TaskPointer[]): void;
};

/** Questions come by the hundred, and others remember for longer that somebody waits. */
const SAY_WAITING_EVERY_MS = 100;

/** What was offered is offered again after this: the offer may have been lost, or nobody there could take it. */
const OFFER_AGAIN_MS = 5_000;

/** Tasks in one offer: a few kilobytes, and enough for the nodes that wait. */
const MAX_OFFER = 64;

export class Lending {
  readonly #sharing: Sharing;
  readonly #clock: Clock;
  readonly #offeredMs = new Map<TaskId, number>();
  #othersWaitUntilMs = Number.NEGATIVE_INFINITY;
  #saidMs = Number.NEGATIVE_INFINITY;
  #newQuestion = false;

  constructor(sharing: Sharing, clock: Clock) {
    this.#sharing = sharing;
    this.#clock = clock;
  }

  /** A node asked here. Said once to the others, not at every look: two that only wait would wake each other for ever. */
  asked(): void {
    this.#newQuestion = true;
  }

  /** A node waits at another coordinator, for this long. */
  othersWait(durationMs: number): void {
    this.#othersWaitUntilMs = this.#clock.now() + durationMs;
  }

  /** Everybody here was looked for whom there is something: whether some `wait` on, and what is `left`. */
  settle(wait: boolean, left: () => readonly HeldPointer[]): void {
    const now = this.#clock.now();
    if (wait && this.#newQuestion && Math.abs(now - this.#saidMs) >= SAY_WAITING_EVERY_MS) {
      this.#newQuestion = false;
      this.#saidMs = now;
      this.#sharing.waiting();
    }
    if (now <= this.#othersWaitUntilMs) this.#offer(left(), now);
  }

  /** Not held any more. */
  forget(id: TaskId): void {
    this.#offeredMs.delete(id);
  }

  forgetAll(): void {
    this.#offeredMs.clear();
  }

  #offer(left: readonly HeldPointer[], now: number): void {
    const offer = left
      .filter(({ borrowed, taskId }) => borrowed !== true && !this.#wasOffered(taskId, now))
      .slice(0, MAX_OFFER)
      .map(({ taskId, jobId }) => ({ taskId, jobId }));
    if (offer.length === 0) return;
    for (const { taskId } of offer) this.#offeredMs.set(taskId, now);
    this.#sharing.offer(offer);
  }

  #wasOffered(id: TaskId, now: number): boolean {
    const atMs = this.#offeredMs.get(id);
    return atMs !== undefined && Math.abs(now - atMs) < OFFER_AGAIN_MS;
  }
}
