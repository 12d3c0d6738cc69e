/** Opens the embedded database. */
import { mkdir } from 'node:fs/promises';
import { PGlite } from '@electric-sql/pglite';
import { Kysely } from 'kysely';
import { diskError } from '../files.ts';
import { migrate } from './migrate.ts';
import { PgliteDialect } from './pglite-dialect.ts';

export type OpenDatabase<Schema> = { db: Kysely<Schema> } & AsyncDisposable;

/** Opens the database in `folder` (`null`: in memory, for tests) and brings its schema up to date. */
export async function openDatabase<Schema>(
  folder: string | null,
  migrationsFolder: string,
): Promise<OpenDatabase<Schema>> {
  try {
    if (folder !== null) await mkdir(folder, { recursive: true, mode: 0o700 });
    const pglite = await PGlite.create(folder ?? 'memory://');
    const db = new Kysely<Schema>({ dialect: new PgliteDialect(pglite) });
    await migrate(db as unknown as Kysely<never>, migrationsFolder);
    return {
      db,
      async [Symbol.asyncDispose]() {
        await db.destroy();
        await pglite.close();
      },
    };
  } catch (error) {
    throw diskError(error, folder ?? 'memory');
  }
}
