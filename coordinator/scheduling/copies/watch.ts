/** Looks for late tasks while nodes wait with nothing to do. */
import { pause } from '../../../platform/wait.ts';
import type { CoordinatorContext } from '../../context.ts';

/** What is late is so by ten seconds at least; a second more or less does not matter. */
const LOOK_EVERY_MS = 1_000;

/**
 * Every coordinator does it for the nodes that wait at it, since only it can answer them; the database lets one of several
 * give a copy.
 */
export async function watchForLate(
  { log }: CoordinatorContext,
  dispatcher: { giveCopies(): Promise<void> },
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted) {
    await pause(LOOK_EVERY_MS, signal);
    if (signal.aborted) return;
    try {
      await dispatcher.giveCopies();
    } catch (error) {
      log.warn({ err: error }, 'late tasks could not be looked for; trying again');
    }
  }
}
