/**
 * Work that only one of several programs on a server may do at a time. Who leads is who holds an advisory lock: it belongs
 * to a connection, so it is free the moment its holder dies, where a row that says so would outlive it.
 */
import { type Kysely, sql } from 'kysely';
import { pause } from '../wait.ts';

/** A program that stands by asks so often; a farm without a leader goes on leasing meanwhile. */
const ASK_MS = 1_000;
/** A leader that is cut off from the server must notice before others have done much: the lock is theirs by then. */
const CHECK_MS = 1_000;

/**
 * Does `work` while this program leads, until `signal` aborts; stands by while another one does. The signal of `work` aborts
 * when the lead is lost. `onError` hears of what went wrong; then it is tried again.
 */
export async function lead(
  db: Kysely<never>,
  lock: number,
  work: (signal: AbortSignal) => Promise<void>,
  { signal, onError }: { signal: AbortSignal; onError: (error: unknown) => void },
): Promise<void> {
  while (!signal.aborted) {
    try {
      await db.connection().execute((one) => leadOn(one, lock, work, signal));
    } catch (error) {
      if (!signal.aborted) onError(error);
    }
    await pause(ASK_MS, signal);
  }
}

async function leadOn(
  one: Kysely<never>,
  lock: number,
  work: (signal: AbortSignal) => Promise<void>,
  signal: AbortSignal,
): Promise<void> {
  const { rows } = await sql<{ mine: boolean }>`select pg_try_advisory_lock(${lock}) as mine`.execute(one);
  if (rows[0]?.mine !== true) return;
  const over = new AbortController();
  const watching = watch(one, over, AbortSignal.any([signal, over.signal]));
  try {
    await work(AbortSignal.any([signal, over.signal]));
  } finally {
    over.abort();
    await watching;
    // Without a connection there is no lock any more.
    await sql`select pg_advisory_unlock(${lock})`.execute(one).catch(() => undefined);
  }
}

/** Ends the lead when the connection that holds the lock does not answer. */
async function watch(one: Kysely<never>, over: AbortController, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    await pause(CHECK_MS, signal);
    try {
      await sql`select 1`.execute(one);
    } catch {
      over.abort();
    }
  }
}
