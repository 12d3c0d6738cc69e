/** What the coordinator counts on in its database, whichever it is. */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Kysely, sql } from 'kysely';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { inTransaction } from '../../platform/database/in-transaction.ts';
import { migrate } from '../../platform/database/migrate.ts';
import { tempFolder } from './temp-folder.ts';

export type Tables = { coins: { name: string; amount: number } };

/** `open` gives an empty database, and however it ends. */
export function databaseConformance(
  name: string,
  open: () => Promise<{ db: Kysely<Tables> } & AsyncDisposable>,
): void {
  let opened: Awaited<ReturnType<typeof open>>;
  let db: Kysely<Tables>;
  let folder: Awaited<ReturnType<typeof tempFolder>>;
  let migrations: string;

  beforeAll(async () => {
    opened = await open();
    db = opened.db;
    folder = await tempFolder();
  });
  beforeEach(async () => {
    await sql`drop table if exists migrations, coins, extra`.execute(db);
    migrations = join(folder.path, crypto.randomUUID());
    await mkdir(migrations);
    await add('0001-first.sql', 'create table coins (name text primary key, amount int not null);\n');
  });
  afterAll(async () => {
    await opened[Symbol.asyncDispose]();
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

  describe(`migrating ${name}`, () => {
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
      const extra = await sql<{ found: string | null }>`select to_regclass('extra')::text as found`.execute(
        db,
      );
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

    it('is done by one of several programs that start together; the others find it done', async () => {
      await add('0002-more.sql', "insert into coins values ('gold', 1);\n");
      await Promise.all([run(), run(), run()]);
      expect(await applied()).toEqual([1, 2]);
      expect(await amountOf('gold')).toBe(1);
    });

    it('does not read files that are no migrations', async () => {
      await add('notes.txt', 'this is no sql');
      await add('0002-more.sql~', 'this is no sql');
      await run();
      expect(await applied()).toEqual([1]);
    });
  });

  describe(`transactions of ${name}`, () => {
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

    it('that lock what they read, wait and write lose no update among many at once', async () => {
      const increments = Array.from({ length: 20 }, () =>
        db.transaction().execute(async (tx) => {
          const read = tx.selectFrom('coins').select('amount').forUpdate();
          const { amount } = await read.executeTakeFirstOrThrow();
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

    it('are seen by others whole or not at all', async () => {
      // A server shows what was before; a database with one connection has others wait.
      const seen = await Promise.all([
        db.transaction().execute(async (tx) => {
          await tx.updateTable('coins').set({ amount: 1 }).execute();
          await Promise.resolve();
          await tx.updateTable('coins').set({ amount: 2 }).execute();
        }),
        ...Array.from({ length: 5 }, () => amountOf('gold')),
      ]);
      for (const amount of seen.slice(1)) expect([0, 2]).toContain(amount);
      expect(await amountOf('gold')).toBe(2);
    });

    it('tell how many rows a statement changed', async () => {
      await db.insertInto('coins').values({ name: 'tin', amount: 0 }).execute();
      const result = await sql`update coins set amount = 1`.execute(db);
      expect(result.numAffectedRows).toBe(2n);
    });
  });

  describe(`values of ${name}`, () => {
    it('come back as the programs read them', async () => {
      const at = new Date('2030-01-02T03:04:05.678Z');
      const { rows } = await sql<Record<string, unknown>>`
        select 7::bigint as small, 9007199254740993::bigint as large, 12345678901234567890::numeric as money,
               ${at}::timestamptz as at, ${JSON.stringify({ a: [1, 'b'] })}::jsonb as json, count(*) as counted,
               array['x', 'y'] as texts, ${['x', 'y']}::text[] as given, true as yes, null::int as nothing,
               1.5::double precision as ratio
        from (values (1), (2)) t (n)`.execute(db);
      expect(rows).toEqual([
        {
          small: 7,
          large: 9_007_199_254_740_993n,
          money: '12345678901234567890',
          at,
          json: { a: [1, 'b'] },
          counted: 2,
          texts: ['x', 'y'],
          given: ['x', 'y'],
          yes: true,
          nothing: null,
          ratio: 1.5,
        },
      ]);
    });
  });

  describe(`a transaction of ${name} that is given up for another one`, () => {
    it('is run again, with nothing left of the first time', async () => {
      await run();
      await db.insertInto('coins').values({ name: 'gold', amount: 0 }).execute();
      let tries = 0;
      await inTransaction(db, async (tx) => {
        tries += 1;
        await sql`update coins set amount = amount + 1`.execute(tx);
        if (tries < 3) throw Object.assign(new Error('deadlock detected'), { code: '40P01' });
      });
      expect([tries, await amountOf('gold')]).toEqual([3, 1]);
    });

    it('is not run again for any other error', async () => {
      await run();
      let tries = 0;
      const failing = inTransaction(db, async (tx) => {
        tries += 1;
        await sql`select nonsense`.execute(tx);
      });
      await expect(failing).rejects.toThrow(/nonsense/);
      expect(tries).toBe(1);
    });
  });
}
