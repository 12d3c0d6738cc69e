/**
 * What a process and everything below it hold, from /proc. Read synchronously: the files are made up by the kernel
 * while they are read, so there is no disk to wait for, and a tree that forks meanwhile is not given time to hide.
 */
import { readdirSync, readFileSync, statfsSync, statSync, writeFileSync } from 'node:fs';
import { lowerSession } from '../../process/priority.ts';
import type { Usage } from '../session/launcher.ts';

/** Where nobody asks for fewer: a fork bomb must not keep the host busy with counting. */
const MAX_PROCESSES = 4_096;
/** Unit of st_blocks. */
const BLOCK_BYTES = 512;
/** See proc(5), clear_refs: 5 sets the peak back to the present size. */
const RESET_PEAK = '5';
/** See proc(5), oom_score_adj: the largest value. */
const FIRST_VICTIM = '1000';
/** The sandbox's own file systems in memory (sandbox.ts). */
const SCRATCH = ['tmp', 'dev/shm'];

function read(path: string): string {
  try {
    return readFileSync(path, 'latin1');
  } catch {
    // It ended meanwhile.
    return '';
  }
}

function write(path: string, text: string): void {
  try {
    writeFileSync(path, text);
  } catch {
    // It ended meanwhile, or the kernel does not allow it: then the wish stays one.
  }
}

function entries(path: string): string[] {
  try {
    return readdirSync(path);
  } catch {
    return [];
  }
}

function field(status: string, name: string): number {
  return Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(status)?.[1] ?? 0);
}

function childrenOf(pid: string): string[] {
  return entries(`/proc/${pid}/task`).flatMap((task) =>
    read(`/proc/${pid}/task/${task}/children`).split(' ').filter(Boolean),
  );
}

/** Files that have no name any more: on a disk, or in memory (memfd). */
function unnamedFiles(pid: string, outputDevice: number | undefined): { disk: number; memory: number } {
  const found = { disk: 0, memory: 0 };
  for (const number of entries(`/proc/${pid}/fd`)) {
    try {
      const status = statSync(`/proc/${pid}/fd/${number}`);
      if (!status.isFile() || status.nlink > 0) continue;
      const bytes = status.blocks * BLOCK_BYTES;
      if (status.dev === outputDevice) found.disk += bytes;
      else found.memory += bytes;
    } catch {
      // Closed meanwhile.
    }
  }
  return found;
}

function scratchBytes(pid: string): number {
  let used = 0;
  for (const folder of SCRATCH) {
    try {
      const { blocks, bfree, bsize } = statfsSync(`/proc/${pid}/root/${folder}`);
      used += (blocks - bfree) * bsize;
    } catch {
      // The sandbox is not there yet, or not any more.
    }
  }
  return used;
}

function deviceOf(path: string): number | undefined {
  try {
    return statSync(path).dev;
  } catch {
    return undefined;
  }
}

/**
 * Where memory runs out all the same, the kernel ends this tree and not the farm's programs. To be called at once
 * after the start: children inherit it.
 */
export function preferAsVictim(rootPid: number): void {
  write(`/proc/${rootPid}/oom_score_adj`, FIRST_VICTIM);
}

/** All below a process, itself left out; no more than the farm would ever count. */
function* below(rootPid: number): Generator<string> {
  const waiting = childrenOf(String(rootPid));
  for (
    let pid = waiting.pop(), seen = 0;
    pid !== undefined && seen < MAX_PROCESSES;
    pid = waiting.pop(), seen++
  ) {
    yield pid;
    waiting.push(...childrenOf(pid));
  }
}

/** Starts a new measurement of the largest resident size: inside, /proc is read-only. */
export function resetPeaks(rootPid: number): void {
  for (const pid of below(rootPid)) write(`/proc/${pid}/clear_refs`, RESET_PEAK);
}

/**
 * Lets a tree give way to the rest of the machine: the sandbox runs in a session of its own, which does not inherit
 * that (process/priority.ts). `done` remembers for which processes it is.
 */
export function lowerTree(rootPid: number, niceness: number, done: Set<string>): void {
  for (const pid of [String(rootPid), ...below(rootPid)]) {
    if (!done.has(pid) && lowerSession(pid, niceness)) done.add(pid);
  }
}

/**
 * Usage of the tree below `rootPid`, which is the sandbox program itself. Anonymous and shared memory counts; mapped
 * files do not, since the kernel can drop them. What forked processes share counts once for each: Blender never forks.
 * Stops counting at more than `maxProcesses`, since whatever is counted longer than that multiplies meanwhile.
 */
export function treeUsage(
  rootPid: number,
  outputFolder: string,
  maxProcesses: number = MAX_PROCESSES,
): Usage {
  const usage: Usage = { memoryBytes: 0, processes: 0, deletedBytes: 0 };
  const outputDevice = deviceOf(outputFolder);
  const waiting = childrenOf(String(rootPid));
  let innermost: string | undefined;
  for (let pid = waiting.pop(); pid !== undefined && usage.processes <= maxProcesses; pid = waiting.pop()) {
    const status = read(`/proc/${pid}/status`);
    if (status === '') continue;
    const kib = field(status, 'RssAnon') + field(status, 'RssShmem');
    const unnamed = unnamedFiles(pid, outputDevice);
    usage.memoryBytes += kib * 1024 + unnamed.memory;
    usage.deletedBytes += unnamed.disk;
    usage.processes += field(status, 'Threads');
    innermost = pid;
    waiting.push(...childrenOf(pid));
  }
  if (innermost !== undefined) usage.memoryBytes += scratchBytes(innermost);
  return usage;
}
