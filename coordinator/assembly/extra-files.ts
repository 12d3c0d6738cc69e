/** Lists of extra files, which nodes wrote: read with a limit, believed only as far as the files are here. */
import type { BlobStore } from '../../platform/blobs/blob-store.ts';
import { FarmError } from '../../protocol/errors.ts';
import { type ExtraFile, extraFileListSchema, MAX_EXTRA_LIST_BYTES } from '../../protocol/extra-files.ts';
import type { Digest } from '../../protocol/ids.ts';
import { readJsonBlob } from '../read-json-blob.ts';

export async function readExtraFiles(blobs: BlobStore, list: Digest): Promise<ExtraFile[]> {
  const limits = { schema: extraFileListSchema, maxBytes: MAX_EXTRA_LIST_BYTES };
  const { files } = await readJsonBlob(blobs, list, 'the list of extra files', limits);
  return files;
}

/** Throws MESSAGE_INVALID unless the list is one and every file on it was delivered. */
export async function requireExtraFiles(blobs: BlobStore, list: Digest): Promise<void> {
  for (const { name, digest, sizeBytes } of await readExtraFiles(blobs, list)) {
    if ((await blobs.size(digest)) !== sizeBytes) {
      throw new FarmError('MESSAGE_INVALID', `the extra file ${name} (${digest}) was not delivered`);
    }
  }
}
