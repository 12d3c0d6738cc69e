/**
 * `npm test`: the set-up of the demo and a Docker engine with the engine image, the static checks (together they count as one), then every test.
 * The last line is `N passed, N failed`; with arguments (files, -t NAME) only those tests run.
 */
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setUpDocker } from './lib/docker.mjs';
import { ROOT, setUp } from './lib/setup.mjs';

// Named files in rooms without a container need no Docker, which takes minutes on a fresh machine.
const files = process.argv.slice(2).filter((one) => one.startsWith('test/'));
const needsDocker = files.length === 0 || files.some((one) => /^test\/(render|farm)/.test(one));
await setUp({ forTests: needsDocker });
const endDocker = needsDocker ? await setUpDocker() : async () => undefined;
const folder = mkdtempSync(join(tmpdir(), 'tessera-report-'));
const report = join(folder, 'report.json');
const vitest = join(ROOT, 'node_modules/vitest/vitest.mjs');
const parameters = [
  'run',
  '--reporter=default',
  '--reporter=json',
  `--outputFile.json=${report}`,
  ...process.argv.slice(2),
];
const whole = process.argv.length === 2;
// Some tests only: somebody is in the middle of something, and looks at the rest later.
const unclean = whole && (await run([join(ROOT, 'scripts/check.mjs')])) !== 0 ? 1 : 0;
const code = await run([vitest, ...parameters]);
await endDocker();
const { passed, failed } = countTests(report);
rmSync(folder, { recursive: true, force: true });
process.exitCode = code !== 0 || failed + unclean > 0 || passed === 0 ? 1 : 0;
process.stdout.write(`${passed} passed, ${failed + unclean} failed\n`);

function run(parameters) {
  return new Promise((resolve) => {
    // What setUp built needs no second build before the tests (test/support/build-programs.ts).
    const env = { ...process.env, TESSERA_BUILT: '1' };
    spawn(process.execPath, parameters, { cwd: ROOT, stdio: 'inherit', env }).once('exit', (code) =>
      resolve(code ?? 1),
    );
  });
}

/** A file that could not even be loaded counts as a failure: it has tests that did not run. */
function countTests(path) {
  try {
    const result = JSON.parse(readFileSync(path, 'utf8'));
    const broken = result.testResults.filter(
      (file) => file.status === 'failed' && file.assertionResults.length === 0,
    ).length;
    return {
      passed: result.numPassedTests,
      failed: result.numFailedTests + result.numPendingTests + result.numTodoTests + broken,
    };
  } catch {
    return { passed: 0, failed: 1 };
  }
}
