import { execFile } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { describe, expect, test } from 'vitest';
import { readPictureHeader } from '../../platform/looks/picture-header.ts';
import { makeThumbnail } from '../../platform/looks/thumbnail.ts';
import { encodeMovie } from '../../platform/movies/encode-movie.ts';
import { decodedFrames } from '../movies/probe.ts';
import { temporaryFolder } from '../render/support.ts';

const run = promisify(execFile);
const { signal } = new AbortController();

/** EXR files that Blender itself wrote: one layer with and without alpha, and a multilayer one. */
async function writeExrs(folder: string): Promise<void> {
  const script = `
import bpy, array
image = bpy.data.images.new("x", 64, 48, alpha=True, float_buffer=True)
image.pixels.foreach_set(array.array("f", [0.2, 0.2, 0.2, 1.0] * (64 * 48)))
scene = bpy.context.scene
scene.view_settings.view_transform = "Standard"
settings = scene.render.image_settings
for name, file_format, mode in (("rgb", "OPEN_EXR", "RGB"), ("rgba", "OPEN_EXR", "RGBA"), ("multi", "OPEN_EXR_MULTILAYER", "RGBA")):
    settings.file_format, settings.color_mode, settings.color_depth = file_format, mode, "32"
    if name != "multi":
        image.save_render(r"${folder}/" + name + ".exr")
    else:
        scene.render.engine, scene.cycles.samples = "CYCLES", 1
        scene.cycles.use_denoising = False
        scene.render.resolution_x, scene.render.resolution_y, scene.render.resolution_percentage = 64, 48, 100
        scene.render.filepath = r"${folder}/multi.exr"
        bpy.ops.render.render(write_still=True)
`;
  await run('blender', [
    '-b',
    '--factory-startup',
    '-noaudio',
    '--python-exit-code',
    '1',
    '--python-expr',
    script,
  ]);
}

describe('EXR frames', () => {
  test('have their size and alpha read, become a movie in sRGB, and are no thumbnails', async () => {
    await using folder = await temporaryFolder();
    await writeExrs(folder.path);
    const at = (name: string): string => join(folder.path, `${name}.exr`);
    const size = { width: 64, height: 48 };
    expect(await readPictureHeader(at('rgb'))).toEqual({
      format: 'exr',
      ...size,
      hasAlpha: false,
      deep: true,
    });
    expect(await readPictureHeader(at('rgba'))).toEqual({
      format: 'exr',
      ...size,
      hasAlpha: true,
      deep: true,
    });
    const output = join(folder.path, 'movie.mp4');
    const frames = [{ frame: 1, path: at('rgb') }];
    const movie = await encodeMovie({
      frames,
      format: 'mp4',
      rate: { numerator: 24, denominator: 1 },
      output,
      signal,
    });
    expect(movie.notes).toEqual([expect.stringContaining('view transform')]);
    const [frame] = await decodedFrames(output, size);
    // 0.2 of linear light is 124 of 255 in sRGB.
    expect(Math.abs((frame?.[0] ?? 0) - 124)).toBeLessThanOrEqual(3);
    await expect(makeThumbnail(at('rgb'), 32)).rejects.toMatchObject({ code: 'PICTURE_UNREADABLE' });
    await expect(readPictureHeader(at('multi'))).rejects.toMatchObject({
      code: 'PICTURE_UNREADABLE',
      message: expect.stringContaining('multilayer'),
    });
  });

  test('that are cut off, anywhere, are refused before they are decoded', async () => {
    await using folder = await temporaryFolder();
    await writeExrs(folder.path);
    const whole = await readFile(join(folder.path, 'rgba.exr'));
    const path = join(folder.path, 'cut.exr');
    for (let length = 4; length < whole.length; length += Math.ceil(whole.length / 40)) {
      await writeFile(path, whole.subarray(0, length));
      await expect(readPictureHeader(path), `${length} of ${whole.length} bytes`).rejects.toMatchObject({
        code: 'PICTURE_UNREADABLE',
      });
    }
    await writeFile(path, whole.subarray(0, whole.length - 1));
    await expect(readPictureHeader(path)).rejects.toMatchObject({ code: 'PICTURE_UNREADABLE' });
  });
});
