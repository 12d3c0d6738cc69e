/**
 * `npm run test:faults [-- --repeat N] [--seed N] [--only NAME]`: a whole farm of real processes with synthetic renderers,
 * in which things break at random moments of its jobs, each N times; after each time its books are checked. `--only` takes
 * a part of a test's name: `postgres`, `network`, `disk`.
 */
import { randomInt } from 'node:crypto';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { handOver, ROOT, setUp } from './lib/setup.mjs';

const { values } = parseArgs({
  options: {
    repeat: { type: 'string', default: '20' },
    seed: { type: 'string', default: String(randomInt(2 ** 31)) },
    only: { type: 'string' },
  },
});
for (const name of ['repeat', 'seed']) {
  if (/^\d+$/.test(values[name])) continue;
  process.stderr.write(`--${name} takes a number, not ${values[name]}\n`);
  process.exit(2);
}
await setUp({ forFaults: true });
process.env.TESSERA_FAULTS = JSON.stringify({
  repeat: Number(values.repeat),
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
