/** Processes of a farm: found, killed, and waited for. */
import { readdir, readFile } from 'node:fs/promises';
import { pause } from '../../platform/wait.ts';
import type { TestFarm } from '../support/farm.ts';

const { signal: never } = new AbortController();

/** Sends SIGKILL to the process that has this name now; one that is just being started again is waited for. */
export async function kill(farm: TestFarm, name: string): Promise<number> {
  for (;;) {
    const pid = farm.processes.get(name)?.pid;
    if (pid === undefined) throw new Error(`no process ${name}`);
    try {
      process.kill(pid, 'SIGKILL');
      return Date.now();
    } catch {
      // It died by itself, which it does when its parent or its server is gone; the next one is on its way.
    }
    await pause(20, never);
  }
}

/** Waits until the coordinator says that all it needs is there. The time limit is that of the test. */
export async function untilReady(farm: TestFarm): Promise<void> {
  for (;;) {
    const response = await fetch(`${farm.apiUrl}/readyz`).catch(() => null);
    await response?.body?.cancel();
    if (response?.status === 200) return;
    await pause(50, never);
  }
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
