/**
 * Clocks jump by an hour, ahead and back, while programs run. libfaketime tells a program another time of day; it takes the
 * jump within a second. Time that is measured (timers) goes on as it would on a machine whose clock is set. What it does not
 * reach keeps the right time: nats-server, which asks the kernel itself, and anvil, which is not started through it.
 */
import { existsSync, readdirSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { FarmOptions } from '../../cli/farm/start-farm.ts';
import { testFault } from './repeat.ts';

const WHOSE: [string, (program: string) => boolean][] = [
  ['the coordinator', (program) => program === 'coordinator'],
  ['a node', (program) => program === 'node-1'],
  ['all programs', () => true],
];

for (const [whose, concerns] of WHOSE) {
  testFault(`clock jumps of an hour of ${whose}`, async (folder) => {
    const file = join(folder, 'clock');
    await writeFile(file, '+0');
    const fake = ['env', `LD_PRELOAD=${library()}`, `FAKETIME_TIMESTAMP_FILE=${file}`];
    const rules = ['FAKETIME_CACHE_DURATION=1', 'FAKETIME_DONT_FAKE_MONOTONIC=1', 'NO_FAKE_STAT=1'];
    const through: FarmOptions['through'] = (program) => (concerns(program) ? [...fake, ...rules] : []);
    let hours = 0;
    return {
      options: { through },
      fault: {
        wrongClock: true,
        signOfLife: (event) => event.type === 'task.delivered' || event.type === 'batch.settled',
        async strike(_farm, random) {
          // By one hour: from the middle either way, else back to it.
          hours = hours === 0 ? (random() < 0.5 ? -1 : 1) : 0;
          await writeFile(file, `${hours < 0 ? '-' : '+'}${Math.abs(hours) * 3_600}`);
          return Date.now();
        },
      },
      [Symbol.asyncDispose]: async () => undefined,
    };
  });
}

/** Debian keeps it below a folder that is named after the machine's kind. */
function library(): string {
  for (const name of readdirSync('/usr/lib')) {
    const path = join('/usr/lib', name, 'faketime', 'libfaketimeMT.so.1');
    if (existsSync(path)) return path;
  }
  throw new Error('libfaketime is not installed (Debian: apt-get install libfaketime)');
}
