/**
 * Kysely over PGlite (Postgres compiled to WebAssembly, in a folder, inside this process).
 *
 * PGlite has one connection, so it is handed out to one user at a time. Transactions go through PGlite's own
 * `transaction()`: it syncs files once at the end, where BEGIN and COMMIT as queries would sync after each statement
 * (1,100-1,500 transactions a second against 370).
 */
import type { PGlite, Transaction } from '@electric-sql/pglite';
import {
  type CompiledQuery,
  type DatabaseConnection,
  type DatabaseIntrospector,
  type Dialect,
  type DialectAdapter,
  type Driver,
  type Kysely,
  PostgresAdapter,
  PostgresIntrospector,
  PostgresQueryCompiler,
  type QueryCompiler,
  type QueryResult,
} from 'kysely';

class PgliteConnection implements DatabaseConnection {
  readonly #pglite: PGlite;
  #transaction: Transaction | undefined;
  #end: ((commit: boolean) => void) | undefined;
  #ended: Promise<void> | undefined;

  constructor(pglite: PGlite) {
    this.#pglite = pglite;
  }

  async executeQuery<R>(query: CompiledQuery): Promise<QueryResult<R>> {
    const result = await (this.#transaction ?? this.#pglite).query<R>(query.sql, [...query.parameters]);
    return { rows: result.rows, numAffectedRows: BigInt(result.affectedRows ?? 0) };
  }

  // biome-ignore lint/correctness/useYield: the interface asks for a generator; PGlite has no cursors to stream from.
  async *streamQuery<R>(): AsyncIterableIterator<QueryResult<R>> {
    throw new Error('PGlite does not stream; page through the rows instead');
  }

  begin(): Promise<void> {
    return new Promise((begun, refused) => {
      this.#ended = this.#pglite
        .transaction(async (transaction) => {
          this.#transaction = transaction;
          const ending = new Promise<boolean>((resolve) => {
            this.#end = resolve;
          });
          begun();
          if (!(await ending)) await transaction.rollback();
        })
        .then(
          () => undefined,
          (error: unknown) => {
            refused(error);
            throw error;
          },
        );
      // A failure is reported by whoever awaits finish(); without this it would also count as unhandled.
      this.#ended.catch(() => undefined);
    });
  }

  async finish(commit: boolean): Promise<void> {
    this.#end?.(commit);
    this.#transaction = undefined;
    await this.#ended;
  }
}

class PgliteDriver implements Driver {
  readonly #connection: PgliteConnection;
  #last: Promise<void> = Promise.resolve();
  #release: (() => void) | undefined;

  constructor(pglite: PGlite) {
    this.#connection = new PgliteConnection(pglite);
  }

  async init(): Promise<void> {}

  async acquireConnection(): Promise<DatabaseConnection> {
    const before = this.#last;
    let release: () => void = () => undefined;
    this.#last = new Promise((resolve) => {
      release = resolve;
    });
    await before;
    this.#release = release;
    return this.#connection;
  }

  async releaseConnection(): Promise<void> {
    this.#release?.();
  }

  async beginTransaction(): Promise<void> {
    await this.#connection.begin();
  }

  async commitTransaction(): Promise<void> {
    await this.#connection.finish(true);
  }

  async rollbackTransaction(): Promise<void> {
    await this.#connection.finish(false);
  }

  async destroy(): Promise<void> {}
}

export class PgliteDialect implements Dialect {
  readonly #pglite: PGlite;

  constructor(pglite: PGlite) {
    this.#pglite = pglite;
  }

  createDriver(): Driver {
    return new PgliteDriver(this.#pglite);
  }

  createQueryCompiler(): QueryCompiler {
    return new PostgresQueryCompiler();
  }

  createAdapter(): DialectAdapter {
    return new PostgresAdapter();
  }

  createIntrospector(db: Kysely<unknown>): DatabaseIntrospector {
    return new PostgresIntrospector(db);
  }
}
