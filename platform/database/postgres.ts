/** A Postgres server that several programs may share. The only file that knows its client library. */
import {
  Kysely,
  type PostgresCursor,
  PostgresDialect,
  type PostgresPool,
  type PostgresQueryResult,
} from 'kysely';
import pg from 'pg';
import { FarmError } from '../../protocol/errors.ts';
import { errorCode } from '../files.ts';
import { PreparedNames, Replanning } from './prepared.ts';

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
    // A connection that breaks while nobody uses it is replaced when somebody does; unheard it would end this process. One
    // that is in use and between two questions, as a leader's is, says so itself; the next question fails then.
    pool.on('error', () => undefined);
    pool.on('connect', (client) => client.on('error', () => undefined));
    (await pool.connect()).release();
  } catch (error) {
    const why = error instanceof Error ? error.message : 'no answer';
    throw new FarmError('DATABASE_UNREACHABLE', `the database server does not let this farm in: ${why}`, {
      kept: 'nothing was changed',
    });
  }
  // Kysely ends the pool when it is destroyed.
  return {
    db: new Kysely<Schema>({ dialect: new PostgresDialect({ pool: saysWhenAway(pool) }) }),
    close: async () => undefined,
  };
}

/**
 * A server that goes away in the middle is not this program's mistake, and comes back: whoever asked is told that the farm
 * cannot be reached, and asks again as after any restart.
 */
function saysWhenAway(pool: pg.Pool): PostgresPool {
  const guard = async <T>(work: Promise<T>): Promise<T> => {
    try {
      return await work;
    } catch (error) {
      if (!isAway(error)) throw error;
      throw new FarmError('FARM_UNREACHABLE', 'the database of this farm does not answer', { cause: error });
    }
  };
  const names = new PreparedNames();
  const replanning = new WeakMap<pg.PoolClient, Replanning>();
  /** What a connection is told before it is used: how to plan at first, and now and then to plan anew. */
  const prepare = async (client: pg.PoolClient): Promise<void> => {
    const nowMs = performance.now();
    const known = replanning.get(client);
    if (known === undefined) {
      await client.query(FEW_ROWS);
      replanning.set(client, new Replanning(nowMs));
    } else if (known.due(nowMs)) await client.query('discard plans');
  };
  return {
    async connect() {
      const client = await guard(pool.connect());
      try {
        await guard(prepare(client));
      } catch (error) {
        client.release(true);
        throw error;
      }
      function query<R>(text: string, values: readonly unknown[]): Promise<PostgresQueryResult<R>>;
      function query<R>(cursor: PostgresCursor<R>): PostgresCursor<R>;
      function query<R>(text: string | PostgresCursor<R>, values: readonly unknown[] = []): unknown {
        if (typeof text !== 'string') throw new Error('nobody here reads through a cursor');
        return guard(ask(text, [...values]));
      }
      let outdated = false;
      const ask = async (text: string, values: unknown[]): Promise<pg.QueryResult> => {
        const name = names.of(text, values.length);
        if (name === undefined) return await client.query(text, values);
        try {
          return await client.query({ name, text, values });
        } catch (error) {
          if (errorCode(error) !== OUTDATED_PLAN) throw error;
          outdated = true;
          // In a transaction nothing more is answered, and whoever runs it begins again.
          return await client.query(text, values).catch(() => Promise.reject(error));
        }
      };
      return { query, release: () => client.release(outdated) };
    },
    end: () => pool.end(),
  };
}

/**
 * Every question here is about a few rows of tables with up to millions, each found along an index. A plan that is made while a
 * table is young would rather read it whole, and be kept while it grows: at 40,000 tasks that took 20 of the 30 ms of taking 74
 * results. What is asked for is in memory or on a disk without arms, where one row costs as much as another. Nor does compiling a
 * statement to machine code pay for a few rows.
 */
const FEW_ROWS = 'set enable_seqscan = off; set random_page_cost = 1.1; set jit = off';

/** A newer program has changed a table since the statement was kept; the connection keeps it for ever, so it goes. */
const OUTDATED_PLAN = '0A000';

/** Of the server (appendix A of its manual: connections, shutdown, start) and of the way to it. */
const AWAY_CODES =
  /^(08...|57P0[1-3]|53300|ECONNREFUSED|ECONNRESET|EPIPE|ETIMEDOUT|EHOSTUNREACH|ENETUNREACH)$/;
/** What the client library itself says has no code. */
const AWAY_WORDS =
  /^(Connection terminated|timeout exceeded when trying to connect|Client has encountered a connection error)/;

function isAway(error: unknown): boolean {
  if (AWAY_CODES.test(errorCode(error) ?? '')) return true;
  return error instanceof Error && AWAY_WORDS.test(error.message);
}
