/** Files of File Output nodes onto this disk: below the folder of the frames and nowhere else. */
import { lstat, mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { HttpBlobs } from '../../platform/blobs/http-blobs.ts';
import { diskError, errorCode } from '../../platform/files.ts';
import { FarmError } from '../../protocol/errors.ts';
import type { ExtraFile } from '../../protocol/extra-files.ts';
import type { ExtraPlaces } from './extra-places.ts';

/** `name`: as the scene has it. `path`: where it is; elsewhere in the folder when another file has that place. */
export type FetchedExtra = { name: string; path: string };

export type FetchOptions = { blobs: HttpBlobs; outFolder: string; places: ExtraPlaces; signal: AbortSignal };

/** Fetches the files of one frame, none of which are here. Leaves none of them behind when that fails. */
export async function fetchExtraFiles(
  frame: number,
  files: readonly ExtraFile[],
  { blobs, outFolder, places, signal }: FetchOptions,
): Promise<FetchedExtra[]> {
  const fetched: FetchedExtra[] = [];
  try {
    for (const { name, digest, sizeBytes } of files) {
      const place = places.place(frame, name);
      const path = join(outFolder, place);
      await makeRoom(outFolder, place);
      await blobs.fetchTo(digest, path, signal, sizeBytes);
      fetched.push({ name, path });
    }
  } catch (error) {
    await removeExtraFiles(frame, fetched, places);
    throw error;
  }
  return fetched;
}

export async function removeExtraFiles(
  frame: number,
  files: readonly FetchedExtra[],
  places: ExtraPlaces,
): Promise<void> {
  for (const { path } of files) await rm(path, { force: true });
  places.release(frame);
}

/** Makes the folders of a path, one by one: a link among them would lead wherever it likes. */
async function makeRoom(outFolder: string, place: string): Promise<void> {
  let path = outFolder;
  for (const folder of place.split('/').slice(0, -1)) {
    path = join(path, folder);
    await mkdir(path).catch((error: unknown) => {
      if (errorCode(error) !== 'EEXIST') throw diskError(error, path);
    });
    if (!(await lstat(path)).isDirectory()) throw inTheWay(path, place);
  }
  const file = await lstat(join(outFolder, place)).catch((error: unknown) => {
    if (errorCode(error) !== 'ENOENT') throw error;
  });
  if (file?.isDirectory()) throw inTheWay(join(outFolder, place), place);
}

function inTheWay(path: string, place: string): FarmError {
  const message = `--out has ${path}, which is in the way: the scene writes ${place} there. Choose another folder`;
  return new FarmError('USAGE', message, {
    kept: 'the farm goes on with the job and keeps its files; `tessera wait JOB --out FOLDER` fetches them',
  });
}
