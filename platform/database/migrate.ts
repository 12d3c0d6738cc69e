/** Numbered SQL files, applied in order, each in one transaction with its mark. */
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Kysely, sql } from 'kysely';
import { FarmError } from '../../protocol/errors.ts';

/** "tess" in ASCII: no other program takes the same lock on a shared server by chance. */
const MIGRATION_LOCK = 0x74657373;

/**
 * Brings the schema up to date; of several programs that start together one does it and the others wait. Throws
 * DATA_FOLDER_NEWER when the database knows migrations that this program does not: going on would write rows that the
 * newer program misreads.
 */
export async function migrate(db: Kysely<never>, folder: string): Promise<void> {
  // A lock belongs to its connection: it is gone with a program that is killed.
  await db.connection().execute(async (one) => {
    await sql`select pg_advisory_lock(${MIGRATION_LOCK})`.execute(one);
    try {
      await migrateAlone(one, folder);
    } finally {
      await sql`select pg_advisory_unlock(${MIGRATION_LOCK})`.execute(one);
    }
  });
}

async function migrateAlone(db: Kysely<never>, folder: string): Promise<void> {
  await sql`create table if not exists migrations (number int primary key, applied_at timestamptz not null default now())`.execute(
    db,
  );
  const applied = await sql<{ number: number }>`select number from migrations`.execute(db);
  const done = new Set(applied.rows.map((row) => row.number));
  const files = (await readdir(folder)).filter((name) => /^\d{4}-.+\.sql$/.test(name)).sort();
  const known = new Set(files.map((name) => Number(name.slice(0, 4))));
  const unknown = [...done].filter((number) => !known.has(number));
  if (unknown.length > 0) {
    throw new FarmError(
      'DATA_FOLDER_NEWER',
      `the database has migration ${Math.max(...unknown)}, which this program does not know`,
      {
        kept: 'nothing was changed',
      },
    );
  }
  for (const file of files) {
    const number = Number(file.slice(0, 4));
    if (done.has(number)) continue;
    const text = await readFile(join(folder, file), 'utf8');
    await db.transaction().execute(async (transaction) => {
      await sql`insert into migrations (number) values (${number})`.execute(transaction);
      for (const statement of statements(text)) await sql.raw(statement).execute(transaction);
    });
  }
}

/** Splits at semicolons that end a line; migrations keep to statements without such lines inside. */
function statements(text: string): string[] {
  return text
    .split(/;\s*\n/)
    .map((statement) => statement.trim())
    .filter((statement) => statement.replace(/--.*$/gm, '').trim() !== '');
}
