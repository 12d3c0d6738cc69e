/** Files of File Output nodes on their way to the artist: measured, sent, and listed in a blob of their own. */
import { stat } from 'node:fs/promises';
import { toJson } from '../platform/json.ts';
import type { ExtraFile as WrittenFile } from '../platform/render/runtime.ts';
import { sizeText } from '../platform/render/session/limits.ts';
import { FarmError } from '../protocol/errors.ts';
import {
  type ExtraFile,
  type ExtraFileList,
  extraFileListSchema,
  MAX_EXTRA_BYTES,
} from '../protocol/extra-files.ts';
import type { Digest } from '../protocol/ids.ts';

type Store = {
  putFile(path: string): Promise<{ digest: Digest; sizeBytes: number }>;
  putBytes(bytes: Uint8Array<ArrayBuffer>): Promise<Digest>;
};

/**
 * Sends the files and their list; gives the list's digest, or undefined where there is nothing. Throws OUTPUT_LIMIT,
 * before anything is sent, when they are too large together.
 */
export async function deliverExtraFiles(
  written: readonly WrittenFile[],
  store: Store,
): Promise<Digest | undefined> {
  if (written.length === 0) return undefined;
  const sizes = await Promise.all(written.map(async ({ path }) => (await stat(path)).size));
  const total = sizes.reduce((sum, size) => sum + size, 0);
  if (total > MAX_EXTRA_BYTES) {
    const limit = sizeText(MAX_EXTRA_BYTES);
    throw new FarmError(
      'OUTPUT_LIMIT',
      `the scene's File Output nodes write ${sizeText(total)} for one frame; ${limit} are allowed`,
    );
  }
  const files: ExtraFile[] = [];
  for (const { name, path } of written) {
    const { digest, sizeBytes } = await store.putFile(path);
    files.push({ name, digest, sizeBytes });
  }
  // In one order, so that the same files give the same list whatever the order of the nodes in the scene.
  files.sort((a, b) => (a.name < b.name ? -1 : 1));
  const list: ExtraFileList = extraFileListSchema.parse({ version: 1, files });
  return await store.putBytes(new TextEncoder().encode(toJson(list)));
}
