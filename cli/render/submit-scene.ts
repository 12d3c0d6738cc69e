/**
 * Brings a scene to a farm: the .blend, then whatever inspection says it refers to, until nothing is missing. Only
 * bytes that the farm does not have travel.
 */
import { realpath } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { HttpBlobs } from '../../platform/blobs/http-blobs.ts';
import { FarmError } from '../../protocol/errors.ts';
import type { MissingFile, SceneReply } from '../../protocol/http.ts';
import type { SceneFile } from '../../protocol/job.ts';
import type { FarmClient } from '../farm-client.ts';
import { inside, ownFiles } from './own-files.ts';

export type SubmittedScene = SceneReply & { files: SceneFile[]; sentBytes: number };

/** A library may refer to another one, which is only known once it is there; deeper chains than this are a mistake. */
const MAX_ROUNDS = 32;

/**
 * `root` is the folder whose files may be sent; the scene's own when left out. A .blend that comes from somebody else
 * may name any file of this machine as a texture, so nothing outside the root ever leaves it.
 */
export async function submitScene(
  client: FarmClient,
  blendPath: string,
  rootOption: string | undefined,
  signal: AbortSignal,
): Promise<SubmittedScene> {
  const blend = await realpath(blendPath);
  const root = rootOption === undefined ? dirname(blend) : await realpath(resolve(rootOption));
  const main = inside(root, blend);
  if (main === null) {
    throw new FarmError('USAGE', `--root ${root} does not contain the scene ${blend}`, {
      kept: 'nothing was submitted',
    });
  }
  const blobs = new HttpBlobs(client.address);
  const files = new Map<string, SceneFile>();
  let sentBytes = 0;
  const send = async (path: string): Promise<void> => {
    const { digest, sizeBytes, sent } = await blobs.putFile(join(root, path), signal);
    files.set(path, { path, digest, sizeBytes });
    if (sent) sentBytes += sizeBytes;
  };
  await send(main);
  for (let round = 0; round < MAX_ROUNDS; round++) {
    const listed = [...files.values()];
    const reply = await client.submitScene({ main, files: listed }, signal);
    if (reply.missing.length === 0) return { ...reply, files: listed, sentBytes };
    const found = await findAll(root, reply.missing, files);
    for (const path of found) await send(path);
  }
  throw new FarmError('SCENE_FILES_MISSING', 'the scene refers to ever more files', {
    kept: 'nothing was submitted',
  });
}

/** Paths (relative to the root) of all missing files, or an error that names each that cannot be had. */
async function findAll(
  root: string,
  missing: MissingFile[],
  known: ReadonlyMap<string, SceneFile>,
): Promise<string[]> {
  const lost: string[] = [];
  const found: string[] = [];
  for (const { path, stored } of missing) {
    if (path === null) lost.push(`${stored} (outside ${root})`);
    else {
      const files = known.has(path) ? [] : await ownFiles(root, path);
      const fresh = files.filter((file) => !known.has(file));
      if (fresh.length === 0) lost.push(stored);
      found.push(...fresh);
    }
  }
  // A folder and a file in it may both be missing.
  if (lost.length === 0) return [...new Set(found)];
  throw new FarmError(
    'SCENE_FILES_MISSING',
    `the scene needs ${lost.length} file(s) that cannot be sent: ${lost.join(', ')}`,
    {
      kept: 'nothing was submitted',
      details: { missing: lost },
    },
  );
}
