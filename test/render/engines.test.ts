/** Which engine a job gets, from the scene's first bytes to the list of what there is. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseHeader, readSavedWith } from '../../platform/render/blend-header.ts';
import { chooseEngine, isOlder } from '../../platform/render/choose-engine.ts';
import { findEngines } from '../../platform/render/engines.ts';
import { compareVersions } from '../../platform/render/images/list.ts';
import type { EngineInfo } from '../../platform/render/runtime.ts';
import { sample } from '../support/farm.ts';

const { signal } = new AbortController();

function engine(version: string, runtime: EngineInfo['runtime'] = 'process'): EngineInfo {
  const id = runtime === 'docker' ? `blender-${version}@sha256:0123456789ab` : `blender-${version}`;
  return { id, version, deviceClass: 'cpu-avx2', runtime };
}

describe('the header of a .blend file', () => {
  it.each([
    ['BLENDER-v304RENDH', { major: 3, minor: 4 }],
    ['BLENDER_V279REND', { major: 2, minor: 79 }],
    ['BLENDER17-01v0500', { major: 5, minor: 0 }],
    ['BLENDER-v30', null],
    ['BLENDERxv304', null],
    ['', null],
  ])('%j', (text, expected) => {
    expect(parseHeader(Buffer.from(text))).toEqual(expected);
  });

  it('is read from plain and gzip files; of anything else nothing is claimed', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'tessera-test-'));
    const path = join(folder, 'a.blend');
    const of = async (bytes: Uint8Array) => {
      await writeFile(path, bytes);
      return await readSavedWith(path);
    };
    try {
      // The samples are compressed by zstd.
      expect(await readSavedWith(sample('turntable'))).toBeNull();
      const body = Buffer.concat([Buffer.from('BLENDER-v279'), Buffer.alloc(100_000, 7)]);
      expect(await of(gzipSync(body))).toEqual({ major: 2, minor: 79 });
      expect(await of(gzipSync(Buffer.alloc(2 ** 26)))).toBeNull();
      expect(await of(Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 1, 2, 3]))).toBeNull();
      expect(await of(Buffer.from([0x1f, 0x8b]))).toBeNull();
      expect(await of(Buffer.alloc(0))).toBeNull();
      await fc.assert(
        fc.asyncProperty(fc.uint8Array({ maxLength: 300 }), fc.boolean(), async (bytes, gzip) => {
          const head = gzip ? Buffer.concat([Buffer.from([0x1f, 0x8b, 8]), bytes]) : bytes;
          expect(await of(head)).toBeNull();
        }),
        { numRuns: 50 },
      );
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });
});

describe('the choice of an engine', () => {
  const engines = [engine('4.3.2', 'docker'), engine('3.4.1'), engine('3.6.5'), engine('3.6.2', 'docker')];
  const choose = (saved: string | null, wanted = 'auto', from = engines) => {
    const [major = 0, minor = 0] = (saved ?? '').split('.').map(Number);
    return chooseEngine(saved === null ? null : { major, minor }, from, wanted).id;
  };

  it.each([
    ['3.4', 'blender-3.4.1'],
    ['3.6', 'blender-3.6.5'],
    ['3.5', 'blender-3.6.5'],
    ['2.79', 'blender-3.4.1'],
    ['4.0', 'blender-4.3.2@sha256:0123456789ab'],
    [null, 'blender-4.3.2@sha256:0123456789ab'],
  ])('for a scene of %s is %s', (saved, expected) => {
    expect(choose(saved)).toBe(expected);
  });

  it('prefers the container where both have the same Blender', () => {
    const both = [engine('4.3.2'), engine('4.3.2', 'docker')];
    expect(choose('4.3', 'auto', both)).toBe('blender-4.3.2@sha256:0123456789ab');
    expect(choose('4.3', '4.3', both)).toBe('blender-4.3.2@sha256:0123456789ab');
  });

  it('takes what was asked for, by id, by version and by major and minor', () => {
    for (const wanted of ['blender-3.6.2@sha256:0123456789ab', '3.6.2']) {
      expect(choose('4.0', wanted)).toBe('blender-3.6.2@sha256:0123456789ab');
    }
    expect(choose('4.0', '3.6')).toBe('blender-3.6.5');
    expect(isOlder(engine('3.6.5'), { major: 4, minor: 0 })).toBe(true);
  });

  it.each([
    ['4.4', 'auto'],
    ['3.4', '3.5'],
    ['3.4', '4.3.1'],
    ['3.4', '3'.repeat(100)],
  ])('for a scene of %s and %s there is none, and the error lists what there is', (saved, wanted) => {
    expect(() => choose(saved, wanted)).toThrowError(
      expect.objectContaining({
        code: 'ENGINE_NOT_FOUND',
        message: expect.stringContaining('blender-3.4.1'),
      }),
    );
  });

  it('by auto is never older than the scene, and none nearer exists', () => {
    const version = fc.tuple(fc.nat(5), fc.nat(9), fc.nat(9)).map((parts) => parts.join('.'));
    fc.assert(
      fc.property(fc.array(version, { maxLength: 6 }), fc.nat(5), fc.nat(9), (versions, major, minor) => {
        const least = `${major}.${minor}.0`;
        const able = versions.filter((one) => compareVersions(one, least) >= 0);
        const run = () =>
          chooseEngine(
            { major, minor },
            versions.map((one) => engine(one)),
            'auto',
          );
        if (able.length === 0) return void expect(run).toThrow();
        const minors = able.map((one) => one.split('.').slice(0, 2).join('.'));
        const nearest = able.sort(compareVersions)[0]?.split('.').slice(0, 2).join('.') ?? '';
        expect(minors).toContain(nearest);
        expect(run().version.startsWith(`${nearest}.`)).toBe(true);
      }),
    );
  });
});

describe('the engines of a machine', () => {
  const base = { signal, tempFolder: tmpdir() };
  const dockerSocketPath = '/nonexistent/docker.sock';

  it('are the local Blender and every image', async () => {
    const found = (await findEngines({ ...base, choice: 'auto' })).map(({ engine: { id, runtime } }) => [
      id,
      runtime,
    ]);
    expect(found.at(-1)).toEqual([expect.stringMatching(/^blender-[\d.]+$/), 'process']);
    expect(found[0]).toEqual([expect.stringMatching(/^blender-[\d.]+@sha256:[0-9a-f]{12}$/), 'docker']);
    const local = await findEngines({ ...base, choice: 'process' });
    expect(local.map((runtime) => runtime.engine.runtime)).toEqual(['process']);
  });

  it('are the local Blender alone where no Docker answers, unless Docker was asked for', async () => {
    const found = await findEngines({ ...base, choice: 'auto', dockerSocketPath });
    expect(found.map((runtime) => runtime.engine.runtime)).toEqual(['process']);
    await expect(findEngines({ ...base, choice: 'docker', dockerSocketPath })).rejects.toMatchObject({
      code: 'DOCKER_UNAVAILABLE',
    });
  });

  it('do without a local Blender, but not without one that was named', async () => {
    await expect(
      findEngines({ ...base, choice: 'auto', blenderPath: '/nonexistent/blender' }),
    ).rejects.toMatchObject({ code: 'BLENDER_NOT_FOUND' });
  });
});
