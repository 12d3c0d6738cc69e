/** The scenes that classes are compared on. */
import { basename, dirname, extname, join, resolve } from 'node:path';
import { packageRoot } from '../../platform/package-root.ts';
import { requireBlendFile } from '../render/check-blend.ts';
import type { CalibrationScene } from './render-class.ts';

/** Between them motion, glass, metal, glare, textures and linked files. */
const SAMPLES = ['turntable', 'still', 'project'] as const;

/** The files that were named, each with its folder, or the samples. Throws SCENE_NOT_FOUND or SCENE_NOT_BLEND. */
export async function calibrationScenes(paths: readonly string[]): Promise<CalibrationScene[]> {
  const files =
    paths.length === 0
      ? SAMPLES.map((name) => join(packageRoot(), 'samples', name, `${name}.blend`))
      : paths.map((path) => resolve(path));
  for (const file of files) await requireBlendFile(file);
  return files.map((file, index) => ({
    name: nameIn(files, index),
    folder: { root: dirname(file), main: basename(file) },
  }));
}

/** Two of one name are told apart by the numbers of their places. */
function nameIn(files: readonly string[], index: number): string {
  const names = files.map((file) => basename(file, extname(file)));
  const name = names[index] as string;
  return names.indexOf(name) === names.lastIndexOf(name) ? name : `${name} (${index + 1})`;
}
