/** Numbered SQL files, applied in order, each in one transaction with its mark. */
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Kysely, sql } from 'kysely';
import { FarmError } from '../../protocol/errors.ts';

/**
 * Brings the schema up to date. Throws DATA_FOLDER_NEWER when the database knows migrations that this program does
 * not: going on would write rows that the newer program misreads.
 */
export async function migrate(db: Kysely<never>, folder: string): Promise<void> {
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
      // First the mark: a second program that migrates at the same moment fails here, before it changes anything.
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
