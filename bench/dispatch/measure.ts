/** One load on one farm: how many tasks go through, how long an idle node waits, and what that takes of the machine. */
import { pause } from '../../platform/wait.ts';
import type { Row } from '../lib/report.ts';
import type { Load } from './driver-messages.ts';
import type { Driver } from './drivers.ts';
import type { DispatchFarm } from './farm.ts';
import { cpuSeconds, memoryMb } from './processes.ts';

/**
 * Before it is measured every node has delivered so many tasks: a new one is given few at a time, and a farm that runs for days
 * has no new ones. A farm that is too slow for that is measured after a while all the same.
 */
const WARM_UP_TASKS_PER_NODE = 8;
const MAX_WARM_UP_MS = 60_000;
const LOOK_MS = 250;
/** A load that is less than all there can be has its own pace after this. */
const SETTLE_MS = 2_000;
const MEASURED_MS = 10_000;

export type Measured = {
  /** Tasks that were leased, delivered and taken, each once. */
  tasksPerSecond: number;
  waitP50Ms: number;
  waitP99Ms: number;
  coordinatorMb: number;
  errors: number;
  row: Row;
};

/** `database`: the server's process, where it is one of its own. */
export async function measure(
  name: string,
  {
    farm,
    driver,
    nodes,
    database,
  }: { farm: DispatchFarm; driver: Driver; nodes: number; database: number | undefined },
  load: Load,
  signal: AbortSignal,
): Promise<Measured> {
  const pids = { ...farm.processes, nodes: driver.pid, ...(database !== undefined && { database }) };
  const used = async (): Promise<Record<string, number>> => {
    const figures = Object.entries(pids).map(async ([part, pid]) => [part, await cpuSeconds(pid)] as const);
    return Object.fromEntries(await Promise.all(figures));
  };
  driver.load({ ...load, perSecond: null });
  await warmUp(driver, nodes, signal);
  if (load.perSecond !== null) {
    await driver.stop();
    driver.load(load);
    await pause(SETTLE_MS, signal);
  }
  const [before, cpuBefore] = [await driver.counts(), await used()];
  const startedMs = performance.now();
  await pause(MEASURED_MS, signal);
  const [after, cpuAfter] = [await driver.counts(), await used()];
  const seconds = (performance.now() - startedMs) / 1_000;
  const { most } = await memoryMb(farm.processes.coordinator);
  const done = after.completed - before.completed;
  const waits = after.waitsMs.sort((a, b) => a - b);
  const at = (share: number): number =>
    waits[Math.min(waits.length - 1, Math.floor(share * waits.length))] ?? 0;
  const cpu = Object.fromEntries(
    Object.keys(pids).map((part) => [
      `${part} ms/task`,
      ((cpuAfter[part] ?? 0) - (cpuBefore[part] ?? 0)) * (1_000 / Math.max(1, done)),
    ]),
  );
  await driver.stop();
  const errors = after.errors - before.errors;
  return {
    tasksPerSecond: done / seconds,
    waitP50Ms: at(0.5),
    waitP99Ms: at(0.99),
    coordinatorMb: most,
    errors,
    row: {
      load: name,
      'tasks/s': done / seconds,
      'wait p50 ms': at(0.5),
      'wait p99 ms': at(0.99),
      'tasks a run': (after.leased - before.leased) / Math.max(1, waits.length),
      ...cpu,
      'signed again': after.moved - before.moved,
      'no work': after.empty - before.empty,
      errors: errors === 0 ? '0' : `${errors}: ${after.lastError}`,
      'coordinator MB': most,
    },
  };
}

export async function warmUp(driver: Driver, nodes: number, signal: AbortSignal): Promise<void> {
  const untilMs = performance.now() + MAX_WARM_UP_MS;
  while (performance.now() < untilMs) {
    if ((await driver.counts()).completed >= WARM_UP_TASKS_PER_NODE * nodes) return;
    await pause(LOOK_MS, signal);
  }
}
