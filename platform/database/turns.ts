/**
 * Work that programs on one Postgres server may do one after the other only, whoever of them it is: each has its turn while
 * it holds an advisory lock. Unlike a lead (lead.ts) a turn is short, and everybody gets one.
 */
import { type Kysely, sql } from 'kysely';
import { FarmError } from '../../protocol/errors.ts';
import { errorCode } from '../files.ts';
import { Mutex } from '../mutex.ts';

/** Runs `work` when it is this program's turn. Throws INTERRUPTED when `signal` aborts before. */
export type Turns = <T>(work: () => Promise<T>, signal?: AbortSignal) => Promise<T>;

/** The server tells a program that waits for longer, so that it can see whether it is to stop; then it waits again. */
const LOOK_UP_MS = 1_000;

/** What the server says then: lock_not_available. */
const NOT_AVAILABLE = '55P03';

/** Turns in the order of asking on the server; of one program, one waits there and the others behind it. */
export function turnsOn(db: Kysely<never>, lock: number): Turns {
  const own = new Mutex();
  return (work, signal) =>
    own.run(() =>
      db.connection().execute(async (one) => {
        await waitForLock(one, lock, signal);
        try {
          return await work();
        } finally {
          // Without a connection there is no lock any more.
          await sql`select pg_advisory_unlock(${lock})`.execute(one).catch(() => undefined);
        }
      }),
    );
}

async function waitForLock(one: Kysely<never>, lock: number, signal?: AbortSignal): Promise<void> {
  await sql`select set_config('lock_timeout', ${String(LOOK_UP_MS)}, false)`.execute(one);
  try {
    for (;;) {
      if (signal?.aborted === true) throw new FarmError('INTERRUPTED', 'stopped before it had its turn');
      try {
        await sql`select pg_advisory_lock(${lock})`.execute(one);
        return;
      } catch (error) {
        if (errorCode(error) !== NOT_AVAILABLE) throw error;
      }
    }
  } finally {
    // The connection goes back to the pool, where others know nothing of it.
    await sql`reset lock_timeout`.execute(one).catch(() => undefined);
  }
}
