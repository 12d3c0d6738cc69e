/** Looks, several times a second, at what a renderer takes, and says so once when it is too much. */
import { lstat, opendir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Launched } from './launcher.ts';
import { type Breach, breachOf, type OutputSize, type SessionLimits } from './limits.ts';

/**
 * A core fills memory at 1 to 3 GB a second, so this much is taken beyond the limit before it is noticed: the default
 * limit leaves a quarter of the machine for that. One look at a quiet session costs half a millisecond.
 */
const INTERVAL_MS = 200;
/** Unit of st_blocks, whatever the disk's own. */
const BLOCK_BYTES = 512;

/** Adds up a folder; stops once it has more than `limits` allow, so that a million files cost no more than a few. */
export async function outputSize(folder: string, limits: SessionLimits): Promise<OutputSize> {
  const size: OutputSize = { bytes: 0, files: 0 };
  const folders = [folder];
  for (let next = folders.pop(); next !== undefined; next = folders.pop()) {
    // What is being removed or was made unreadable cannot be counted; the disk's own limit remains.
    const entries = await opendir(next).catch(() => undefined);
    if (entries === undefined) continue;
    for await (const entry of entries) {
      const path = join(next, entry.name);
      size.files += 1;
      if (entry.isDirectory()) folders.push(path);
      // Blocks, not length: a file with a hole in it takes what it takes.
      else size.bytes += BLOCK_BYTES * ((await lstat(path).catch(() => undefined))?.blocks ?? 0);
      if (size.files > limits.outputFiles || size.bytes > limits.outputBytes) return size;
    }
  }
  return size;
}

export type Watch = {
  /** Resident memory at the last look; undefined where the launcher cannot say. */
  readonly memoryBytes: number | undefined;
  stop(): void;
};

/** Watches until stopped or until the first breach. */
export function watch(
  launched: Launched,
  outputFolder: string,
  limits: SessionLimits,
  onBreach: (breach: Breach) => void,
): Watch {
  let stopped = false;
  let memoryBytes: number | undefined;
  let timer: NodeJS.Timeout | undefined;
  const look = async (): Promise<void> => {
    const usage = launched.usage?.();
    memoryBytes = usage?.memoryBytes;
    const output = await outputSize(outputFolder, limits);
    if (stopped) return;
    const breach = breachOf(usage, output, limits);
    if (breach !== undefined) onBreach(breach);
    else schedule();
  };
  const schedule = (): void => {
    timer = setTimeout(
      () =>
        void look().catch(() => {
          if (!stopped) schedule();
        }),
      INTERVAL_MS,
    );
    timer.unref();
  };
  schedule();
  return {
    get memoryBytes() {
      return memoryBytes;
    },
    stop() {
      stopped = true;
      clearTimeout(timer);
    },
  };
}
