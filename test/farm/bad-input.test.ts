import { spawn } from 'node:child_process';
import { copyFile, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { packageRoot } from '../../platform/package-root.ts';
import { ERRORS, type ErrorCode } from '../../protocol/errors.ts';
import { makeFixtures } from '../render/support.ts';
import { chainOf } from '../support/chain-of.ts';
import { type CommandResult, processesWith, runCommand } from '../support/command.ts';
import { sample, startTestFarm, type TestFarm } from '../support/farm.ts';

/** Each input that a farm has to refuse: what is wrong, the command's arguments, the error, and a word of its fix. */
const REFUSED: { what: string; scene: string; options?: string[]; code: ErrorCode; says: RegExp }[] = [
  {
    what: 'a file that is no .blend',
    scene: 'text.blend',
    code: 'SCENE_NOT_BLEND',
    says: /not a \.blend file/,
  },
  {
    what: 'a .blend that was cut off',
    scene: 'cut.blend',
    code: 'SCENE_UNREADABLE',
    says: /cut\.blend|end|truncated|damaged|incomplete/i,
  },
  {
    what: 'a compressed .blend that was cut off',
    scene: 'cut-zstd.blend',
    code: 'SCENE_UNREADABLE',
    says: /./,
  },
  {
    what: 'a file that is not there',
    scene: 'nowhere.blend',
    code: 'SCENE_NOT_FOUND',
    says: /there is no file/,
  },
  {
    what: 'a scene without a camera',
    scene: 'no-camera.blend',
    code: 'SCENE_NO_CAMERA',
    says: /no active camera/,
  },
  {
    what: 'an engine that needs a display',
    scene: 'eevee.blend',
    code: 'ENGINE_NOT_HEADLESS',
    says: /EEVEE, which needs a display/,
  },
  {
    what: 'a library that is missing',
    scene: 'lonely/scene.blend',
    code: 'SCENE_FILES_MISSING',
    says: /block\.blend/,
  },
  {
    what: 'a library above the folder of the scene',
    scene: 'linked/climbing.blend',
    code: 'SCENE_FILES_MISSING',
    says: /outside/,
  },
  {
    what: 'an empty frame range',
    scene: 'plain.blend',
    options: ['--frames', '24-1'],
    code: 'FRAMES_INVALID',
    says: /24-1 is empty/,
  },
  {
    what: 'frames outside the scene',
    scene: 'plain.blend',
    options: ['--frames', '90000'],
    code: 'FRAMES_OUTSIDE_SCENE',
    says: /range \d+-\d+/,
  },
  {
    what: '0 samples',
    scene: 'plain.blend',
    options: ['--samples', '0'],
    code: 'SAMPLES_INVALID',
    says: /from 1 to 65536/,
  },
  {
    what: 'more tiles than the frame has room for',
    scene: 'plain.blend',
    options: ['--tiles', '60x60'],
    code: 'TILES_INVALID',
    says: /finest grid is \d+x\d+/,
  },
  {
    what: 'a budget below the quote',
    scene: 'plain.blend',
    options: ['--budget', '0.000001'],
    code: 'BUDGET_TOO_LOW',
    says: /costs \d+ units/,
  },
];

describe('bad input is refused with the fix, before anything is submitted or paid', () => {
  let farm: TestFarm;
  let scenes: string;
  let data: string;
  beforeAll(async () => {
    scenes = await mkdtemp(join(tmpdir(), 'tessera-bad-'));
    data = await mkdtemp(join(tmpdir(), 'tessera-test-'));
    await makeFixtures(scenes);
    await writeFile(join(scenes, 'text.blend'), 'a shopping list, by mistake');
    const whole = await readFile(join(scenes, 'plain.blend'));
    await writeFile(join(scenes, 'cut.blend'), whole.subarray(0, Math.floor(whole.length / 2)));
    const packed = await readFile(sample('turntable'));
    await writeFile(join(scenes, 'cut-zstd.blend'), packed.subarray(0, Math.floor(packed.length / 2)));
    await mkdir(join(scenes, 'lonely'));
    await copyFile(join(scenes, 'linked/scene.blend'), join(scenes, 'lonely/scene.blend'));
    farm = await startTestFarm({ dataFolder: data, nodes: [{ id: 'node-1' }] });
  });
  afterAll(async () => {
    await farm[Symbol.asyncDispose]();
    for (const folder of [scenes, data]) await rm(folder, { recursive: true, force: true });
  });

  test.each(REFUSED)('$what: $code', async ({ scene, options = [], code, says }) => {
    const parameters = [
      'render',
      join(scenes, scene),
      ...options,
      '--data',
      data,
      '--out',
      join(scenes, 'out'),
      '--wait',
    ];
    const result = await runCommand([...parameters, '--json']);
    expectError(result, code, says);
    expect(await farm.client.jobs(new AbortController().signal)).toEqual([]);
    const chain = await chainOf(farm);
    expect(await chain.tokenBalance(chain.escrowAddress)).toBe(0n);
  });

  test('a person reads what happened, what was kept and what to do next', async () => {
    const { stderr, stdout, code } = await runCommand([
      'render',
      join(scenes, 'no-camera.blend'),
      '--data',
      data,
    ]);
    expect(code).toBe(3);
    expect(stdout).toBe('');
    expect(stderr).toContain('error SCENE_NO_CAMERA: the scene has no active camera');
    expect(stderr).toContain('kept: nothing was submitted, no money moved');
    expect(stderr).toContain(`next: ${ERRORS.SCENE_NO_CAMERA.help}`);
  });

  test('a disk that is full where the frames go: the frames stay on the farm', {
    timeout: 900_000,
  }, async () => {
    const out = join(scenes, 'tiny');
    const parameters = [
      'render',
      sample('turntable'),
      '--frames',
      '1',
      '--samples',
      '1',
      '--exr',
      '--data',
      data,
      '--out',
      out,
      '--wait',
      '--json',
    ];
    const result = await runOnTinyDisk(out, parameters);
    expectError(result, 'DISK_FULL', /no space left/);
    const { jobs } = JSON.parse((await runCommand(['jobs', '--data', data, '--json'])).stdout);
    const fetched = await runCommand([
      'wait',
      jobs[0].id,
      '--data',
      data,
      '--out',
      join(scenes, 'roomy'),
      '--json',
    ]);
    expect(fetched.code).toBe(0);
    expect((await readFile(JSON.parse(fetched.stdout).files[0].exr)).length).toBeGreaterThan(100_000);
  });
});

describe('a machine that lacks something is told so before anything starts', () => {
  let data: string;
  beforeAll(async () => {
    data = await mkdtemp(join(tmpdir(), 'tessera-lack-'));
  });
  afterAll(async () => {
    await rm(data, { recursive: true, force: true });
  });

  test('no Blender', async () => {
    const result = await runCommand(['up', '--data', data, '--port', '0'], {
      TESSERA_BLENDER: '/nowhere/blender',
    });
    expect(result.code).toBe(ERRORS.BLENDER_NOT_FOUND.exitCode);
    expect(result.stderr).toContain('BLENDER_NOT_FOUND');
    expect(result.stderr).toContain('apt-get install blender');
    expect(await processesWith(data)).toEqual([]);
  });

  test('no room for a farm', async () => {
    const tiny = join(data, 'tiny');
    const result = await runOnTinyDisk(tiny, ['up', '--data', tiny, '--port', '0']);
    expect(result.code).toBe(ERRORS.DISK_FULL.exitCode);
    expect(result.stderr).toMatch(/DISK_FULL: .* has \d+ MB of free space; a farm needs 256 MB/);
    expect(await processesWith(tiny)).toEqual([]);
  });
});

function expectError(result: CommandResult, code: ErrorCode, says: RegExp): void {
  const { error } = JSON.parse(result.stdout);
  expect(error).toMatchObject({ code, help: ERRORS[code].help });
  expect(error.message).toMatch(says);
  expect(result.code).toBe(ERRORS[code].exitCode);
}

/** Runs the command where `folder` is a disk of half a megabyte: a mount that only this process sees. */
function runOnTinyDisk(folder: string, parameters: string[]): Promise<CommandResult> {
  const script = 'mkdir -p "$0" && mount -t tmpfs -o size=512k tmpfs "$0" && exec "$@"';
  const main = join(packageRoot(), 'dist/cli/main.js');
  const child = spawn('unshare', ['-rm', 'sh', '-c', script, folder, process.execPath, main, ...parameters]);
  let stdout = '';
  let stderr = '';
  child.stdout.on('data', (chunk) => {
    stdout += chunk;
  });
  child.stderr.on('data', (chunk) => {
    stderr += chunk;
  });
  return new Promise((resolve) => child.once('close', (code) => resolve({ code, stdout, stderr })));
}
