/** Waits that end early when asked to. */

/** Resolves after `durationMs`, or at once (without throwing) when `signal` aborts. */
export function pause(durationMs: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve();
    const done = (): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, durationMs);
    signal.addEventListener('abort', done, { once: true });
  });
}

/** Resolves when `signal` aborts. */
export function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve();
    signal.addEventListener('abort', () => resolve(), { once: true });
  });
}

/** What `work` gives, or null as soon as `signal` aborts: then its end is not waited for. */
export function stoppable<T>(work: Promise<T>, signal: AbortSignal): Promise<T | null> {
  return new Promise((resolve, reject) => {
    const stop = (): void => resolve(null);
    if (signal.aborted) stop();
    signal.addEventListener('abort', stop, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', stop));
  });
}

/**
 * How long to wait before try number `attempt` (0 = first retry): doubles from 200 ms to 10 s, with a random half, so
 * that many clients of a server that comes back do not all arrive in the same moment.
 */
export function backoffMs(attempt: number, random: () => number = Math.random): number {
  const ceilingMs = Math.min(10_000, 200 * 2 ** Math.min(attempt, 10));
  return ceilingMs / 2 + (random() * ceilingMs) / 2;
}
