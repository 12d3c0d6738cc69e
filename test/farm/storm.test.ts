/** The small edition of test/faults/storm.fault.ts, which has a hundred jobs. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { requireRight } from '../faults/require-right.ts';
import { type Edition, runStorm, startStorm } from '../faults/storm.ts';

const EDITION: Edition = {
  jobs: 8,
  kills: 1,
  honestNodes: 2,
  honestVerifiers: 3,
  accuser: false,
  handOverMs: 45_000,
};
/** Any number; printed with whatever fails. */
const SEED = 6;

test('after jobs among cheats, liars and the vanished, money and stake are right to the unit', {
  timeout: 600_000,
}, async () => {
  const folder = await mkdtemp(join(tmpdir(), 'tessera-storm-'));
  try {
    const farm = await startStorm(EDITION, SEED, folder);
    try {
      const figures = await requireRight(await runStorm(farm, EDITION, SEED));
      expect(figures.kills).toBeGreaterThan(0);
    } finally {
      await farm[Symbol.asyncDispose]();
    }
  } catch (error) {
    process.stdout.write(`what the farm left is in ${folder} (seed ${SEED})\n`);
    throw error;
  }
  await rm(folder, { recursive: true, force: true });
});
