/**
 * Which processes a farm has started, on disk, so that the next start can end what a killed farm left behind.
 * A pid alone is not enough (the system gives it to somebody else later): the start time goes with it.
 */
import { readFile } from 'node:fs/promises';
import { z } from 'zod';
import { readTextIfThere, writeFileAtomic } from '../files.ts';
import { Mutex } from '../mutex.ts';
import { pause } from '../wait.ts';

const processSchema = z.strictObject({
  name: z.string(),
  pid: z.number().int().positive(),
  startedAt: z.string(),
});
export type RecordedProcess = z.infer<typeof processSchema>;
const recordSchema = z.array(processSchema);

/** Enough for the chain to save its state; what still lives then is ended hard. */
const TERM_TIMEOUT_MS = 8_000;
const POLL_MS = 50;

/** When a process was started, in the kernel's own ticks; null when there is no such process. */
export async function startedAt(pid: number): Promise<string | null> {
  try {
    const stat = await readFile(`/proc/${pid}/stat`, 'utf8');
    // The name in brackets may hold spaces; fields are counted from behind it. Start time is field 22, state field 3.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return fields[0] === 'Z' ? null : (fields[19] ?? null);
  } catch {
    if (process.platform === 'linux') return null;
    // No /proc: the pid alone has to do.
    return isAlive(pid) ? 'unknown' : null;
  }
}

/** Whether exactly this process still runs. */
export async function stillRuns(process: RecordedProcess): Promise<boolean> {
  return (await startedAt(process.pid)) === process.startedAt;
}

export class ProcessRecord {
  readonly #path: string;
  readonly #writing = new Mutex();
  #processes: RecordedProcess[] = [];

  constructor(path: string) {
    this.#path = path;
  }

  /** Ends what an earlier farm on this folder left running. Returns the names of what it ended. */
  async sweep(): Promise<string[]> {
    const text = await readTextIfThere(this.#path);
    const parsed = recordSchema.safeParse(text === null ? [] : safeJson(text));
    const left: RecordedProcess[] = [];
    for (const one of parsed.success ? parsed.data : []) if (await stillRuns(one)) left.push(one);
    for (const { pid } of left) signalProcess(pid, 'SIGTERM');
    const endMs = performance.now() + TERM_TIMEOUT_MS;
    const never = new AbortController().signal;
    for (const one of left) {
      while ((await stillRuns(one)) && performance.now() < endMs) await pause(POLL_MS, never);
      if (await stillRuns(one)) signalProcess(one.pid, 'SIGKILL');
    }
    await this.#save([]);
    return left.map((one) => one.name);
  }

  async add(name: string, pid: number): Promise<void> {
    const started = await startedAt(pid);
    if (started === null) return;
    const others = this.#processes.filter((one) => one.name !== name);
    await this.#save([...others, { name, pid, startedAt: started }]);
  }

  #save(processes: RecordedProcess[]): Promise<void> {
    this.#processes = processes;
    return this.#writing.run(() => writeFileAtomic(this.#path, JSON.stringify(this.#processes)));
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

function signalProcess(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch {
    // Gone meanwhile: that is what was wanted.
  }
}

function safeJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return [];
  }
}
