import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { PGlite } from '@electric-sql/pglite';
import { Kysely, sql } from 'kysely';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { inTransaction } from '../../platform/database/in-transaction.ts';
import { openDatabase } from '../../platform/database/open.ts';
import { PgliteDialect } from '../../platform/database/pglite-dialect.ts';
import { openPostgres } from '../../platform/database/postgres.ts';
import { type PostgresServer, startPostgres } from '../support/postgres.ts';
import { databaseConformance, type Tables } from './database-conformance.ts';
import { tempFolder } from './temp-folder.ts';

vi.setConfig({ testTimeout: 60_000, hookTimeout: 120_000 });

let postgres: PostgresServer;
let folder: Awaited<ReturnType<typeof tempFolder>>;
let migrations: string;
beforeAll(async () => {
  postgres = await startPostgres();
  folder = await tempFolder();
  migrations = join(folder.path, 'migrations');
  await mkdir(migrations);
  await writeFile(
    join(migrations, '0001-first.sql'),
    'create table coins (name text primary key, amount int);',
  );
});
afterAll(async () => {
  await postgres[Symbol.asyncDispose]();
  await folder[Symbol.asyncDispose]();
});

databaseConformance('PGlite', async () => {
  const pglite = await PGlite.create('memory://');
  const db = new Kysely<Tables>({ dialect: new PgliteDialect(pglite) });
  return {
    db,
    [Symbol.asyncDispose]: async () => {
      await db.destroy();
      await pglite.close();
    },
  };
});

databaseConformance('Postgres', async () => {
  const { db } = await openPostgres<Tables>(await postgres.createDatabase());
  return { db, [Symbol.asyncDispose]: () => db.destroy() };
});

describe('a database on a server', () => {
  it('is shared by all that open it', async () => {
    const url = await postgres.createDatabase();
    // Together, as coordinators start that were stopped together.
    const [first, second] = await Promise.all([
      openDatabase<Tables>({ url }, migrations),
      openDatabase<Tables>({ url }, migrations),
    ]);
    await first.db.insertInto('coins').values({ name: 'gold', amount: 7 }).execute();
    expect(await second.db.selectFrom('coins').selectAll().execute()).toEqual([{ name: 'gold', amount: 7 }]);
    await first[Symbol.asyncDispose]();
    await second[Symbol.asyncDispose]();
  });

  it('goes on when a newer program changes a table, in the middle of transactions too', async () => {
    const url = await postgres.createDatabase();
    await using first = await openDatabase<Tables>({ url }, migrations);
    await using newer = await openDatabase<Tables>({ url }, migrations);
    await first.db.insertInto('coins').values({ name: 'gold', amount: 7 }).execute();
    const look = (db: Kysely<Tables>) =>
      db.selectFrom('coins').selectAll().where('name', '=', 'gold').executeTakeFirstOrThrow();
    const lookInTransaction = () => inTransaction(first.db, (tx) => look(tx));
    // Often enough that the server keeps the statement.
    for (let time = 0; time < 5; time++) await look(first.db);
    await sql`alter table coins add column place text default 'vault'`.execute(newer.db);
    expect(await look(first.db)).toEqual({ name: 'gold', amount: 7, place: 'vault' });
    for (let time = 0; time < 5; time++) await lookInTransaction();
    await sql`alter table coins add column shape text default 'round'`.execute(newer.db);
    expect(await lookInTransaction()).toEqual({ name: 'gold', amount: 7, place: 'vault', shape: 'round' });
  });

  it('that does not answer is named in the error, and its password is not', async () => {
    const url = 'postgres://farm:open-sesame@127.0.0.1:1/farm';
    const error = await openDatabase({ url }, migrations).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code: 'DATABASE_UNREACHABLE', kept: 'nothing was changed' });
    expect(String(error)).not.toContain('open-sesame');
    expect(String(error)).toContain('127.0.0.1:1');
  });
});

describe('a database in a folder', () => {
  it('has everything again when it is opened again', async () => {
    const path = join(folder.path, 'farm', 'db');
    {
      await using first = await openDatabase<Tables>(path, migrations);
      await first.db.insertInto('coins').values({ name: 'gold', amount: 7 }).execute();
    }
    await using second = await openDatabase<Tables>(path, migrations);
    const row = await second.db.selectFrom('coins').selectAll().executeTakeFirst();
    expect(row).toEqual({ name: 'gold', amount: 7 });
  });
});
