/**
 * `npm run test:faults [-- --repeat N] [--seed N] [--kills N] [--only NAME]`: a whole farm of real processes with
 * synthetic renderers, whose processes are killed (SIGKILL) at random while a job runs; then its books are checked.
 */
import { randomInt } from 'node:crypto';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { handOver, ROOT, setUp } from './lib/setup.mjs';

const { values } = parseArgs({
  options: {
    repeat: { type: 'string', default: '1' },
    kills: { type: 'string', default: '3' },
    seed: { type: 'string', default: String(randomInt(2 ** 31)) },
    only: { type: 'string' },
  },
});
for (const name of ['repeat', 'kills', 'seed']) {
  if (/^\d+$/.test(values[name])) continue;
  process.stderr.write(`--${name} takes a number, not ${values[name]}\n`);
  process.exit(2);
}
await setUp();
process.env.TESSERA_FAULTS = JSON.stringify({
  repeat: Number(values.repeat),
  kills: Number(values.kills),
  seed: Number(values.seed),
});
process.stdout.write(`seed ${values.seed}: the same moments again with --seed ${values.seed}\n`);
process.exitCode = await handOver(process.execPath, [
  join(ROOT, 'node_modules/vitest/vitest.mjs'),
  'run',
  '--config',
  join(ROOT, 'vitest.faults.config.ts'),
  ...(values.only === undefined ? [] : ['-t', values.only]),
]);
