/** Patience with a farm that is away for a moment. */
import { isFarmError } from '../protocol/errors.ts';
import { backoffMs, pause } from './wait.ts';

/**
 * Runs `work` again while it fails with FARM_UNREACHABLE, until `signal` aborts or `limitMs` have passed; then the
 * error goes on. Only for work that can be repeated.
 */
export async function whileUnreachable<T>(
  work: () => Promise<T>,
  signal: AbortSignal,
  limitMs: number,
): Promise<T> {
  const endMs = performance.now() + limitMs;
  for (let attempt = 0; ; attempt++) {
    try {
      return await work();
    } catch (error) {
      if (!isFarmError(error, 'FARM_UNREACHABLE') || signal.aborted || performance.now() > endMs) throw error;
      await pause(backoffMs(attempt), signal);
    }
  }
}
