/** Finished frames in every format, and the files of File Output nodes, against bare Blender with the same settings. */
import { execFile } from 'node:child_process';
import { mkdir, readdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createProcessRuntime } from '../../platform/render/process/runtime.ts';
import type { FinishedFrame, RenderRuntime, RenderSession } from '../../platform/render/runtime.ts';
import type { OutputSettings } from '../../protocol/output.ts';
import { compareLayers, EQUAL } from './compare-layers.ts';
import { referencePictures } from './references.ts';
import { cut, differingValues, localBlender, makeFixtures, temporaryFolder } from './support.ts';

const run = promisify(execFile);
const HERE = dirname(fileURLToPath(import.meta.url));
const BARE = ['-b', '--factory-startup', '--disable-autoexec', '-noaudio', '--python-exit-code', '1'];
const TIMEOUT_MS = 300_000;
const FRAME = 2;
const BLENDER_NAMES = {
  png: 'PNG',
  jpeg: 'JPEG',
  tiff: 'TIFF',
  webp: 'WEBP',
  exr: 'OPEN_EXR',
  'exr-multilayer': 'OPEN_EXR_MULTILAYER',
} as const;
/** A scene, the output a job asks for, and how the picture is stored. */
const OUTPUTS: [string, OutputSettings & { format: keyof typeof BLENDER_NAMES }][] = [
  ['composite', { format: 'png', depth: 16 }],
  ['composite', { format: 'jpeg', quality: 70, colorMode: 'RGB' }],
  ['composite', { format: 'tiff', depth: 16, codec: 'LZW' }],
  ['composite', { format: 'webp', quality: 80 }],
  ['composite', { format: 'exr', depth: 32 }],
  ['composite-border', { format: 'exr', depth: 16, colorMode: 'RGB' }],
  ['cryptomatte', { format: 'exr-multilayer', depth: 32 }],
  ['composite', { format: 'exr-multilayer', depth: 16 }],
  ['layers', { format: 'exr-multilayer', depth: 32 }],
  ['plain', { format: 'png', colorMode: 'BW' }],
];

/** Python that makes the choices of a job in Blender's own menu. */
function choosing(output: OutputSettings | null): string {
  const choices: string[] = [];
  if (output !== null && output.format !== 'scene') {
    choices.push(`file_format='${BLENDER_NAMES[output.format]}'`);
    if (output.colorMode !== undefined) choices.push(`color_mode='${output.colorMode}'`);
    if (output.depth !== undefined) choices.push(`color_depth='${output.depth}'`);
    if (output.quality !== undefined) choices.push(`quality=${output.quality}`);
  }
  const set = choices.map((choice) => `i.${choice}`).join('; ') || 'pass';
  return `import bpy; i = bpy.context.scene.render.image_settings; ${set}`;
}

describe('finished frames', { timeout: TIMEOUT_MS }, () => {
  const { signal } = new AbortController();
  let folder: Awaited<ReturnType<typeof temporaryFolder>>;
  let runtime: RenderRuntime;
  let counter = 0;
  let rendered: Promise<string[]> | undefined;
  const scenes = () => join(folder.path, 'scenes');
  const fresh = (extension = '') => join(folder.path, `${++counter}${extension}`);
  const open = (scene: string) =>
    runtime.open({ root: scenes(), main: `${scene}.blend` }, { signal, threads: 2 });

  /** Both ways to a finished frame: from tiles, and whole. */
  async function bothWays(session: RenderSession, output: OutputSettings, extra = false) {
    const { region, picture } = await session.inspect({ signal });
    const common = async () => {
      const extraFolder = fresh();
      await mkdir(extraFolder);
      const outputs = { output, exrOutput: fresh('.exr'), pictureOutput: fresh('.picture') };
      return { frame: FRAME, region, picture, ...outputs, ...(extra ? { extraFolder } : {}) };
    };
    const tiles = [];
    for (const rect of cut(region, 3, 2)) {
      const tile = await session.render({ frame: FRAME, rect, output: fresh('.exr') }, { signal });
      tiles.push({ rect, path: tile.exrPath });
    }
    return [
      await session.finish({ ...(await common()), tiles }, { signal }),
      await session.renderFrame(await common(), { signal }),
    ] satisfies FinishedFrame[];
  }

  /** Bare Blender with the same choices in its menu; the first to ask has all of them rendered. */
  async function bare(scene: string, output: OutputSettings | null): Promise<string> {
    const all = [...OUTPUTS, ['outputs', null] as const];
    const wanted = all.map(([name, settings]) => ({
      scene: join(scenes(), `${name}.blend`),
      frame: FRAME,
      expression: choosing(settings),
    }));
    rendered ??= referencePictures(localBlender, wanted, folder.path);
    const path = (await rendered)[all.findIndex((one) => one[0] === scene && one[1] === output)];
    if (path === undefined) throw new Error(`no reference of ${scene}`);
    return path;
  }

  beforeAll(async () => {
    folder = await temporaryFolder();
    await mkdir(join(folder.path, 'exchange'));
    await makeFixtures(scenes());
    const plain = join(scenes(), 'plain.blend');
    await run('blender', [...BARE, plain, '--python', join(HERE, 'make-file-outputs.py'), '--', scenes()]);
    runtime = await createProcessRuntime({ signal, tempFolder: join(folder.path, 'exchange') });
  }, TIMEOUT_MS);
  afterAll(() => folder[Symbol.asyncDispose]());

  it.each(OUTPUTS)('of %s as %o', async (scene, output) => {
    const reference = await bare(scene, output);
    await using session = await open(scene);
    const before = await session.inspect({ signal });
    expect(before.writableFormats).toContain(output.format);
    const frames = await bothWays(session, output);
    const paths = frames.map((frame) => frame.picturePath);
    if (output.format.startsWith('exr')) {
      const pairs = paths.map((second) => ({ first: reference, second }));
      expect(await compareLayers(pairs, folder.path)).toMatchObject([EQUAL, EQUAL]);
    } else {
      for (const path of paths) {
        expect((await sharp(path).metadata()).format).toBe(output.format);
        expect(await differingValues(reference, path)).toMatchObject({ differing: 0 });
      }
    }
    // The scene is as it was.
    expect(await session.inspect({ signal })).toEqual({ ...before, frameCurrent: FRAME });
  });

  it('come with the files of File Output nodes, as Blender names them', async () => {
    // Bare Blender writes its own of them beside the scene, and one picture.
    await bare('outputs', null);
    const renders = join(scenes(), 'renders');
    await using session = await open('outputs');
    const names = [
      'renders/layers_0002.exr',
      'renders/single/beauty0002.png',
      'renders/single/shots/part_002_of_3.png',
    ];
    for (const { extraFiles } of await bothWays(session, { format: 'png' }, true)) {
      expect(extraFiles.map((file) => file.name).sort()).toEqual(names);
      for (const file of extraFiles) {
        const reference = join(scenes(), file.name);
        if (file.name.endsWith('.exr')) {
          const pairs = [{ first: reference, second: file.path }];
          expect(await compareLayers(pairs, folder.path)).toMatchObject([{ differing: 0, missing: [] }]);
        } else {
          expect(await differingValues(reference, file.path)).toMatchObject({ differing: 0 });
        }
      }
    }
    expect((await readdir(renders)).sort()).toEqual(['layers_0002.exr', 'single']);
  });

  it('never let the path of such a node lead out of its folder', async () => {
    await using session = await open('hostile-outputs');
    for (const { extraFiles } of await bothWays(session, { format: 'png' }, true)) {
      expect(extraFiles.map((file) => file.name).sort()).toEqual([
        'etc/cron.d/C_/windows/system0002.png',
        'etc/cron.d/a_b0002.png',
        'etc/cron.d/beauty0002.png',
        'etc/cron.d/beauty_0010002.png',
        'etc/cron.d/escape0002.png',
        'etc/cron.d/image0002.png',
        'up0002.exr',
      ]);
    }
  });

  it('keep no such files where nobody asks for them', async () => {
    await using session = await open('outputs');
    for (const { extraFiles } of await bothWays(session, { format: 'png' })) expect(extraFiles).toEqual([]);
  });
});
