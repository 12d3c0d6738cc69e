/** What a server's autovacuum does and an embedded database does not. */
import { sql } from 'kysely';
import type { FarmDb } from './schema.ts';

/** Tables whose rows change; the largest last, so that the others do not wait for it. */
const CHANGING = ['jobs', 'nodes', 'node_time', 'batches', 'frames', 'tasks'] as const;

/**
 * Clears old versions of rows away and counts what there is. Without it an index on what is leased now keeps an entry for
 * everything that ever was, and plans are made for the empty tables of the first day.
 */
export async function clearAway(db: FarmDb): Promise<void> {
  // Not in a transaction, which VACUUM refuses; one by one, so that somebody can be answered in between.
  for (const table of CHANGING) await sql`vacuum (analyze) ${sql.table(table)}`.execute(db);
}
