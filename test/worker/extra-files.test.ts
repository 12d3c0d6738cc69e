import { truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { digestBytes, digestFile } from '../../platform/blobs/digest-file.ts';
import { extraFileListSchema, MAX_EXTRA_BYTES } from '../../protocol/extra-files.ts';
import { classifyFailure } from '../../worker/classify-failure.ts';
import { deliverExtraFiles } from '../../worker/extra-files.ts';
import { tempFolder } from '../platform/temp-folder.ts';

function fakeStore() {
  const sent: string[] = [];
  const lists: unknown[] = [];
  return {
    sent,
    lists,
    putFile: async (path: string) => {
      sent.push(path);
      return await digestFile(path);
    },
    putBytes: async (bytes: Uint8Array<ArrayBuffer>) => {
      lists.push(JSON.parse(new TextDecoder().decode(bytes)));
      return digestBytes(bytes);
    },
  };
}

test('extra files are sent with their list, which is the same in whatever order they come', async () => {
  await using folder = await tempFolder();
  const files = [];
  for (const name of ['b/two0001.png', 'a0001.exr']) {
    const path = join(folder.path, String(files.length));
    await writeFile(path, name);
    files.push({ name, path });
  }
  const store = fakeStore();
  const digest = await deliverExtraFiles(files, store);
  expect(store.sent).toHaveLength(2);
  expect(extraFileListSchema.parse(store.lists[0]).files).toEqual([
    { name: 'a0001.exr', sizeBytes: 9, digest: digestBytes(Buffer.from('a0001.exr')) },
    { name: 'b/two0001.png', sizeBytes: 13, digest: digestBytes(Buffer.from('b/two0001.png')) },
  ]);
  expect(await deliverExtraFiles(files.toReversed(), fakeStore())).toBe(digest);
  expect(await deliverExtraFiles([], store)).toBeUndefined();
  expect(store.lists).toHaveLength(1);
});

test('extra files that are too large together are the scene’s fault, and nothing is sent', async () => {
  await using folder = await tempFolder();
  const path = join(folder.path, 'large');
  await writeFile(path, '');
  // A hole: it takes no space.
  await truncate(path, MAX_EXTRA_BYTES + 1);
  const store = fakeStore();
  const failure = await deliverExtraFiles([{ name: 'a0001.exr', path }], store).catch(
    (error: unknown) => error,
  );
  expect(failure).toMatchObject({ code: 'OUTPUT_LIMIT', message: expect.stringContaining('4.0 GiB') });
  expect(classifyFailure(failure as Parameters<typeof classifyFailure>[0])).toBe('task');
  expect(store.sent).toEqual([]);
});
