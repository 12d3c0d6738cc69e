/**
 * Events of several transactions at once, read in the order of their numbers and without leaving one out. Numbers are given
 * when a row is written and rows are seen when their transaction is over, so number 10 may be seen before number 9. Who
 * writes therefore holds a lock that says from where on; who reads stops there.
 */
import { type RawBuilder, sql } from 'kysely';
import type { FarmDb } from './database/schema.ts';

/** The first half of an advisory lock of two numbers; the second says from which number on its holder writes. */
const WRITING = 0x74650003;
/** The second half is a 32-bit number. Far more than are ever under way at once. */
const HALF = 2 ** 31;

/** The last number that was given; of a new sequence none, though it says 1. */
const lastGiven = sql`(last_value - case when is_called then 0 else 1 end)`;

/** A row `from` that holds the lock until the transaction is over: to be joined, so that it is held before a number is taken. */
export const writerHeld: RawBuilder<unknown> = sql`
  (select pg_advisory_xact_lock_shared(${sql.lit(WRITING)}, (${lastGiven} % ${sql.lit(HALF)})::int) from events_seq_seq offset 0)`;

/** Up to this number there is nothing to come: what is not there now was given up. */
export async function settledUpTo(db: FarmDb): Promise<number> {
  // First how far numbers are given, then who still writes: whoever begins in between gets a higher number.
  const given = await sql<{ last: number }>`select ${lastGiven} as last from events_seq_seq`.execute(db);
  const last = Number(given.rows[0]?.last ?? 0);
  const { rows } = await sql<{ after: number }>`
    select objid::int as after from pg_locks
    where locktype = 'advisory' and classid = ${sql.lit(WRITING)} and objsubid = 2
      and database = (select oid from pg_database where datname = current_database())`.execute(db);
  return rows.reduce((least, { after }) => {
    const behind = (((last - after) % HALF) + HALF) % HALF;
    // One that began after the first question is ahead of it, which takes nothing away.
    return behind > HALF / 2 ? least : Math.min(least, last - behind);
  }, last);
}
