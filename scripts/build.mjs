/** Compiles the programs into dist/, with an empty database to copy beside them. */
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

const { emptyClusterFolder } = await import('../dist/platform/database/empty-cluster.js');
const cluster = emptyClusterFolder();
if (!existsSync(cluster)) {
  const { PGlite } = await import('@electric-sql/pglite');
  const unfinished = `${cluster}.${process.pid}`;
  const database = await PGlite.create(unfinished);
  await database.close();
  // Another build may have been as quick.
  if (existsSync(cluster)) rmSync(unfinished, { recursive: true });
  else renameSync(unfinished, cluster);
}
