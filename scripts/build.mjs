/** Compiles the programs into dist/, with an empty database to copy beside them, and what of Python goes with them. */
import { spawnSync } from 'node:child_process';
import { chmodSync, existsSync, renameSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';

const tsc = createRequire(import.meta.url).resolve('typescript/bin/tsc');
const built = spawnSync(
  process.execPath,
  [tsc, '-p', 'tsconfig.build.json', '--incremental', '--tsBuildInfoFile', 'dist/.tsbuildinfo'],
  {
    stdio: 'inherit',
  },
);
if (built.status !== 0) process.exit(built.status ?? 1);
chmodSync('dist/cli/main.js', 0o755);

// A sandbox keeps nothing: without these files every session would compile its Python anew, 0.3 s of a processor each time.
// Debian's Blender runs on Debian's Python. Any other finds the sources, as it does where this fails.
spawnSync('/usr/bin/python3', ['-m', 'compileall', '-q', 'blender-images/session'], { stdio: 'ignore' });

const { emptyDatabaseFolder } = await import('../dist/platform/database/empty-database.js');
const { openDatabase } = await import('../dist/platform/database/open.js');
const migrations = 'coordinator/database/migrations';
const wanted = await emptyDatabaseFolder(migrations);
if (!existsSync(wanted)) {
  // Of other migrations: nobody asks for them any more.
  rmSync('dist/databases', { recursive: true, force: true });
  const unfinished = `${wanted}.${process.pid}`;
  const database = await openDatabase(unfinished, migrations);
  await database[Symbol.asyncDispose]();
  try {
    renameSync(unfinished, wanted);
  } catch (error) {
    // Another build was quicker.
    rmSync(unfinished, { recursive: true });
    if (!existsSync(wanted)) throw error;
  }
}
