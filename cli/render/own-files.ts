/** What of an artist's disk a scene may have: regular files below its root, and of folders only what simulations keep. */
import { lstat, readdir, realpath, stat } from 'node:fs/promises';
import { join, relative, resolve, sep } from 'node:path';
import { errorCode } from '../../platform/files.ts';

/**
 * Endings of what Blender bakes. A scene from somebody else may name any folder as its cache; whatever else lies in
 * there stays where it is.
 */
const CACHE_FILE = /\.(bphys|vdb|uni|bobj\.gz|obj\.gz|raw|json|blob)$/;

/** Not there, not ours to read, or a link that leads nowhere: for the scene it is missing all the same. */
const MISSING = ['ENOENT', 'ENOTDIR', 'ELOOP', 'ENAMETOOLONG', 'EACCES'];

/**
 * The files that a path below the root stands for, relative to the root: itself, or the caches in a folder. Empty
 * where there are none. A link that leads out of the root is not followed.
 */
export async function ownFiles(root: string, path: string): Promise<string[]> {
  try {
    const real = await realpath(join(root, path));
    if (inside(root, real) === null) return [];
    const found = await stat(real);
    if (found.isFile()) return [path];
    if (!found.isDirectory()) return [];
    const files: string[] = [];
    for (const name of await readdir(real, { recursive: true })) {
      if (CACHE_FILE.test(name) && (await lstat(join(real, name))).isFile())
        files.push([path, ...parts(name)].join('/'));
    }
    return files.sort();
  } catch (error) {
    if (MISSING.includes(errorCode(error) ?? '')) return [];
    throw error;
  }
}

/** `path` relative to `root` with forward slashes, or null when it lies outside. */
export function inside(root: string, path: string): string | null {
  const way = relative(root, path);
  if (way === '' || way === '..' || way.startsWith(`..${sep}`) || resolve(root, way) !== path) return null;
  return parts(way).join('/');
}

function parts(path: string): string[] {
  return path.split(sep);
}
