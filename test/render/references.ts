/** What bare Blender writes for a frame: the picture, and all layers. */
import { mkdtemp, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { BareBlender } from './support.ts';

const BARE = ['-b', '--factory-startup', '--disable-autoexec', '-noaudio', '--python-exit-code', '1'];

export type References = { picture: string; layers: string };

/** The layers are in floats of `depth` bits, and from the same process as the picture. */
export async function references(
  blender: BareBlender,
  scene: string,
  frame: number,
  folder: string,
  { depth = 32, expression }: { depth?: number; expression?: string } = {},
): Promise<References> {
  const own = await mkdtemp(join(folder, 'references-'));
  const asLayers = `import bpy; i = bpy.context.scene.render.image_settings; i.file_format = 'OPEN_EXR_MULTILAYER'; i.color_depth = '${depth}'`;
  const before = expression === undefined ? [] : ['--python-expr', expression];
  const picture = ['-o', join(own, 'picture-####'), '-f', String(frame)];
  const layers = ['--python-expr', asLayers, '-o', join(own, 'layers-####'), '-f', String(frame)];
  await blender([...BARE, '-t', '2', scene, ...before, ...picture, ...layers], own);
  const [exr, png, ...others] = (await readdir(own)).sort();
  if (exr === undefined || png === undefined || others.length > 0)
    throw new Error(`Blender did not write one picture and one EXR of ${scene}`);
  return { picture: join(own, png), layers: join(own, exr) };
}
