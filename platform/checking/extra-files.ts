/**
 * Files of File Output nodes: a finished frame comes with exactly those that finishing it here gives. Equal bytes end
 * the matter without fetching anything; else pixels are compared as of the frame's own picture.
 */
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { PICTURE_THRESHOLDS } from '../../proof/thresholds.ts';
import { isFarmError } from '../../protocol/errors.ts';
import { type ExtraFile, extraFileListSchema, MAX_EXTRA_LIST_BYTES } from '../../protocol/extra-files.ts';
import type { PictureFormat } from '../../protocol/output.ts';
import type { Receipt } from '../../protocol/receipt.ts';
import type { Size } from '../../protocol/rect.ts';
import type { Outcome } from '../../protocol/verdict.ts';
import { digestFile } from '../blobs/digest-file.ts';
import type { ExtraFile as OwnFile } from '../render/runtime.ts';
import {
  comparePictureOf,
  decodePicture,
  formatOf,
  NotThePicture,
  type Picture,
  sizeOf,
} from './pictures.ts';
import { BrokenClaim, itsOwnFault } from './read-claim.ts';
import type { VerifyTools } from './tools.ts';

/** Nearly the same pixels take nearly the same bytes; this much more is no such file, whatever the format. */
const MOST_TIMES_LARGER = 4;
/** What a header may have beside them. */
const HEADER_BYTES = 1024 * 1024;

type Finding = { outcome: Outcome; detail: string };
const PASS: Finding = { outcome: 'pass', detail: 'every extra file is as it should be' };

/** Compares what the receipt lists with the verifier's own. Throws BrokenClaim for a list or file that is none. */
export async function compareExtraFiles(
  receipt: Receipt,
  own: readonly OwnFile[],
  name: string,
  tools: VerifyTools,
): Promise<Finding> {
  const listed = new Map((await readList(receipt, name, tools)).map((file) => [file.name, file]));
  const missing = own.find((file) => !listed.has(file.name));
  if (missing !== undefined)
    return { outcome: 'fail', detail: `the file ${missing.name} of a File Output node was not delivered` };
  if (listed.size > own.length) return { outcome: 'fail', detail: 'files that the scene does not write' };
  let worst = PASS;
  for (const [index, file] of own.entries()) {
    const claimed = listed.get(file.name) as ExtraFile;
    const found = await compareOne(claimed, file, join(tools.folder, `${name}.extra-${index}`), tools);
    if (found.outcome === 'fail') return found;
    if (found.outcome !== 'pass') worst = found;
  }
  return worst;
}

async function readList(receipt: Receipt, name: string, tools: VerifyTools): Promise<ExtraFile[]> {
  const { extraFilesDigest } = receipt;
  if (extraFilesDigest === undefined) return [];
  const path = join(tools.folder, `${name}.extra-list`);
  const text = await fetching('the list of extra files', async () => {
    await tools.blobs.fetchTo(extraFilesDigest, path, tools.signal, MAX_EXTRA_LIST_BYTES);
    return await readFile(path, 'utf8');
  });
  try {
    return extraFileListSchema.parse(JSON.parse(text)).files;
  } catch {
    throw new BrokenClaim('the list of extra files is none');
  }
}

async function compareOne(
  claimed: ExtraFile,
  own: OwnFile,
  path: string,
  tools: VerifyTools,
): Promise<Finding> {
  if ((await digestFile(own.path)).digest === claimed.digest) return PASS;
  const reference = await decodeOwn(own.path, tools);
  const maxBytes = (await stat(own.path)).size * MOST_TIMES_LARGER + HEADER_BYTES;
  const found = await fetching(claimed.name, async () => {
    await tools.blobs.fetchTo(claimed.digest, path, tools.signal, maxBytes);
    if (reference === null) return compareBytes(await readFile(own.path), await readFile(path));
    const { format, size, picture } = reference;
    return comparePictureOf(picture, await decodePicture(path, format, size, tools));
  });
  return { ...found, detail: `${claimed.name}: ${found.detail}` };
}

/** Null where nothing here decodes it: that is not the node's fault. */
async function decodeOwn(
  path: string,
  tools: VerifyTools,
): Promise<{ format: PictureFormat; size: Size; picture: Picture } | null> {
  const format = await formatOf(path);
  if (format === null) return null;
  try {
    const size = await sizeOf(path, format, tools);
    return { format, size, picture: await decodePicture(path, format, size, tools) };
  } catch (error) {
    if (error instanceof NotThePicture) return null;
    throw error;
  }
}

/**
 * Formats that nothing here decodes (BMP, DPX, Cineon, Targa: as good as uncompressed). A header may say when it was
 * written, so a few bytes may differ; what differs more may still be right, and is never paid unseen.
 */
function compareBytes(own: Uint8Array, claimed: Uint8Array): Finding {
  let differing = Math.abs(own.length - claimed.length);
  for (let index = 0; index < Math.min(own.length, claimed.length); index++)
    if (own[index] !== claimed[index]) differing++;
  const detail = `${differing} of ${own.length} bytes differ, in a format that is not decoded here`;
  const passes =
    own.length === claimed.length && differing <= (1 - PICTURE_THRESHOLDS.passWithinOne) * own.length;
  return { outcome: passes ? 'pass' : 'inconclusive', detail };
}

/** The node committed to these bytes: that they are not what they should be is its fault, a network is not. */
async function fetching<T>(what: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (isFarmError(error, 'NOT_FOUND')) throw new BrokenClaim(`${what} was not delivered`);
    if (error instanceof NotThePicture || itsOwnFault(error))
      throw new BrokenClaim(`${what}: ${error.message}`);
    throw error;
  }
}
