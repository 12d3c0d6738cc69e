import { execFile } from 'node:child_process';
import { describe, expect, it, vi } from 'vitest';
import { z } from 'zod';
import { forgeBinary } from '../../contracts/forge.ts';
import { packageRoot } from '../../platform/package-root.ts';

vi.setConfig({ testTimeout: 600_000 });

const resultsSchema = z.record(
  z.string(),
  z.object({
    test_results: z.record(
      z.string(),
      z.object({ status: z.string(), reason: z.string().nullish(), counterexample: z.unknown().optional() }),
    ),
  }),
);

/** Runs the forge tests; gives what forge printed. It exits with 1 when one fails, which the results say better. */
function forge(): Promise<string> {
  return new Promise((resolve, reject) => {
    const options = {
      cwd: packageRoot(),
      maxBuffer: 64 << 20,
      env: { ...process.env, FOUNDRY_PROFILE: 'default' },
    };
    execFile(forgeBinary(), ['test', '--json'], options, (error, stdout, stderr) => {
      if (stdout.trim().startsWith('{')) resolve(stdout);
      else reject(new Error(`forge did not get to the tests:\n${stdout}${stderr}`, { cause: error }));
    });
  });
}

describe('the contracts', () => {
  it('pass their forge tests', async () => {
    const suites = Object.entries(resultsSchema.parse(JSON.parse(await forge())));
    const all = suites.flatMap(([suite, { test_results }]) =>
      Object.entries(test_results).map(([name, result]) => ({ suite, name, ...result })),
    );
    const failed = all
      .filter(({ status }) => status !== 'Success')
      .map(({ suite, name, status, reason, counterexample }) =>
        [suite, name, status, reason ?? '', counterexample ? JSON.stringify(counterexample) : ''].join(' '),
      );
    expect(failed).toEqual([]);
    expect(suites.map(([suite]) => suite.split(':')[1]).toSorted()).toEqual([
      ...['AttacksTest', 'CommitteesTest', 'InvariantsTest', 'LivesTest'],
      ...['MoneyTest', 'PicksTest', 'RefusalsTest', 'RegistryTest'],
    ]);
    expect(all.length).toBeGreaterThan(110);
  });
});
