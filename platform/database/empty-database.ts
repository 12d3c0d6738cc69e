/**
 * A database that was made ahead, with its schema and nothing in it. PGlite makes one in nine processor seconds (initdb
 * in WebAssembly) and applies the migrations in two more; a copy is there in a tenth of a second.
 */
import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { cp, readdir, readFile, rename, rm, rmdir } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { z } from 'zod';
import { packageRoot } from '../package-root.ts';

/** Where it lies: one for each version of PGlite, whose files are its own, and each text of the migrations. */
export async function emptyDatabaseFolder(migrationsFolder: string): Promise<string> {
  const hash = createHash('sha256').update(pgliteVersion());
  for (const file of (await readdir(migrationsFolder)).sort())
    hash.update(file).update(await readFile(join(migrationsFolder, file)));
  return join(packageRoot(), 'dist', 'databases', hash.digest('hex').slice(0, 16));
}

/** Puts a copy at `folder`, whole or not at all, where nothing is there yet and the installation has one (scripts/build.mjs). */
export async function placeEmptyDatabase(folder: string, migrationsFolder: string): Promise<void> {
  // A folder with something in it stays as it is, whatever that is.
  if (existsSync(folder) && !(await removedEmpty(folder))) return;
  const made = await emptyDatabaseFolder(migrationsFolder);
  if (!existsSync(made)) return;
  const copy = `${folder}.new`;
  await rm(copy, { recursive: true, force: true });
  await cp(made, copy, { recursive: true });
  await rename(copy, folder);
}

function pgliteVersion(): string {
  // The package does not export its manifest, which lies above its programs.
  const program = createRequire(import.meta.url).resolve('@electric-sql/pglite');
  const manifest: unknown = JSON.parse(readFileSync(join(dirname(program), '..', 'package.json'), 'utf8'));
  return z.object({ name: z.literal('@electric-sql/pglite'), version: z.string() }).parse(manifest).version;
}

async function removedEmpty(folder: string): Promise<boolean> {
  try {
    await rmdir(folder);
    return true;
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOTEMPTY') return false;
    throw error;
  }
}
