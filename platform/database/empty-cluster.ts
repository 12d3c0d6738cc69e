/**
 * A Postgres cluster that was made ahead. PGlite makes one in nine processor seconds (initdb in WebAssembly); a copy of
 * one is there in a tenth of a second, and opening it takes one to two.
 */
import { existsSync, readFileSync } from 'node:fs';
import { cp, rename, rm, rmdir } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { z } from 'zod';
import { packageRoot } from '../package-root.ts';

/** One of each version of PGlite: the files of a cluster are bound to the server that made them. */
export function emptyClusterFolder(): string {
  // The package does not export its manifest, which lies above its programs.
  const program = createRequire(import.meta.url).resolve('@electric-sql/pglite');
  const manifest: unknown = JSON.parse(readFileSync(join(dirname(program), '..', 'package.json'), 'utf8'));
  const { version } = z
    .object({ name: z.literal('@electric-sql/pglite'), version: z.string() })
    .parse(manifest);
  return join(packageRoot(), 'dist', `pglite-${version}`);
}

/**
 * Puts a copy of the empty cluster at `folder`, whole or not at all, where nothing is there yet and the installation has
 * one (scripts/build.mjs makes it). Else PGlite makes its own.
 */
export async function placeEmptyCluster(folder: string): Promise<void> {
  const made = emptyClusterFolder();
  if (!existsSync(made)) return;
  // A folder with something in it stays as it is, whatever that is.
  if (existsSync(folder) && !(await removedEmpty(folder))) return;
  const copy = `${folder}.new`;
  await rm(copy, { recursive: true, force: true });
  await cp(made, copy, { recursive: true });
  await rename(copy, folder);
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
