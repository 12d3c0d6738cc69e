/** A hundred jobs among cheats, liars and the vanished, the coordinator killed at random: every unit is where it belongs. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { z } from 'zod';
import { processesOn } from './processes.ts';
import { requireRight } from './require-right.ts';
import { type Edition, runStorm, startStorm } from './storm.ts';

const { seed } = z
  .object({ seed: z.number() })
  .parse(JSON.parse(process.env['TESSERA_FAULTS'] ?? '{"seed":1}'));

const EDITION: Edition = {
  jobs: 100,
  kills: 12,
  honestNodes: 3,
  honestVerifiers: 4,
  accuser: true,
  handOverMs: 45_000,
};

test('money and stake after a hundred jobs are right to the unit', { timeout: 3_600_000 }, async () => {
  const folder = await mkdtemp(join(tmpdir(), 'tessera-storm-'));
  try {
    await once(folder);
  } catch (error) {
    process.stdout.write(`what the farm left is in ${folder} (seed ${seed})\n`);
    throw error;
  }
  await rm(folder, { recursive: true, force: true });
});

async function once(folder: string): Promise<void> {
  const startedMs = Date.now();
  const farm = await startStorm(EDITION, seed, folder);
  try {
    const figures = await requireRight(await runStorm(farm, EDITION, seed));
    expect(figures.kills).toBe(EDITION.kills);
    const seconds = Math.round((Date.now() - startedMs) / 1_000);
    process.stdout.write(`seed ${seed}, ${seconds} s: ${JSON.stringify(figures, null, 1)}\n`);
  } finally {
    await farm[Symbol.asyncDispose]();
  }
  expect(await processesOn(folder)).toEqual([]);
}
