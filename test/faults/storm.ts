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
import type { BatchId } from '../../protocol/ids.ts';
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
  /**
   * What a node has to hand over a drawn frame. Longer than the 30 s after which it asks again what a killed coordinator
   * did not answer, or an honest one looks like one that withholds.
   */
  handOverMs: number;
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
const DOUBTED_SHARE = 0.2;
const LOOK_MS = 2_000;
/** Between a point of the work and the kill that follows it. */
const KILL_WITHIN_MS = 1_500;
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
    ...{ leaseMs: 10_000, batchMaxAgeMs: 2_000, handOverMs: edition.handOverMs },
    // Or it would cheat once, and never again.
    quarantineMs: 500,
    // Its cheats are a fault that checks have to end, not one that committees have to.
    appealBond: 0,
    passMs: 900_000,
  });
}

/** Runs until every job's money is where it belongs. */
export async function runStorm(farm: TestFarm, edition: Edition, seed: number): Promise<Storm> {
  const random = randomFrom(seed);
  const scene = await submitScene(farm);
  const plans = Array.from({ length: edition.jobs }, (_, index) => planJob(scene, index, random));
  const storm = new StormClock(farm, edition, random);
  const chainUrl = await chainUrlOf(farm);
  const { verifiers } = await farm.client.info(signal);
  const absent = verifiers.find(({ id }) => id === ABSENT)?.address;
  if (absent === undefined) throw new Error(`no verifier ${ABSENT}`);
  const doubted = new Set<BatchId>();
  const doubtful = new Set(plans.filter(() => random() < DOUBTED_SHARE).map(({ name }) => name));
  const cancelAt = new Map(
    plans.filter(() => random() < CANCELLED_SHARE).map(({ name }) => [name, random() * FRAMES_PER_JOB]),
  );
  const submitting = submitAll(farm, plans);
  let submitted = false;
  void submitting.then(() => {
    submitted = true;
  });
  let jumps = 0;
  let before = '';
  for (;;) {
    const jobs = await farm.client.jobs(signal);
    if (submitted && jobs.every(({ escrow }) => escrow === 'closed')) break;
    for (const { id, name, escrow, tasks } of jobs) {
      if (escrow === 'closed') continue;
      if (tasks.delivered + tasks.verified >= (cancelAt.get(name) ?? Number.POSITIVE_INFINITY)) {
        if (await unlessAway(() => farm.client.cancel(id, signal))) cancelAt.delete(name);
      }
      if (!doubtful.has(name)) continue;
      for (const batch of await farm.client.batches(id, signal)) {
        if (doubted.has(batch.id) || batch.state === 'settled') continue;
        if (await unlessAway(() => farm.client.dispute(batch.id, { outcome: 'pass' }, signal)))
          doubted.add(batch.id);
      }
    }
    await storm.tick(jobs, edition.jobs);
    const now = JSON.stringify(jobs.map(({ state, escrow, tasks }) => [state, escrow, tasks]));
    // Looked at closely only where nothing moves: the farm has other things to do than to answer questions.
    if (submitted && now === before && (await isStuck(farm, jobs, absent, signal))) {
      await moveClock(chainUrl, EMBEDDED_TERMS.verdictWindowS + AFTER_WINDOW_S);
      jumps++;
    }
    before = now;
    await pause(LOOK_MS, signal);
  }
  await submitting;
  const jobs = await farm.client.jobs(signal);
  const batches = (await Promise.all(jobs.map(({ id }) => farm.client.batches(id, signal)))).flat();
  return { farm, jobs, batches, seed: String(seed), kills: storm.kills, jumps, doubted };
}

/** What happens to processes, and when: at points of the work, so that it goes on however slow the machine is. */
class StormClock {
  readonly #farm: TestFarm;
  /** Shares of all tasks that are checked and paid; the coordinator ends a moment after each. */
  readonly #killPoints: number[];
  readonly #moments: number[];
  readonly #goneAt: number;
  readonly #absentAt: number;
  readonly #stopped = new Set<string>();
  kills = 0;

  constructor(farm: TestFarm, { kills }: Edition, random: () => number) {
    this.#farm = farm;
    this.#killPoints = Array.from({ length: kills }, () => random() * 0.95).toSorted((a, b) => a - b);
    this.#moments = Array.from({ length: kills }, () => random() * KILL_WITHIN_MS);
    // Both early enough that there is something for them to miss.
    this.#goneAt = random() / 4;
    this.#absentAt = random() / 8;
  }

  /** `jobs`: of so many in all. */
  async tick(jobs: readonly JobView[], all: number): Promise<void> {
    const done = jobs.reduce((sum, { escrow, tasks }) => sum + shareOf(escrow, tasks), 0) / all;
    if (done >= this.#absentAt) await this.#stop(ABSENT);
    if (done >= this.#goneAt) await this.#stop(GONE);
    if (done < (this.#killPoints[this.kills] ?? Number.POSITIVE_INFINITY)) return;
    await pause(this.#moments[this.kills] ?? 0, signal);
    await kill(this.#farm, 'coordinator');
    this.kills++;
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

function shareOf(escrow: JobView['escrow'], { verified, total }: JobView['tasks']): number {
  return escrow === 'closed' ? 1 : verified / total;
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
async function submitAll(farm: TestFarm, plans: readonly JobRequest[]): Promise<void> {
  for (const plan of plans) {
    while (!(await unlessAway(() => farm.client.submitJob(plan, signal))))
      if ((await farm.client.jobs(signal)).some(({ name }) => name === plan.name)) break;
  }
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
