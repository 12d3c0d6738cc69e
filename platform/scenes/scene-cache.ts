/** Scenes laid out as folders, ready for a renderer. A folder that is there is whole: it is built beside and renamed. */
import { randomBytes } from 'node:crypto';
import { mkdir, readdir, rename, rm, stat, utimes } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { FarmError } from '../../protocol/errors.ts';
import type { Digest } from '../../protocol/ids.ts';
import type { SceneManifest } from '../../protocol/job.ts';
import { diskError, errorCode } from '../files.ts';
import type { SceneFolder } from '../render/runtime.ts';
import { sceneDigest } from './manifest.ts';

/** Writes the blob to a path; throws when there is no such blob or its bytes are wrong. */
export type FetchBlob = (digest: Digest, path: string, signal: AbortSignal) => Promise<void>;

/** Scenes kept on disk; past it the one used longest ago goes. A node rarely works on more at a time. */
const MAX_SCENES = 16;

const BUILDING = 'building-';

export class SceneCache {
  readonly #folder: string;
  readonly #fetch: FetchBlob;

  private constructor(folder: string, fetch: FetchBlob) {
    this.#folder = folder;
    this.#fetch = fetch;
  }

  /** Opens the cache and throws away what a crash left half-built. */
  static async open(folder: string, fetch: FetchBlob): Promise<SceneCache> {
    await mkdir(folder, { recursive: true, mode: 0o700 });
    for (const name of await readdir(folder)) {
      if (name.startsWith(BUILDING)) await rm(join(folder, name), { recursive: true, force: true });
    }
    return new SceneCache(folder, fetch);
  }

  /**
   * The scene's folder, fetched where needed. `manifest` must be the one that `digest` names: a farm cannot make a
   * node render other files than those the receipts will name. Paths were validated by the schema and stay inside.
   */
  async folderOf(digest: Digest, manifest: SceneManifest, signal: AbortSignal): Promise<SceneFolder> {
    if (sceneDigest(manifest) !== digest) {
      throw new FarmError('BLOB_MISMATCH', `the scene's file list does not have digest ${digest}`);
    }
    const root = join(this.#folder, digest);
    if (await isFolder(root)) {
      const now = new Date();
      await utimes(root, now, now);
      return { root, main: manifest.main };
    }
    const building = join(this.#folder, `${BUILDING}${randomBytes(6).toString('hex')}`);
    try {
      await mkdir(building, { recursive: true });
      for (const file of manifest.files) {
        const path = join(building, file.path);
        await mkdir(dirname(path), { recursive: true });
        await this.#fetch(file.digest, path, signal);
      }
      await rename(building, root).catch((error: unknown) => {
        // Another task of this process was faster: its folder has the same bytes.
        if (errorCode(error) !== 'ENOTEMPTY' && errorCode(error) !== 'EEXIST') throw error;
      });
    } catch (error) {
      throw diskError(error, root);
    } finally {
      await rm(building, { recursive: true, force: true });
    }
    await this.#evict(digest);
    return { root, main: manifest.main };
  }

  async #evict(keep: Digest): Promise<void> {
    const names = (await readdir(this.#folder)).filter(
      (name) => /^[0-9a-f]{64}$/.test(name) && name !== keep,
    );
    const aged = await Promise.all(
      names.map(async (name) => ({ name, usedMs: (await stat(join(this.#folder, name))).mtimeMs })),
    );
    aged.sort((a, b) => b.usedMs - a.usedMs);
    for (const { name } of aged.slice(MAX_SCENES - 1)) {
      await rm(join(this.#folder, name), { recursive: true, force: true });
    }
  }
}

async function isFolder(path: string): Promise<boolean> {
  try {
    return (await stat(path)).isDirectory();
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return false;
    throw error;
  }
}
