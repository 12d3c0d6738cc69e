/**
 * One kind of fault, again and again, in a farm that works: each time two jobs, the fault at a random moment of them, and
 * when they have ended, their books. A farm is not started anew for each, so that what one fault leaves behind would
 * meet the next.
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { z } from 'zod';
import type { FarmOptions } from '../../cli/farm/start-farm.ts';
import type { SyntheticScene } from '../../platform/render/synthetic/scene.ts';
import { pause } from '../../platform/wait.ts';
import type { LoggedEvent } from '../../protocol/events.ts';
import type { JobId } from '../../protocol/ids.ts';
import { startTestFarm, type TestFarm } from '../support/farm.ts';
import { requireDoneAndPaidOnce } from './books.ts';
import { follow, type HeardEvent } from './follow.ts';
import { processesOn, untilReady } from './processes.ts';
import { type Random, randomFrom } from './random.ts';

const settingsSchema = z.object({ repeat: z.number(), seed: z.number() });
const { repeat, seed } = settingsSchema.parse(
  JSON.parse(process.env['TESSERA_FAULTS'] ?? '{"repeat":1,"seed":1}'),
);

export type Fault = {
  /** Does it and, where it does not heal by itself, undoes it again. Resolves with the moment from which the farm can go on. */
  strike(farm: TestFarm, random: Random): Promise<number>;
  /** What shows that the farm goes on without, or again with, what was hit. */
  signOfLife(event: LoggedEvent['event']): boolean;
  /** Whether the times in events cannot be held against this process's own. */
  wrongClock?: boolean;
};

/** What a fault needs around the farm: a server, a network, a small disk. */
export type Surroundings = AsyncDisposable & { options?: Partial<FarmOptions>; fault: Fault };

/** Five frames of four tiles with a finish each, and twenty whole frames: 45 tasks. */
const TILED_FRAMES = [1, 2, 3, 4, 5];
const WHOLE_FRAMES = 20;
const SCENE: SyntheticScene = {
  resolution: { width: 64, height: 64 },
  frameEnd: WHOLE_FRAMES,
  // Short, but long enough that there is always something under way when something breaks.
  durationMs: 100,
};

const { signal: never } = new AbortController();

/** A test of its own for this fault. `surround` makes what it needs in a folder that goes away with it. */
export function testFault(name: string, surround: (folder: string) => Promise<Surroundings>): void {
  test(`after ${name}, every task is done and paid once (${repeat} times)`, async () => {
    const folder = await mkdtemp(join(tmpdir(), 'tessera-faults-'));
    try {
      await withSurroundings(name, folder, surround);
    } catch (error) {
      process.stdout.write(`what the farm left is in ${folder} (seed ${seed})\n`);
      throw error;
    }
    await rm(folder, { recursive: true, force: true });
  });
}

async function withSurroundings(
  name: string,
  folder: string,
  surround: (folder: string) => Promise<Surroundings>,
): Promise<void> {
  await using around = await surround(folder);
  const scene = join(folder, 'scene.json');
  await writeFile(scene, JSON.stringify(SCENE));
  const farm = await startTestFarm({
    ...{ dataFolder: join(folder, 'data'), runtime: 'synthetic', allowSynthetic: true, restart: true },
    ...{ leaseMs: 5_000, batchMaxAgeMs: 2_000, verifierNiceness: 0 },
    ...around.options,
  });
  try {
    await strikeAgainAndAgain(name, farm, scene, around.fault);
  } catch (error) {
    process.stdout.write(`the farm noted:\n${farm.notes.slice(-20).join('\n')}\n`);
    throw error;
  } finally {
    await farm[Symbol.asyncDispose]();
  }
  expect(await processesOn(farm.folder.root)).toEqual([]);
}

async function strikeAgainAndAgain(name: string, farm: TestFarm, scene: string, fault: Fault): Promise<void> {
  const random = randomFrom(seed + digits(name));
  const calm = await workOnce(farm, scene, async () => Date.now());
  let paid = calm.paid;
  const resumedMs: number[] = [];
  let met = 0;
  // The start of a farm makes its first jobs slow.
  let shortestMs = calm.tookMs;
  for (let time = 1; time <= repeat; time++) {
    const afterMs = random() * shortestMs;
    let beganMs = Number.POSITIVE_INFINITY;
    const work = await workOnce(farm, scene, async () => {
      await pause(afterMs, never);
      beganMs = Date.now();
      return await fault.strike(farm, random);
    });
    paid += work.paid;
    shortestMs = Math.min(shortestMs, work.tookMs);
    if (beganMs < (work.events.at(-1)?.heardMs ?? 0)) met++;
    const next = work.events.find(
      // What was written before and heard after it is no sign; whose clock is wrong writes wrong times.
      ({ atMs, heardMs, event }) =>
        heardMs > work.struckMs && (fault.wrongClock || atMs > work.struckMs) && fault.signOfLife(event),
    );
    const resumed = next === undefined ? null : next.heardMs - work.struckMs;
    if (resumed !== null) resumedMs.push(resumed);
    process.stdout.write(
      `${name}, ${time} of ${repeat}: ${seconds(afterMs)} after the jobs; ${
        resumed === null ? 'nothing was left to do' : `went on after ${seconds(resumed)}`
      }; jobs took ${seconds(work.tookMs)}\n`,
    );
    // However often it was started, each part runs once; one that has just died may be missing.
    const running = (await processesOn(farm.folder.root)).map((line) => line.replace(/^\d+ /, ''));
    expect(running).toEqual([...new Set(running)]);
  }
  const nodes = await farm.client.nodes(never);
  expect(nodes.reduce((sum, node) => sum + node.earned, 0n)).toBe(paid);
  // A fault that never met work would prove nothing.
  expect(met).toBeGreaterThan(0);
  const sorted = resumedMs.toSorted((a, b) => a - b);
  const [median = 0, longest = 0] = [sorted[Math.floor(sorted.length / 2)], sorted.at(-1)];
  const went =
    sorted.length === 0
      ? 'the jobs were over before it was missed'
      : `went on ${sorted.length} times, after ${seconds(median)} (median), ${seconds(longest)} (longest)`;
  process.stdout.write(
    `${name}: ${repeat} times, ${met} of them in work; without it jobs take ${seconds(calm.tookMs)}; ${went}, seed ${seed}\n`,
  );
}

type Work = { paid: bigint; events: HeardEvent[]; struckMs: number; tookMs: number };

/** Two jobs from submission to their last payment, with `disturb` beside them. */
async function workOnce(farm: TestFarm, scene: string, disturb: () => Promise<number>): Promise<Work> {
  const startedMs = Date.now();
  const jobs: JobId[] = [];
  const frames = TILED_FRAMES;
  jobs.push((await farm.submit(scene, { frames, tiles: { columns: 2, rows: 2 } })).id);
  jobs.push((await farm.submit(scene, { tiles: { columns: 1, rows: 1 } })).id);
  const disturbing = disturb();
  // Its end is waited for below; until then a failure is not unheard.
  disturbing.catch(() => undefined);
  const of = await Promise.race([
    Promise.all(jobs.map((id) => follow(farm, id, (event) => event.type === 'job.closed'))),
    disturbing.then(() => new Promise<never>(() => undefined)),
  ]);
  const tookMs = Date.now() - startedMs;
  const struckMs = await disturbing;
  await untilReady(farm);
  let paid = 0n;
  for (const [index, id] of jobs.entries())
    paid += await requireDoneAndPaidOnce(farm, await farm.client.job(id, never), of[index] ?? []);
  return { paid, events: of.flat().toSorted((a, b) => a.heardMs - b.heardMs), struckMs, tookMs };
}

/** Other moments for other faults. */
function digits(name: string): number {
  return [...name].reduce((sum, letter) => (sum * 31 + letter.charCodeAt(0)) | 0, 0);
}

function seconds(ms: number): string {
  return `${(ms / 1_000).toFixed(1)} s`;
}
