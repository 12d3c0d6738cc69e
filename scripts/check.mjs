/** `npm run check`: format and lint, types, the import rule, dead code. Prints one line each; seconds. */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';

const bin = (name) => join('node_modules', '.bin', name);
const CHECKS = [
  { title: 'format and lint', command: bin('biome'), parameters: ['check', '--error-on-warnings', '.'] },
  { title: 'types', command: bin('tsc'), parameters: ['--noEmit', '-p', 'tsconfig.json'] },
  {
    title: 'import rule',
    command: bin('depcruise'),
    parameters: [
      '--config',
      '.dependency-cruiser.cjs',
      'protocol',
      'proof',
      'platform',
      'coordinator',
      'worker',
      'verifier',
      'cli',
      'demo',
      'bench',
    ],
  },
  { title: 'dead code', command: bin('knip'), parameters: [] },
];

let failed = false;
for (const { title, command, parameters } of CHECKS) {
  const startedMs = Date.now();
  const run = spawnSync(command, parameters, { encoding: 'utf8' });
  const ok = run.status === 0;
  failed ||= !ok;
  process.stdout.write(
    `${ok ? 'ok    ' : 'FAILED'} ${title} (${((Date.now() - startedMs) / 1000).toFixed(1)} s)\n`,
  );
  if (!ok) process.stdout.write(`${run.stdout ?? ''}${run.stderr ?? ''}${run.error ?? ''}\n`);
}
process.exitCode = failed ? 1 : 0;
