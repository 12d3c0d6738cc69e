/** `npm run demo`: from a fresh clone to rendered pictures and a caught cheat. */
import { join } from 'node:path';
import { handOver, ROOT, setUp } from './lib/setup.mjs';

await setUp();
process.exitCode = await handOver(process.execPath, [
  '--enable-source-maps',
  join(ROOT, 'dist/demo/main.js'),
  ...process.argv.slice(2),
]);
