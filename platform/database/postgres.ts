/** A Postgres server that several programs may share. The only file that knows its client library. */
import { Kysely, PostgresDialect } from 'kysely';
import pg from 'pg';
import { FarmError } from '../../protocol/errors.ts';

/**
 * A coordinator asks few questions about many rows: more connections would only wait for each other's rows, and a server
 * as it comes has 100 for all of its programs.
 */
const MAX_CONNECTIONS = 8;
/** A server that is there answers at once; of a wrong address somebody wants to hear before he goes to look. */
const CONNECT_MS = 10_000;
/** Postgres' number for bigint. */
const INT8 = 20;

/**
 * The numbers of `count(*)` and `bigserial` come as PGlite gives them, so that a program reads one like the other: a
 * number, or a bigint where a number would not hold it.
 */
const types = {
  getTypeParser(oid: number, format?: 'text' | 'binary') {
    if (oid !== INT8 || format === 'binary') return pg.types.getTypeParser(oid, format as 'text');
    return (text: string): number | bigint => {
      const value = Number(text);
      return Number.isSafeInteger(value) ? value : BigInt(text);
    };
  },
};

/** Throws DATABASE_UNREACHABLE, without the address: it may hold a password. */
export async function openPostgres<Schema>(
  url: string,
): Promise<{ db: Kysely<Schema>; close(): Promise<void> }> {
  let pool: pg.Pool;
  try {
    pool = new pg.Pool({
      connectionString: url,
      max: MAX_CONNECTIONS,
      connectionTimeoutMillis: CONNECT_MS,
      application_name: 'tessera',
      types,
    });
    // A connection that breaks while nobody uses it is replaced when somebody does; unheard it would end this process.
    pool.on('error', () => undefined);
    (await pool.connect()).release();
  } catch (error) {
    const why = error instanceof Error ? error.message : 'no answer';
    throw new FarmError('DATABASE_UNREACHABLE', `the database server does not let this farm in: ${why}`, {
      kept: 'nothing was changed',
    });
  }
  // Kysely ends the pool when it is destroyed.
  return { db: new Kysely<Schema>({ dialect: new PostgresDialect({ pool }) }), close: async () => undefined };
}
