/** `npm run bench -- NAME [--json]`: the same set-up as the demo, then one benchmark. */
import { join } from 'node:path';
import { handOver, ROOT, setUp } from './lib/setup.mjs';

await setUp();
process.exitCode = await handOver(process.execPath, [
  '--enable-source-maps',
  join(ROOT, 'dist/bench/main.js'),
  ...process.argv.slice(2),
]);
