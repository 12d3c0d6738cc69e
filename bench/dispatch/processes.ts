/** What a process has used so far, from Linux' /proc. */
import { readdir, readFile } from 'node:fs/promises';

/** Linux counts a process's time in these (sysconf(_SC_CLK_TCK), 100 on every system that Node.js runs on). */
const TICKS_PER_SECOND = 100;
const KIB_PER_MB = 1_024;

/** Processor seconds of a process, and of children of it that are there or were. */
export async function cpuSeconds(pid: number): Promise<number> {
  let ticks = 0;
  for (const one of [pid, ...(await childrenOf(pid))]) {
    const fields = await statOf(one);
    if (fields === null) continue;
    const [own = 0, system = 0, childOwn = 0, childSystem = 0] = fields.slice(11, 15).map(Number);
    ticks += own + system + (one === pid ? childOwn + childSystem : 0);
  }
  return ticks / TICKS_PER_SECOND;
}

/** Memory in use, and the most there ever was. */
export async function memoryMb(pid: number): Promise<{ now: number; most: number }> {
  const text = await readFile(`/proc/${pid}/status`, 'utf8');
  const field = (name: string): number => Number(new RegExp(`${name}:\\s+(\\d+)`).exec(text)?.[1] ?? 0);
  return { now: field('VmRSS') / KIB_PER_MB, most: field('VmHWM') / KIB_PER_MB };
}

async function childrenOf(pid: number): Promise<number[]> {
  const children: number[] = [];
  for (const name of await readdir('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    const fields = await statOf(Number(name));
    if (fields !== null && Number(fields[1]) === pid) children.push(Number(name));
  }
  return children;
}

/** The fields after the name, which may hold blanks; the first is the state, the second the parent. */
async function statOf(pid: number): Promise<string[] | null> {
  const text = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => null);
  return text === null ? null : text.slice(text.lastIndexOf(')') + 2).split(' ');
}
