import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { PGlite } from '@electric-sql/pglite';
import { Kysely, sql } from 'kysely';
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { migrate } from '../../platform/database/migrate.ts';
import { openDatabase } from '../../platform/database/open.ts';
import { PgliteDialect } from '../../platform/database/pglite-dialect.ts';
import { tempFolder } from './temp-folder.ts';

vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 });

type Tables = { coins: { name: string; amount: number } };

let pglite: PGlite;
let db: Kysely<Tables>;
let folder: Awaited<ReturnType<typeof tempFolder>>;
let migrations: string;

beforeAll(async () => {
  pglite = await PGlite.create('memory://');
  db = new Kysely<Tables>({ dialect: new PgliteDialect(pglite) });
  folder = await tempFolder();
});
beforeEach(async () => {
  await sql`drop table if exists migrations, coins, extra`.execute(db);
  migrations = join(folder.path, crypto.randomUUID());
  await mkdir(migrations);
  await add('0001-first.sql', 'create table coins (name text primary key, amount int not null);\n');
});
afterAll(async () => {
  await db.destroy();
  await pglite.close();
  await folder[Symbol.asyncDispose]();
});

const add = (name: string, text: string): Promise<void> => writeFile(join(migrations, name), text);
const run = (): Promise<void> => migrate(db as unknown as Kysely<never>, migrations);
async function applied(): Promise<number[]> {
  const result = await sql<{ number: number }>`select number from migrations order by number`.execute(db);
  return result.rows.map((row) => row.number);
}
const amountOf = async (name: string): Promise<number | undefined> =>
  (await db.selectFrom('coins').select('amount').where('name', '=', name).executeTakeFirst())?.amount;

describe('migrating', () => {
  it('applies each file once, in the order of its number, however often it runs', async () => {
    await add(
      '0002-more.sql',
      "-- a comment; with a semicolon\ninsert into coins values ('gold', 1);\ninsert into coins values ('tin', 2);\n",
    );
    await run();
    await run();
    expect(await applied()).toEqual([1, 2]);
    expect(await amountOf('gold')).toBe(1);
    expect(await amountOf('tin')).toBe(2);
  });

  it('applies only what is new', async () => {
    await run();
    await db.insertInto('coins').values({ name: 'gold', amount: 5 }).execute();
    await add('0002-more.sql', 'update coins set amount = amount + 1;');
    await run();
    await run();
    expect(await amountOf('gold')).toBe(6);
  });

  it('leaves nothing of a migration that fails in the middle, and applies it when it is mended', async () => {
    await add('0002-broken.sql', 'create table extra (id int);\nselect nonsense from nowhere;\n');
    await expect(run()).rejects.toThrow(/nowhere/);
    expect(await applied()).toEqual([1]);
    const extra = await sql<{ found: string | null }>`select to_regclass('extra')::text as found`.execute(db);
    expect(extra.rows[0]?.found).toBeNull();
    await add('0002-broken.sql', 'create table extra (id int);\n');
    await run();
    expect(await applied()).toEqual([1, 2]);
  });

  it('refuses a database that a newer program has written, and changes nothing', async () => {
    await run();
    await sql`insert into migrations (number) values (7)`.execute(db);
    await add('0002-more.sql', 'create table extra (id int);');
    await expect(run()).rejects.toMatchObject({
      code: 'DATA_FOLDER_NEWER',
      message: expect.stringContaining('7'),
    });
    expect(await applied()).toEqual([1, 7]);
  });

  it('does not read files that are no migrations', async () => {
    await add('notes.txt', 'this is no sql');
    await add('0002-more.sql~', 'this is no sql');
    await run();
    expect(await applied()).toEqual([1]);
  });
});

describe('transactions', () => {
  beforeEach(async () => {
    await run();
    await db.insertInto('coins').values({ name: 'gold', amount: 0 }).execute();
  });

  it('leave nothing behind when they fail', async () => {
    const failing = db.transaction().execute(async (tx) => {
      await tx.updateTable('coins').set({ amount: 99 }).execute();
      throw new Error('changed my mind');
    });
    await expect(failing).rejects.toThrow('changed my mind');
    expect(await amountOf('gold')).toBe(0);
  });

  it('leave nothing behind when a statement fails, and the next ones work', async () => {
    const failing = db.transaction().execute(async (tx) => {
      await tx.updateTable('coins').set({ amount: 99 }).execute();
      await tx.insertInto('coins').values({ name: 'gold', amount: 1 }).execute();
    });
    await expect(failing).rejects.toThrow(/duplicate key/);
    expect(await amountOf('gold')).toBe(0);
    await db.transaction().execute((tx) => tx.updateTable('coins').set({ amount: 3 }).execute());
    expect(await amountOf('gold')).toBe(3);
  });

  it('that read, wait and write lose no update among many at once', async () => {
    const increments = Array.from({ length: 20 }, () =>
      db.transaction().execute(async (tx) => {
        const { amount } = await tx.selectFrom('coins').select('amount').executeTakeFirstOrThrow();
        await Promise.resolve();
        await tx
          .updateTable('coins')
          .set({ amount: amount + 1 })
          .execute();
      }),
    );
    const outside = Array.from({ length: 20 }, () =>
      db
        .updateTable('coins')
        .set((eb) => ({ amount: eb('amount', '+', 1) }))
        .execute(),
    );
    await Promise.all([...increments, ...outside]);
    expect(await amountOf('gold')).toBe(40);
  });

  it('are not seen by others before they are through', async () => {
    const order: string[] = [];
    const writing = db.transaction().execute(async (tx) => {
      await tx.updateTable('coins').set({ amount: 1 }).execute();
      order.push('written');
      await tx.updateTable('coins').set({ amount: 2 }).execute();
      order.push('through');
    });
    const reading = amountOf('gold').then((amount) => {
      order.push('read');
      return amount;
    });
    await writing;
    expect(await reading).toBe(2);
    expect(order).toEqual(['written', 'through', 'read']);
  });

  it('tell how many rows a statement changed', async () => {
    await db.insertInto('coins').values({ name: 'tin', amount: 0 }).execute();
    const result = await sql`update coins set amount = 1`.execute(db);
    expect(result.numAffectedRows).toBe(2n);
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
