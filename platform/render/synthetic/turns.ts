/** One command at a time, until something ends the session: abort, time-out or close, as a real renderer would. */
import { setImmediate as yieldToOthers } from 'node:timers/promises';
import { type ErrorCode, FarmError } from '../../../protocol/errors.ts';
import { Mutex } from '../../mutex.ts';
import { pause } from '../../wait.ts';
import type { CommandOptions, SessionEnd } from '../runtime.ts';

/** How often a command that only waits says how far it is. */
const REPORTS = 10;

/** What a command has at hand. */
export type Turn = {
  /** Says how far it is (never less than before), lets others have their turn, and throws when the session has ended. */
  step: (fraction: number) => Promise<void>;
  /** Waits, with reports on the way. */
  wait: (durationMs: number) => Promise<void>;
};

export class Turns {
  readonly #mutex = new Mutex();
  readonly #ending = new AbortController();
  #end: SessionEnd | undefined;
  #resolveClosed: (end: SessionEnd) => void = () => undefined;
  readonly closed = new Promise<SessionEnd>((resolve) => {
    this.#resolveClosed = resolve;
  });

  /** Runs `work` after everything that was asked before. INTERRUPTED, or RENDER_TIMEOUT, when it is stopped. */
  run<T>(options: CommandOptions, work: (turn: Turn) => Promise<T>): Promise<T> {
    return this.#mutex.run(async () => {
      // What only waited for its turn was not late itself.
      this.#requireAlive('INTERRUPTED');
      const { signal, timeoutMs, onProgress } = options;
      if (signal.aborted) throw new FarmError('INTERRUPTED', 'stopped before it began');
      const stop = (): void => this.end({ reason: 'aborted', message: 'it was stopped' });
      signal.addEventListener('abort', stop, { once: true });
      const late: SessionEnd = { reason: 'timeout', message: `it took longer than ${timeoutMs} ms` };
      const timer = timeoutMs === undefined ? undefined : setTimeout(() => this.end(late), timeoutMs);
      let furthest = 0;
      const step = async (fraction: number): Promise<void> => {
        furthest = Math.max(furthest, fraction);
        onProgress?.({ fraction: furthest, note: 'synthetic' });
        await yieldToOthers();
        this.#requireAlive();
      };
      const wait = async (durationMs: number): Promise<void> => {
        for (let report = 0; report < REPORTS && durationMs > 0; report++) {
          await step(report / REPORTS);
          await pause(durationMs / REPORTS, this.#ending.signal);
        }
      };
      try {
        const result = await work({ step, wait });
        this.#requireAlive();
        return result;
      } finally {
        clearTimeout(timer);
        signal.removeEventListener('abort', stop);
      }
    });
  }

  /** Whatever ends it first is why it ended. It has ended once no command is under way. */
  end(end: SessionEnd): void {
    if (this.#end !== undefined) return;
    this.#end = end;
    this.#ending.abort();
    void this.#mutex.run(async () => this.#resolveClosed(end));
  }

  #requireAlive(code: ErrorCode = this.#end?.reason === 'timeout' ? 'RENDER_TIMEOUT' : 'INTERRUPTED'): void {
    if (this.#end === undefined) return;
    throw new FarmError(code, `the synthetic session has ended: ${this.#end.message}`);
  }
}
