/** Child of disk-full.test.ts: stores more than the disk at argv[2] holds and says what came of it. */
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { digestBytes } from '../../platform/blobs/digest-file.ts';
import { FolderBlobStore } from '../../platform/blobs/folder-blob-store.ts';
import { writeFileAtomic } from '../../platform/files.ts';
import { isFarmError } from '../../protocol/errors.ts';

const disk = process.argv[2] ?? '';
const store = await FolderBlobStore.open(join(disk, 'blobs'));
const kept = await store.putBytes(Buffer.from('small enough'));
await writeFileAtomic(join(disk, 'state.json'), 'old state');

const large = Buffer.alloc(4 << 20, 1);
const codeOf = (work: Promise<unknown>): Promise<string> =>
  work.then(
    () => 'stored',
    (error: unknown) => (isFarmError(error) ? error.code : String(error)),
  );
const put = await codeOf(store.put(digestBytes(large), Readable.from([large]), large.length));
const write = await codeOf(writeFileAtomic(join(disk, 'state.json'), large));

const report = {
  put,
  write,
  stored: await store.has(digestBytes(large)),
  keptStored: await store.has(kept),
  incoming: await readdir(join(disk, 'blobs', 'incoming')),
  files: (await readdir(disk)).sort(),
};
process.stdout.write(JSON.stringify(report));
