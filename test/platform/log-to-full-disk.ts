/**
 * Child of log.test.ts, its stdout a file on the tiny disk at argv[2]: logs on while that is full, then when it has room again,
 * fills it again, and ends by process.exit. The log is copied to argv[3] when the disk has room.
 */
import { copyFileSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createLog } from '../../platform/log.ts';

const [, , disk = '', copy = ''] = process.argv;
const filler = join(disk, 'filler');

function fill(): void {
  try {
    writeFileSync(filler, Buffer.alloc(1 << 20));
  } catch {
    // It has taken what there was.
  }
}

const log = createLog('tester');
log.info('there is room');
fill();
// The last block of the log has still room for some lines.
const { bsize } = statfsSync(disk);
for (let index = 0; index < 200; index++) log.info({ index, text: 'x'.repeat(bsize / 16) }, 'no room');
await new Promise((resolve) => setImmediate(resolve));

rmSync(filler);
log.info('room again');
log.info('and still');
copyFileSync(join(disk, 'log'), copy);

fill();
for (let index = 0; index < 200; index++) log.info({ text: 'x'.repeat(bsize / 16) }, 'no room again');
process.exit(7);
