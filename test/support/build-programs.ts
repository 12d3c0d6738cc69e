/** Before any test: the programs that farms of the tests start are the ones of this source. */
import { spawnSync } from 'node:child_process';
import { packageRoot } from '../../platform/package-root.ts';

export function setup(): void {
  // `npm test` has just built them (scripts/test.mjs); looking whether anything changed takes seconds.
  if (process.env['TESSERA_BUILT'] === '1') return;
  const built = spawnSync(process.execPath, ['scripts/build.mjs'], { cwd: packageRoot(), encoding: 'utf8' });
  if (built.status !== 0) throw new Error(`the programs do not compile:\n${built.stdout}${built.stderr}`);
}
