/** Processes of a whole farm die at random times while it works; nothing may be lost, done twice or paid twice. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { z } from 'zod';
import type { SyntheticScene } from '../../platform/render/synthetic/scene.ts';
import { startTestFarm, type TestFarm } from '../support/farm.ts';
import { requireDoneAndPaidOnce } from './books.ts';
import { follow } from './follow.ts';
import { type Kill, kill, processesOn, randomFrom, resumed } from './killing.ts';

const settingsSchema = z.object({ repeat: z.number(), kills: z.number(), seed: z.number() });
const {
  repeat,
  kills: killsPerRun,
  seed,
} = settingsSchema.parse(JSON.parse(process.env['TESSERA_FAULTS'] ?? '{"repeat":1,"kills":3,"seed":1}'));

const NAMES = ['node-1', 'coordinator', 'verifier-1', 'nats-server', 'chain'];
const VICTIMS = [...NAMES.map((name) => [name, [name]] as const), ['any of them', NAMES] as const];

/** Two jobs at once: 30 frames of four tiles and a finish, and 100 whole frames: 250 tasks. */
const TILED_FRAMES = 30;
const WHOLE_FRAMES = 100;
const SCENE: SyntheticScene = {
  resolution: { width: 64, height: 64 },
  frameEnd: WHOLE_FRAMES,
  // Short, but long enough that there is always something under way when a process dies.
  durationMs: 100,
};
/** Between an event and the kill that follows it, so that kills do not only hit the moment after an event. */
const MAX_DELAY_MS = 1_500;

const results: { victim: string; run: number; kills: Kill[]; resumedMs: (number | null)[]; jobMs: number }[] =
  [];

describe('after kill -9', () => {
  for (let run = 0; run < repeat; run++) {
    test.each(VICTIMS)(`of %s, every task is done and paid once (run ${run + 1})`, async (victim, names) => {
      const random = randomFrom(seed + run * 1_000 + VICTIMS.findIndex(([name]) => name === victim));
      const folder = await mkdtemp(join(tmpdir(), 'tessera-faults-'));
      try {
        await runOnce(folder, victim, names, run, random);
      } catch (error) {
        process.stdout.write(`what the farm left is in ${folder} (seed ${seed}, run ${run + 1})\n`);
        throw error;
      }
      await rm(folder, { recursive: true, force: true });
    });
  }

  afterAll(() => {
    for (const { victim, run, kills, resumedMs, jobMs } of results) {
      const times = kills.map(({ name }, index) => {
        const ms = resumedMs[index];
        return `${name} ${ms == null ? 'had nothing left to do' : `${(ms / 1_000).toFixed(1)} s`}`;
      });
      process.stdout.write(
        `run ${run + 1}, ${victim}: jobs ${(jobMs / 1_000).toFixed(0)} s; resumed after ${times.join(', ')}\n`,
      );
    }
    process.stdout.write(`seed ${seed}, ${results.length} runs passed\n`);
  });
});

async function runOnce(
  folder: string,
  victim: string,
  names: readonly string[],
  run: number,
  random: () => number,
): Promise<void> {
  const scene = join(folder, 'scene.json');
  await writeFile(scene, JSON.stringify(SCENE));
  const dataFolder = join(folder, 'data');
  const farm = await startTestFarm({
    ...{ dataFolder, runtime: 'synthetic', allowSynthetic: true, restart: true },
    ...{ leaseMs: 5_000, batchMaxAgeMs: 2_000, verifierNiceness: 0 },
  });
  try {
    const startedMs = Date.now();
    const frames = Array.from({ length: TILED_FRAMES }, (_, index) => index + 1);
    const jobs = [
      await farm.submit(scene, { frames, tiles: { columns: 2, rows: 2 } }),
      await farm.submit(scene, { tiles: { columns: 1, rows: 1 } }),
    ];
    const kills = await killAtRandom(
      farm,
      names,
      random,
      jobs.map((job) => job.id),
    );
    let paid = 0n;
    const events = [];
    for (const { id } of jobs) {
      const own = await follow(farm, id, (event) => event.type === 'job.closed');
      events.push(...own);
      paid += await requireDoneAndPaidOnce(
        farm,
        await farm.client.job(id, new AbortController().signal),
        own,
      );
    }
    const nodes = await farm.client.nodes(new AbortController().signal);
    expect(nodes.reduce((sum, node) => sum + node.earned, 0n)).toBe(paid);
    events.sort((a, b) => a.atMs - b.atMs);
    results.push({ victim, run, kills, resumedMs: resumed(kills, events), jobMs: Date.now() - startedMs });
    // However often it was started, each part runs once; one that has just died may be missing.
    const running = (await processesOn(dataFolder)).map((line) => line.replace(/^\d+ /, ''));
    expect(running).toEqual([...new Set(running)]);
  } finally {
    await farm[Symbol.asyncDispose]();
  }
  expect(await processesOn(dataFolder)).toEqual([]);
}

/** At random points of the first job's progress, and a random time after each. */
async function killAtRandom(
  farm: TestFarm,
  names: readonly string[],
  random: () => number,
  [first]: Parameters<TestFarm['event']>[0][],
): Promise<Kill[]> {
  if (first === undefined) throw new Error('no job to kill in');
  const tasks = TILED_FRAMES * 5;
  const points = Array.from({ length: killsPerRun }, () => 1 + Math.floor(random() * tasks * 0.9));
  const killed = new Set<number>();
  const kills: Kill[] = [];
  for (const point of points.toSorted((a, b) => a - b)) {
    let delivered = 0;
    await follow(farm, first, (event) => {
      if (event.type === 'task.delivered') delivered++;
      return delivered >= point || event.type === 'job.closed';
    });
    await new Promise((resolve) => setTimeout(resolve, random() * MAX_DELAY_MS));
    const name = names[Math.floor(random() * names.length)];
    if (name !== undefined) kills.push(await kill(farm, name, killed));
  }
  return kills;
}
