/** What needs the frames before it is found, and what is baked is rendered in any order as Blender alone renders it. */
import { cp, mkdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createDockerRuntime } from '../../platform/render/docker/runtime.ts';
import { createProcessRuntime } from '../../platform/render/process/runtime.ts';
import type { RenderRuntime, RenderSession, SceneInspection } from '../../platform/render/runtime.ts';
import { blenderInImage, testImage } from './docker-support.ts';
import { referencePictures } from './references.ts';
import { type BareBlender, differingValues, localBlender, temporaryFolder } from './support.ts';

const TIMEOUT_MS = 300_000;
const { signal } = new AbortController();
const SCRIPT = join(dirname(fileURLToPath(import.meta.url)), 'make-simulations.py');

type Engine = {
  name: string;
  blender: BareBlender;
  runtime: (tempFolder: string) => Promise<RenderRuntime>;
  /** More to make: Debian's 4.3 breaks down over any fluid, whatever is done with it. */
  extra: string[];
  /** Scene, object and kind of what only this engine has. */
  unbaked: [string, string, string, number][];
  baked: string[];
  disk: [string, string][];
  pictures: string[];
};

const ENGINES: Engine[] = [
  {
    name: '3.4',
    blender: localBlender,
    runtime: (tempFolder) => createProcessRuntime({ signal, tempFolder }),
    extra: ['fluids'],
    unbaked: [
      ['fluid', 'Domain', 'fluid', 0],
      ['fluid-replay', 'Domain', 'fluid', 0],
    ],
    baked: [],
    disk: [['fluid-disk', 'fluid-disk-cache']],
    pictures: ['fluid-disk'],
  },
  {
    name: '4.3 in its container',
    blender: blenderInImage(),
    runtime: async (tempFolder) =>
      createDockerRuntime({ ...(await testImage()), owner: tempFolder, tempFolder }),
    extra: [],
    unbaked: [['zone', 'Snail', 'simulation zone', 1]],
    baked: ['zone-baked'],
    disk: [['zone-disk', 'blendcache_zone-disk/Snail_Nodes']],
    pictures: ['zone-baked', 'zone-disk'],
  },
];

describe.each(ENGINES)('simulations in Blender: $name', { timeout: TIMEOUT_MS }, (engine) => {
  let folder: Awaited<ReturnType<typeof temporaryFolder>>;
  let runtime: RenderRuntime;
  let counter = 0;
  const inAnyOrder = ['cloth-baked', 'rigid-baked', 'particles-disk', ...engine.pictures];
  const unbakedAtFirst = engine.unbaked.filter(([, , , first]) => first > 0).map(([scene]) => scene);
  const firstFrames = ['rigid', 'particles', ...unbakedAtFirst];
  const bare = [
    ...inAnyOrder.flatMap((scene) => [5, 2].map((frame) => ({ scene, frame }))),
    ...firstFrames.map((scene) => ({ scene, frame: 1 })),
  ];
  let rendered: Promise<string[]> | undefined;
  const scenes = () => join(folder.path, 'scenes');
  const fresh = (extension = '') => join(folder.path, `${++counter}${extension}`);
  const open = (scene: string, root = scenes()) =>
    runtime.open({ root, main: `${scene}.blend` }, { signal, threads: 2 });

  /** What bare Blender writes; the first to ask has all of them rendered. */
  async function reference(scene: string, frame: number): Promise<string> {
    const wanted = bare.map((one) => ({ ...one, scene: join(scenes(), `${one.scene}.blend`) }));
    rendered ??= referencePictures(engine.blender, wanted, folder.path);
    const path = (await rendered)[bare.findIndex((one) => one.scene === scene && one.frame === frame)];
    if (path === undefined) throw new Error(`no reference of ${scene}`);
    return path;
  }

  const inspected = new Map<string, SceneInspection>();
  /** Opens a scene, and keeps what it says of itself for the tests that want nothing else. */
  async function openNoted(scene: string): Promise<RenderSession> {
    const session = await open(scene);
    inspected.set(scene, await session.inspect({ signal }));
    return session;
  }

  async function inspect(scene: string, root?: string): Promise<SceneInspection> {
    const known = root === undefined ? inspected.get(scene) : undefined;
    if (known !== undefined) return known;
    await using session = await open(scene, root);
    return await session.inspect({ signal });
  }

  async function picture(session: RenderSession, frame: number): Promise<string> {
    const { region, picture: whole } = await session.inspect({ signal });
    const outputs = { exrOutput: fresh('.exr'), pictureOutput: fresh('.png') };
    const made = await session.renderFrame({ frame, region, picture: whole, ...outputs }, { signal });
    return made.picturePath;
  }

  beforeAll(async () => {
    folder = await temporaryFolder();
    const exchange = join(folder.path, 'exchange');
    await Promise.all([mkdir(scenes()), mkdir(exchange)]);
    const parameters = [
      '-b',
      '--factory-startup',
      '--python-exit-code',
      '1',
      '--python',
      SCRIPT,
      '--',
      scenes(),
    ];
    await engine.blender([...parameters, ...engine.extra], scenes());
    runtime = await engine.runtime(exchange);
  }, TIMEOUT_MS);
  afterAll(() => folder[Symbol.asyncDispose]());

  it.each(inAnyOrder)('%s is rendered in any order as Blender alone renders it', async (scene) => {
    await using session = await openNoted(scene);
    const made: string[] = [];
    for (const frame of [5, 2]) {
      const expected = await reference(scene, frame);
      made.push(await picture(session, frame));
      expect(await differingValues(expected, made.at(-1) ?? ''), `frame ${frame}`).toMatchObject({
        differing: 0,
      });
    }
    // It does move: otherwise the above would say nothing.
    expect((await differingValues(made[0] ?? '', made[1] ?? '')).differing).toBeGreaterThan(0);
  });

  it.each(firstFrames)(
    'the first frame of %s needs no other, whatever was rendered before it',
    async (scene) => {
      const expected = await reference(scene, 1);
      await using session = await openNoted(scene);
      await picture(session, 5);
      expect(await differingValues(expected, await picture(session, 1))).toMatchObject({ differing: 0 });
    },
  );

  it.each([
    ['cloth', 'Flag', 'cloth', 1],
    ['soft', 'Jelly', 'soft body', 1],
    ['rigid', 'Brick', 'rigid body', 1],
    ['particles', 'Fountain', 'particles', 1],
    ['hair', 'Fountain', 'hair dynamics', 1],
    ['paint', 'Canvas', 'dynamic paint', 1],
    ...engine.unbaked,
  ] as const)('%s that is not baked is named', async (scene, object, kind, firstFrame) => {
    // No file is asked for that nobody has.
    expect(await inspect(scene)).toMatchObject({ unbaked: [{ object, kind, firstFrame }], missingFiles: [] });
  });

  it.each(['cloth-baked', 'rigid-baked', 'particles-baked', 'calm', 'other-scene', ...engine.baked])(
    '%s needs nothing',
    async (scene) => {
      expect(await inspect(scene)).toMatchObject({ unbaked: [], files: [], unsupported: [] });
    },
  );

  it.each([
    ['cloth-disk', 'blendcache_cloth-disk'],
    ['particles-disk', 'blendcache_particles-disk'],
    ['paint-disk', 'blendcache_paint-disk'],
    ...engine.disk,
  ])('%s needs its cache, which is asked for where it is missing', async (scene, cache) => {
    const whole = await inspect(scene);
    expect(whole).toMatchObject({ unbaked: [], missingFiles: [] });
    expect(whole.files.filter((file) => file.kind === 'cache' && file.path.startsWith(`${cache}/`))).toEqual(
      whole.files,
    );
    expect(whole.files.length).toBeGreaterThanOrEqual(6);

    const alone = fresh();
    await mkdir(alone);
    await cp(join(scenes(), `${scene}.blend`), join(alone, `${scene}.blend`));
    const [missing, ...others] = (await inspect(scene, alone)).missingFiles;
    expect(others).toEqual([]);
    expect(missing).toMatchObject({ kind: 'cache', exists: false, outsideRoot: false });
    expect(missing?.path.startsWith(cache)).toBe(true);
  });
});
