/** The disk of the farm's folder is full for a while: database, message server, chain, blobs and logs are all on it. */
import { execFile } from 'node:child_process';
import { mkdir, open, rm, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { pause } from '../../platform/wait.ts';
import { testFault } from './repeat.ts';

const { signal: never } = new AbortController();
const run = promisify(execFile);

/** A farm asks for 256 MB at start; an empty one takes 60. In memory, so that no other disk is touched. */
const SIZE = '480m';
const FULL_MS = { least: 500, most: 8_000 };
/** What is written while the disk is full, again and again: programs free a little now and then. */
const FILL_EVERY_MS = 100;

testFault('a full disk', async (folder) => {
  const data = join(folder, 'data');
  await mkdir(data);
  await run('mount', ['-t', 'tmpfs', '-o', `size=${SIZE}`, 'tmpfs', data]);
  const filler = join(data, 'filler');
  return {
    fault: {
      signOfLife: (event) => event.type === 'task.delivered' || event.type === 'batch.settled',
      async strike(_farm, random) {
        const untilMs = performance.now() + FULL_MS.least + random() * (FULL_MS.most - FULL_MS.least);
        while (performance.now() < untilMs) {
          await fill(filler, data);
          await pause(FILL_EVERY_MS, never);
        }
        await rm(filler, { force: true });
        return Date.now();
      },
    },
    [Symbol.asyncDispose]: async () => {
      await run('umount', [data]);
    },
  };
});

/** Takes what is free. */
async function fill(path: string, disk: string): Promise<void> {
  await using file = await open(path, 'a');
  const zeros = Buffer.alloc(1 << 20);
  for (;;) {
    const { bavail, bsize } = await statfs(disk);
    const left = Math.min(zeros.length, bavail * bsize);
    if (left === 0) return;
    try {
      await file.write(zeros, 0, left);
    } catch {
      // Somebody else was faster with the last of it.
      return;
    }
  }
}
