/** What a container holds at this moment, seen from the host as any other tree of processes. */
import { readFileSync } from 'node:fs';
import { treeUsage } from '../process/process-tree.ts';
import type { Usage } from '../session/launcher.ts';

export type Watched = {
  /** The host's folder that the container writes to. */
  outputFolder: string;
  /** Counting goes no further. */
  maxProcesses: number;
};

/**
 * Usage of the container whose first process has this number for the engine. Undefined where the number means nothing
 * here: the container has ended, or this program lives in a pid namespace of its own.
 */
export function containerUsage(containerId: string, pid: number, watched: Watched): Usage | undefined {
  try {
    // Every engine names the control group after the container; the number alone may be a stranger's by now.
    if (!readFileSync(`/proc/${pid}/cgroup`, 'latin1').includes(containerId)) return undefined;
  } catch {
    return undefined;
  }
  return treeUsage(pid, watched.outputFolder, watched.maxProcesses);
}
