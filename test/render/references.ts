/** What bare Blender writes for frames: the picture, and all layers. */
import { mkdtemp, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { BareBlender } from './support.ts';

const BARE = ['-b', '--factory-startup', '--disable-autoexec', '-noaudio', '--python-exit-code', '1'];

/** One frame of a scene. Python in `expression` runs once the scene is open. */
export type Wanted = { scene: string; frame: number; expression?: string | undefined };
export type References = { picture: string; layers: string };

/**
 * The pictures that Blender writes for all of these, in their order. One Blender renders them one after the other, each
 * from its file as it was just opened: starting it takes longer than most test scenes take to render.
 */
export async function referencePictures(
  blender: BareBlender,
  wanted: readonly Wanted[],
  folder: string,
): Promise<string[]> {
  const own = await mkdtemp(join(folder, 'references-'));
  const parameters = wanted.flatMap((one, index) => [...opened(one), ...rendered(own, `${index}-`, one)]);
  await blender([...BARE, '-t', '2', ...parameters], own);
  const names = await filesOf(own, wanted.length);
  return wanted.map((one, index) => only(own, names, `${index}-`, one.scene));
}

/** The same with the layers, from the same process: `depth` is the size of their floats. */
export async function references(
  blender: BareBlender,
  wanted: readonly (Wanted & { depth?: number })[],
  folder: string,
): Promise<References[]> {
  const own = await mkdtemp(join(folder, 'references-'));
  const parameters = wanted.flatMap((one, index) => [
    ...opened(one),
    ...rendered(own, `picture-${index}-`, one),
    ...['--python-expr', asLayers(one.depth ?? 32)],
    ...rendered(own, `layers-${index}-`, one),
  ]);
  await blender([...BARE, '-t', '2', ...parameters], own);
  const names = await filesOf(own, 2 * wanted.length);
  return wanted.map(({ scene }, index) => ({
    picture: only(own, names, `picture-${index}-`, scene),
    layers: only(own, names, `layers-${index}-`, scene),
  }));
}

function opened({ scene, expression }: Wanted): string[] {
  return [scene, ...(expression === undefined ? [] : ['--python-expr', expression])];
}

function rendered(folder: string, prefix: string, { frame }: Wanted): string[] {
  return ['-o', join(folder, `${prefix}####`), '-f', String(frame)];
}

function asLayers(depth: number): string {
  return `import bpy; i = bpy.context.scene.render.image_settings; i.file_format = 'OPEN_EXR_MULTILAYER'; i.color_depth = '${depth}'`;
}

async function filesOf(folder: string, count: number): Promise<string[]> {
  const names = await readdir(folder);
  if (names.length !== count)
    throw new Error(`Blender wrote ${names.length} files instead of ${count}: ${names.join(', ')}`);
  return names;
}

/** The one file whose name begins so; its ending is the scene's choice. */
function only(folder: string, names: string[], prefix: string, scene: string): string {
  const [name, ...others] = names.filter((one) => one.startsWith(prefix));
  if (name === undefined || others.length > 0)
    throw new Error(`Blender did not write one file ${prefix}… of ${scene}`);
  return join(folder, name);
}
