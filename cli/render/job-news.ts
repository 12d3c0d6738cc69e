/** Says when something has happened to a job, so that the farm renders meanwhile and does not answer questions. */
import { backoffMs, pause } from '../../platform/wait.ts';
import type { FarmEvent, LoggedEvent } from '../../protocol/events.ts';

/** A run of tasks is delivered in one go, and tells of each: that is one piece of news. */
const BURST_MS = 250;
/** How long nothing may be said before it is looked anyway: how far a frame is, is no event. */
const QUIET_MS = 2_000;
/** As long as the farm tells nothing. */
const BLIND_MS = 500;

/** What can be seen of a job changes with all others. */
const UNSEEN: readonly FarmEvent['type'][] = [
  'task.leased',
  'task.copied',
  'task.copy-ended',
  'batch.committed',
];

export type JobNewsOptions = {
  /** What happens from after this number on, until the signal aborts; may end or throw at any time. */
  events: (seen: number, signal: AbortSignal) => AsyncIterable<LoggedEvent>;
  burstMs?: number;
  quietMs?: number;
  blindMs?: number;
};

export class JobNews implements AsyncDisposable {
  readonly #options: JobNewsOptions;
  readonly #closing = new AbortController();
  readonly #listening: Promise<void>;
  #seen = 0;
  #fresh = false;
  #hears = false;
  #wake: () => void = () => undefined;

  constructor(options: JobNewsOptions) {
    this.#options = options;
    this.#listening = this.#listen(this.#closing.signal);
  }

  /** Resolves when something has happened since the last call, or could have; at once when `signal` aborts. */
  async next(signal: AbortSignal): Promise<void> {
    const { burstMs = BURST_MS, quietMs = QUIET_MS, blindMs = BLIND_MS } = this.#options;
    const awake = new AbortController();
    this.#wake = () => awake.abort();
    if (!this.#fresh) {
      const longest = this.#hears ? quietMs : blindMs;
      await pause(longest, AbortSignal.any([signal, awake.signal]));
    }
    if (this.#fresh) await pause(burstMs, signal);
    this.#fresh = false;
  }

  async #listen(signal: AbortSignal): Promise<void> {
    for (let attempt = 0; !signal.aborted; attempt++) {
      try {
        for await (const { seq, event } of this.#options.events(this.#seen, signal)) {
          this.#seen = seq;
          this.#hears = true;
          attempt = 0;
          if (UNSEEN.includes(event.type)) continue;
          this.#fresh = true;
          this.#wake();
        }
      } catch {
        // A farm that is away is found out by whoever looks.
      }
      this.#hears = false;
      await pause(backoffMs(attempt), signal);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort();
    await this.#listening;
  }
}
