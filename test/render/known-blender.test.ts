/** A farm asks its Blender once who it is, and its programs believe it as long as it is the same file. */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { findKnownBlender, knowBlender } from '../../platform/render/process/known-blender.ts';
import { temporaryFolder } from './support.ts';

const { signal } = new AbortController();

it('a Blender that is known is not asked again, another file at its place is', async () => {
  await using folder = await temporaryFolder();
  const [path, asked] = [join(folder.path, 'blender'), join(folder.path, 'asked')];
  const install = (version: string): Promise<void> =>
    writeFile(path, `#!/bin/sh\necho asked >> ${asked}\necho "Blender ${version}"\n`, { mode: 0o755 });
  const timesAsked = async (): Promise<number> => (await readFile(asked, 'utf8')).trim().split('\n').length;

  await install('9.9.9');
  const known = await knowBlender(path, signal);
  expect(known).toMatchObject({ path, version: '9.9.9' });
  const find = () => findKnownBlender(path, undefined, signal, known);
  expect(await find()).toEqual({ path, version: '9.9.9' });
  expect(await timesAsked()).toBe(1);

  await install('9.9.10');
  expect(await find()).toEqual({ path, version: '9.9.10' });
  expect(await timesAsked()).toBe(2);
});

it('where there is none, nobody knows any and the search says so', async () => {
  const nowhere = '/nonexistent/blender';
  expect(await knowBlender(nowhere, signal)).toBeUndefined();
  await expect(findKnownBlender(nowhere, undefined, signal, undefined)).rejects.toMatchObject({
    code: 'BLENDER_NOT_FOUND',
  });
});
