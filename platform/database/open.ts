/** Opens the database: a Postgres server where there is one, else PGlite in a folder. */
import { mkdir } from 'node:fs/promises';
import { dirname } from 'node:path';
import { Kysely } from 'kysely';
import { diskError } from '../files.ts';
import { placeEmptyDatabase } from './empty-database.ts';
import { migrate } from './migrate.ts';
import { PgliteDialect } from './pglite-dialect.ts';

export type OpenDatabase<Schema> = { db: Kysely<Schema> } & AsyncDisposable;

/** A folder of this program's own (`null`: in memory, for tests), or a server that several programs share. */
export type DatabasePlace = string | null | { url: string };

/**
 * Opens the database and brings its schema up to date. Throws DATABASE_UNREACHABLE for a server that does not answer,
 * DATA_FOLDER_NEWER for a schema of a newer program.
 */
export async function openDatabase<Schema>(
  place: DatabasePlace,
  migrationsFolder: string,
): Promise<OpenDatabase<Schema>> {
  const { db, close } =
    place !== null && typeof place === 'object'
      ? await openServer<Schema>(place.url)
      : await openPglite<Schema>(place, migrationsFolder);
  try {
    await migrate(db as unknown as Kysely<never>, migrationsFolder);
  } catch (error) {
    await db.destroy();
    await close();
    throw error;
  }
  return {
    db,
    async [Symbol.asyncDispose]() {
      await db.destroy();
      await close();
    },
  };
}

/** Each kind of database loads its own library only. */
async function openServer<Schema>(url: string): Promise<{ db: Kysely<Schema>; close(): Promise<void> }> {
  const { openPostgres } = await import('./postgres.ts');
  return await openPostgres<Schema>(url);
}

async function openPglite<Schema>(
  folder: string | null,
  migrationsFolder: string,
): Promise<{ db: Kysely<Schema>; close(): Promise<void> }> {
  const { PGlite } = await import('@electric-sql/pglite');
  try {
    if (folder !== null) {
      await mkdir(dirname(folder), { recursive: true, mode: 0o700 });
      await placeEmptyDatabase(folder, migrationsFolder);
      await mkdir(folder, { recursive: true, mode: 0o700 });
    }
    const pglite = await PGlite.create(folder ?? 'memory://');
    return { db: new Kysely<Schema>({ dialect: new PgliteDialect(pglite) }), close: () => pglite.close() };
  } catch (error) {
    throw diskError(error, folder ?? 'memory');
  }
}
