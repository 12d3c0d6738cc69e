/** Transactions on a server that others use as well. */
import type { Kysely, Transaction } from 'kysely';

/**
 * Two that wait for each other's rows: the server ends one of them, which may try again (Postgres, appendix A). And a plan of before a
 * table was changed, which the next connection does not have.
 */
const TRY_AGAIN = new Set(['40P01', '40001', '0A000']);
/** More often in a row than this is no coincidence. */
const MAX_TRIES = 5;

/** Runs `work` in a transaction, again where the server gave it up for the sake of another one. */
export async function inTransaction<Schema, T>(
  db: Kysely<Schema>,
  work: (tx: Transaction<Schema>) => Promise<T>,
): Promise<T> {
  for (let tries = 1; ; tries++) {
    try {
      return await db.transaction().execute(work);
    } catch (error) {
      const code = error instanceof Error && 'code' in error ? String(error.code) : '';
      if (tries >= MAX_TRIES || !TRY_AGAIN.has(code)) throw error;
    }
  }
}
