/** The gas figures that are committed. `npx tsx bench/gas/snapshot.ts` measures and writes them; a test holds them to 2 %. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';
import { packageRoot } from '../../platform/package-root.ts';
import { measureGas } from './measure.ts';

const FILE = join(packageRoot(), 'contracts/gas-snapshot.json');

/** Gas by name, as in GasFigures. */
export function readSnapshot(): Record<string, number> {
  return z.record(z.string(), z.number()).parse(JSON.parse(readFileSync(FILE, 'utf8')));
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const figures = await measureGas(new AbortController().signal);
  writeFileSync(FILE, `${JSON.stringify(figures, null, 2)}\n`);
}
