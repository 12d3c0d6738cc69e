/** Kills a process of a farm and notes how long the farm took to go on. */
import { readdir, readFile } from 'node:fs/promises';
import type { LoggedEvent } from '../../protocol/events.ts';
import type { TestFarm } from '../support/farm.ts';

/** A stream of numbers from 0 to 1 that one seed always gives (mulberry32). */
export function randomFrom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** What shows that the farm goes on without the process, or that the process is back. */
const SIGN_OF_LIFE: Record<string, LoggedEvent['event']['type']> = {
  'nats-server': 'task.delivered',
  coordinator: 'task.delivered',
  chain: 'batch.settled',
  verifier: 'batch.settled',
};

export type Kill = { name: string; atMs: number };

/** Sends SIGKILL to the process that has this name now; one that is just being started again is waited for. */
export async function kill(farm: TestFarm, name: string, killed: Set<number>): Promise<Kill> {
  for (;;) {
    const pid = farm.processes.get(name)?.pid;
    if (pid === undefined) throw new Error(`no process ${name}`);
    if (!killed.has(pid)) {
      try {
        process.kill(pid, 'SIGKILL');
        killed.add(pid);
        return { name, atMs: Date.now() };
      } catch {
        // It died by itself, which it does when its parent or its server is gone; the next one is on its way.
      }
    }
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** From each kill to the first event after it that shows life; null where the job ended without one. */
export function resumed(kills: readonly Kill[], events: readonly LoggedEvent[]): (number | null)[] {
  return kills.map(({ name, atMs }) => {
    const fits = ({ event }: LoggedEvent): boolean =>
      SIGN_OF_LIFE[name] === undefined
        ? event.type === 'task.leased' && event.nodeId === name
        : event.type === SIGN_OF_LIFE[name];
    const next = events.find((logged) => logged.atMs > atMs && fits(logged));
    return next === undefined ? null : next.atMs - atMs;
  });
}

/** Processes whose command line names this folder: what a farm has started, whoever its parent is now. */
export async function processesOn(folder: string): Promise<string[]> {
  const found: string[] = [];
  for (const pid of (await readdir('/proc')).filter((name) => /^\d+$/.test(name))) {
    const command = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '');
    if (command.includes(folder)) found.push(`${pid} ${command.replaceAll('\0', ' ').trim()}`);
  }
  return found;
}
