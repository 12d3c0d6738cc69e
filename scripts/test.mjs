/**
 * `npm test`: the same set-up as the demo, the static checks, then every test.
 * The last line is `N passed, N failed`; with arguments (files, -t NAME) only those tests run.
 */
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ROOT, setUp } from './lib/setup.mjs';

await setUp();
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
const code = await new Promise((resolve) => {
  spawn(process.execPath, [vitest, ...parameters], { cwd: ROOT, stdio: 'inherit' }).once('exit', (exit) =>
    resolve(exit ?? 1),
  );
});
const { passed, failed } = countTests(report);
rmSync(folder, { recursive: true, force: true });
process.exitCode = code !== 0 || failed > 0 || passed === 0 ? 1 : 0;
process.stdout.write(`${passed} passed, ${failed} failed\n`);

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
