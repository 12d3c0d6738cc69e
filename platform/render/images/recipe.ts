/** What an image is made from, and the name that follows from it. */
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { packageRoot } from '../../package-root.ts';

export const RECIPE_FOLDER = join(packageRoot(), 'blender-images', 'debian');
const FILES = ['install.sh', 'make-rootfs.sh', 'packages.txt', 'Dockerfile'];

/** The Debian release whose Blender is taken: 13 has 4.3. */
export const DEFAULT_SUITE = 'trixie';
export const DEFAULT_MIRROR = 'http://deb.debian.org/debian';

export type ImageSource =
  /** A system from nothing but Debian packages; needs root and debootstrap. */
  | { kind: 'debootstrap'; suite: string; mirror: string }
  /** A base image that this engine has or can pull. */
  | { kind: 'base'; image: string };

/** A digest of the files and of the source. The mirror is left out: every mirror has the same packages. */
export async function recipeDigest(source: ImageSource): Promise<string> {
  const hash = createHash('sha256');
  hash.update(source.kind === 'base' ? `base ${source.image}` : `debootstrap ${source.suite}`);
  for (const name of FILES) hash.update(`\0${name}\0`).update(await readFile(join(RECIPE_FOLDER, name)));
  return hash.digest('hex');
}

/** The Blender version in what `blender --version` printed, or undefined. */
export function versionIn(output: string): string | undefined {
  return /^Blender (\d+\.\d+\.\d+)/m.exec(output)?.[1];
}
