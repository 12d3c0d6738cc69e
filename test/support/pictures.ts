/** What a single machine makes of a scene, and how two pictures differ. */
import { execFile } from 'node:child_process';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import sharp from 'sharp';

const run = promisify(execFile);

/**
 * Renders one frame with bare Blender, `blender -b SCENE -o … -f N`, and calls `use` with the picture's path. `samples`
 * takes the place of the scene's own number.
 */
export async function withBareRender<T>(
  scene: string,
  frame: number,
  use: (picture: string) => Promise<T>,
  samples?: number,
): Promise<T> {
  const folder = await mkdtemp(join(tmpdir(), 'tessera-bare-'));
  try {
    const change =
      samples === undefined
        ? []
        : ['--python-expr', `import bpy; bpy.context.scene.cycles.samples = ${samples}`];
    await run('blender', ['-b', scene, ...change, '-o', join(folder, 'bare_####'), '-f', String(frame)]);
    const [picture] = await readdir(folder);
    if (picture === undefined) throw new Error(`blender wrote nothing for ${scene}`);
    return await use(join(folder, picture));
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** How many of the values (pixels times channels) differ. Throws when the sizes differ. */
export async function differingValues(
  first: string,
  second: string,
): Promise<{ differing: number; values: number }> {
  const [a, b] = await Promise.all(
    [first, second].map((path) => sharp(path).raw().toBuffer({ resolveWithObject: true })),
  );
  if (a === undefined || b === undefined) throw new Error('two pictures are needed');
  const { width, height, channels } = a.info;
  if (width !== b.info.width || height !== b.info.height || channels !== b.info.channels) {
    throw new Error(
      `${width}x${height}x${channels} against ${b.info.width}x${b.info.height}x${b.info.channels}`,
    );
  }
  let differing = 0;
  for (let index = 0; index < a.data.length; index++) if (a.data[index] !== b.data[index]) differing++;
  return { differing, values: a.data.length };
}
