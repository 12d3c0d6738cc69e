/**
 * A farm on which everything goes wrong at once: nodes that cheat, withhold and vanish, verifiers that lie, accuse and
 * vanish, artists who cancel and dispute, and a coordinator that is killed again and again. One seed chooses all of it.
 */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { EMBEDDED_TERMS } from '../../platform/chain/deploy.ts';
import { jsonRpc } from '../../platform/chain/json-rpc.ts';
import type { SyntheticScene } from '../../platform/render/synthetic/scene.ts';
import { pause } from '../../platform/wait.ts';
import { isFarmError } from '../../protocol/errors.ts';
import type { BatchId, JobId } from '../../protocol/ids.ts';
import type { JobRequest, JobView } from '../../protocol/job.ts';
import type { BatchView } from '../../protocol/verdict.ts';
import { chainUrlOf } from '../support/chain-of.ts';
import { adversary, startTestFarm, type TestFarm } from '../support/farm.ts';
import { isStuck } from './is-stuck.ts';
import { kill } from './processes.ts';
import { randomFrom } from './random.ts';

export type Edition = {
  jobs: number;
  /** Of the coordinator. */
  kills: number;
  honestNodes: number;
  honestVerifiers: number;
  /** Whether one fails whatever the first honest node delivers. */
  accuser: boolean;
};

export const CHEAT = 'cheat';
export const WITHHOLDER = 'withholder';
export const GONE = 'gone';
export const LAZY = 'lazy';
export const ACCUSER = 'accuser';
export const ABSENT = 'absent';
/** Of its tasks the cheat fakes so many: it keeps some batches clean, which are to be paid. */
export const CHEAT_SHARE = 0.3;

/** Prices that divide by nothing, so that every share leaves something over. */
const SCENE: SyntheticScene = { resolution: { width: 61, height: 47 }, frameEnd: 4_000, durationMs: 20 };
/** Every receipt of a batch is drawn when there are no more: what a batch holds is then found for certain. */
const FRAMES_PER_JOB = 4;
/** The dearest costs more than a stake covers. */
const SAMPLES = [16, 300, 4_000, 65_536];
const CANCELLED_SHARE = 0.06;
const DOUBTED_SHARE = { cheat: 0.5, others: 0.05 };
const LOOK_MS = 400;
/** Between a coordinator that works again and its next end. */
const KILL_WITHIN_MS = 5_000;
const AFTER_WINDOW_S = 120;

const { signal } = new AbortController();
const names = (name: string, count: number): string[] =>
  Array.from({ length: count }, (_, index) => `${name}-${index + 1}`);

export type Storm = {
  farm: TestFarm;
  jobs: readonly JobView[];
  batches: readonly BatchView[];
  /** Tasks of which batches the cheat faked is a question of these. */
  seed: string;
  kills: number;
  /** How often the clock of the chain was moved past a window. */
  jumps: number;
  doubted: ReadonlySet<BatchId>;
};

/** The farm, on which nothing has happened yet. */
export async function startStorm(edition: Edition, seed: number, dataFolder: string): Promise<TestFarm> {
  const rival = names('honest', 1)[0] ?? '';
  return await startTestFarm({
    ...{ dataFolder, runtime: 'synthetic', allowSynthetic: true, restart: true },
    nodes: [
      ...names('honest', edition.honestNodes).map((id) => ({ id })),
      {
        id: CHEAT,
        entry: adversary('picture-cheat'),
        arguments: ['samples-50', String(CHEAT_SHARE), String(seed)],
      },
      { id: WITHHOLDER, entry: adversary('withheld') },
      { id: GONE },
    ],
    verifiers: [
      ...names('looking', edition.honestVerifiers).map((id) => ({ id })),
      { id: LAZY, entry: adversary('lying-verifier'), arguments: ['lazy'] },
      ...(edition.accuser
        ? [{ id: ACCUSER, entry: adversary('lying-verifier'), arguments: ['accuser', rival] }]
        : []),
      { id: ABSENT },
    ],
    // Longer than any pause of this machine: an honest node must not look like one that withholds.
    ...{ leaseMs: 10_000, batchMaxAgeMs: 2_000, handOverMs: 15_000 },
    // Or it would cheat once, and never again.
    quarantineMs: 500,
    passMs: 900_000,
  });
}

/** Runs until every job's money is where it belongs. */
export async function runStorm(farm: TestFarm, edition: Edition, seed: number): Promise<Storm> {
  const random = randomFrom(seed);
  const scene = await submitScene(farm);
  const plans = Array.from({ length: edition.jobs }, (_, index) => planJob(scene, index, random));
  const submitting = submitAll(farm, plans);
  const storm = new StormClock(farm, edition, random);
  const chainUrl = await chainUrlOf(farm);
  const doubted = new Set<BatchId>();
  const asked = new Set<BatchId>();
  const cancelAt = new Map<string, number>();
  for (const { name } of plans) if (random() < CANCELLED_SHARE) cancelAt.set(name, random() * 5);
  let submitted = false;
  void submitting.then(() => {
    submitted = true;
  });
  let jumps = 0;
  for (;;) {
    const jobs = await farm.client.jobs(signal);
    if (submitted && jobs.every(({ escrow }) => escrow === 'closed')) break;
    const open = jobs.filter(({ escrow }) => escrow !== 'closed');
    const batches = (await Promise.all(open.map(({ id }) => farm.client.batches(id, signal)))).flat();
    for (const { id, name, tasks } of open) {
      if (tasks.delivered + tasks.verified < (cancelAt.get(name) ?? Number.POSITIVE_INFINITY)) continue;
      cancelAt.delete(name);
      await unlessAway(() => farm.client.cancel(id, signal));
    }
    for (const { id, nodeId, state } of batches) {
      if (asked.has(id) || state === 'settled') continue;
      asked.add(id);
      if (random() >= (nodeId === CHEAT ? DOUBTED_SHARE.cheat : DOUBTED_SHARE.others)) continue;
      if (await unlessAway(() => farm.client.dispute(id, { outcome: 'pass' }, signal))) doubted.add(id);
    }
    await storm.tick(jobs, batches);
    if (submitted && (await isStuck(farm, jobs, batches, ABSENT, signal))) {
      await moveClock(chainUrl, EMBEDDED_TERMS.verdictWindowS + AFTER_WINDOW_S);
      jumps++;
    }
    await pause(LOOK_MS, signal);
  }
  await submitting;
  const jobs = await farm.client.jobs(signal);
  const batches = (await Promise.all(jobs.map(({ id }) => farm.client.batches(id, signal)))).flat();
  return { farm, jobs, batches, seed: String(seed), kills: storm.kills, jumps, doubted };
}

/** What happens to processes, and when. */
class StormClock {
  readonly #farm: TestFarm;
  readonly #edition: Edition;
  readonly #random: () => number;
  #nextKillMs: number;
  /** After so many deliveries of its own, and so many settled batches. */
  readonly #goneAt: number;
  readonly #absentAt: number;
  readonly #stopped = new Set<string>();
  readonly #settled = new Set<BatchId>();
  kills = 0;

  constructor(farm: TestFarm, edition: Edition, random: () => number) {
    this.#farm = farm;
    this.#edition = edition;
    this.#random = random;
    this.#nextKillMs = Date.now() + random() * KILL_WITHIN_MS;
    this.#goneAt = 1 + Math.floor(random() * 6);
    this.#absentAt = Math.floor(random() * 6);
  }

  async tick(jobs: readonly JobView[], batches: readonly BatchView[]): Promise<void> {
    for (const { id, state } of batches) if (state === 'settled') this.#settled.add(id);
    const ofGone = batches.filter(({ nodeId }) => nodeId === GONE);
    if (ofGone.reduce((sum, { receipts }) => sum + receipts, 0) >= this.#goneAt) await this.#stop(GONE);
    const closed = jobs.filter(({ escrow }) => escrow === 'closed').length;
    if (this.#settled.size + closed >= this.#absentAt) await this.#stop(ABSENT);
    if (this.kills >= this.#edition.kills || Date.now() < this.#nextKillMs) return;
    await kill(this.#farm, 'coordinator');
    this.kills++;
    this.#nextKillMs = Number.POSITIVE_INFINITY;
    // Only one that works can be in the middle of something.
    void this.#farm.client.jobs(signal).then(() => {
      this.#nextKillMs = Date.now() + this.#random() * KILL_WITHIN_MS;
    });
  }

  async #stop(name: string): Promise<void> {
    if (this.#stopped.has(name)) return;
    this.#stopped.add(name);
    const running = this.#farm.processes.get(name);
    if (running === undefined) throw new Error(`no process ${name}`);
    // Not asked to: it says good-bye to nobody.
    const stopping = running.stop();
    process.kill(running.pid, 'SIGKILL');
    await stopping;
  }
}

async function submitScene(farm: TestFarm): Promise<JobRequest['scene']> {
  const folder = join(farm.folder.root, 'storm');
  await mkdir(folder, { recursive: true });
  const path = join(folder, 'scene.json');
  await writeFile(path, JSON.stringify(SCENE));
  return await farm.submitScene(path);
}

/** Each job has frames of its own, so that a frame's number and place name a task of one job. */
function planJob(scene: JobRequest['scene'], index: number, random: () => number): JobRequest {
  const whole = random() < 0.6;
  const count = 1 + Math.floor(random() * (whole ? FRAMES_PER_JOB : 1));
  const frames = Array.from({ length: count }, (_, frame) => index * FRAMES_PER_JOB + frame + 1);
  const samples = SAMPLES[Math.floor(random() * random() * SAMPLES.length)] ?? 16;
  const tiles = whole ? { columns: 1, rows: 1 } : { columns: 2, rows: 1 + Math.floor(random() * 2) };
  return { name: `job-${index}`, scene, frames, tiles, samples };
}

/** Each once, whatever is killed meanwhile: an answer that was lost is looked for by the job's name. */
async function submitAll(farm: TestFarm, plans: readonly JobRequest[]): Promise<JobId[]> {
  const ids: JobId[] = [];
  for (const plan of plans) {
    for (;;) {
      const known = (await farm.client.jobs(signal)).find(({ name }) => name === plan.name);
      if (known !== undefined) {
        ids.push(known.id);
        break;
      }
      await unlessAway(() => farm.client.submitJob(plan, signal));
    }
  }
  return ids;
}

/** Whether it was done; not, where the farm was just away or it had been too late. */
async function unlessAway(ask: () => Promise<unknown>): Promise<boolean> {
  try {
    await ask();
    return true;
  } catch (error) {
    if (isFarmError(error, 'FARM_UNREACHABLE') || isFarmError(error, 'NOT_DISPUTABLE')) return false;
    throw error;
  }
}

async function moveClock(chainUrl: string, seconds: number): Promise<void> {
  await jsonRpc(chainUrl).batch([
    { method: 'evm_increaseTime', params: [seconds] },
    { method: 'evm_mine', params: [] },
  ]);
}
