import { execFile } from 'node:child_process';
import { readFile, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { cpuDeviceClass } from '../../platform/render/process/device-class.ts';
import type { RenderProgress } from '../../platform/render/runtime.ts';
import { createExchange } from '../../platform/render/session/exchange.ts';
import { sampleProgress } from '../../platform/render/session/sample-progress.ts';
import { Tail } from '../../platform/render/session/words.ts';
import { cut, temporaryFolder } from './support.ts';

const HERE = dirname(fileURLToPath(import.meta.url));
const VECTORS = join(HERE, '..', 'proof', 'vectors', 'pixels.json');

describe('canonical pixels', () => {
  it('are the same in Python and in TypeScript', async () => {
    await using folder = await temporaryFolder();
    const output = join(folder.path, 'out.json');
    const parameters = ['-b', '--factory-startup', '-noaudio', '--python-exit-code', '1', '--python'];
    await promisify(execFile)('blender', [
      ...parameters,
      join(HERE, 'check-vectors.py'),
      '--',
      VECTORS,
      output,
    ]);
    const expected = JSON.parse(await readFile(VECTORS, 'utf8')) as Record<string, unknown>[];
    expect(expected.length).toBeGreaterThan(0);
    expect(JSON.parse(await readFile(output, 'utf8'))).toEqual(
      expected.map(({ channels, canonical, digest }) => ({ channels, canonical, digest })),
    );
  });
});

describe('device class', () => {
  const avx2 = 'flags\t\t: fpu sse4_1 sse4_2 avx avx2 fma f16c bmi1 bmi2\n';
  it.each([
    [avx2, '3.4.1', false, 'cpu-avx2'],
    [avx2, '3.4.1', true, 'cpu-avx'],
    [avx2, '4.3.2', true, 'cpu-sse42'],
    ['flags : sse4_1 sse4_2 avx\n', '3.4.1', false, 'cpu-avx'],
    ['flags : sse4_1\n', '3.4.1', false, 'cpu-sse41'],
    ['flags : fpu\n', '3.4.1', false, 'cpu-sse2'],
    ['Features\t: fp asimd evtstrm\n', '4.3.2', false, 'cpu-neon'],
    ['', '4.3.2', false, 'cpu-generic'],
  ])('%j with Blender %s, without AVX2 %s: %s', (cpuInfo, version, without, expected) => {
    expect(cpuDeviceClass(cpuInfo, version, without)).toBe(expected);
  });
});

describe('exchange', () => {
  it('hands on plain files only', async () => {
    await using folder = await temporaryFolder();
    const exchange = await createExchange(folder.path);
    const secret = join(folder.path, 'secret');
    await writeFile(secret, 'secret');
    const [linked, absent, plain] = [1, 2, 3].map(() => exchange.outputPath('.exr')) as [
      string,
      string,
      string,
    ];
    const host = (inside: string) => inside.replace('/out', exchange.output);
    await symlink(secret, host(linked));
    await writeFile(host(plain), 'pixels');
    const destination = join(folder.path, 'taken.exr');
    await expect(exchange.takeOut(linked, destination)).rejects.toMatchObject({ code: 'RENDER_FAILED' });
    await expect(exchange.takeOut(absent, destination)).rejects.toMatchObject({ code: 'RENDER_FAILED' });
    await exchange.takeOut(plain, destination);
    expect(await readFile(destination, 'utf8')).toBe('pixels');
    const inside = await exchange.handIn(destination);
    expect(await readFile(inside.replace('/in', exchange.input), 'utf8')).toBe('pixels');
    await exchange.remove();
    expect(await readFile(secret, 'utf8')).toBe('secret');
  });

  it('finds a shorter place where the path would not fit a socket', async () => {
    await using folder = await temporaryFolder();
    const { mkdir } = await import('node:fs/promises');
    const deep = join(folder.path, 'x'.repeat(120));
    await mkdir(deep);
    const exchange = await createExchange(deep);
    expect(exchange.socketPath.length).toBeLessThan(108);
    await exchange.remove();
  });
});

describe('last words', () => {
  it('are bounded and leave out the noise', () => {
    fc.assert(
      fc.property(fc.array(fc.string()), (chunks) => {
        const tail = new Tail();
        for (const chunk of chunks) tail.add(chunk);
        return tail.text.length <= 8192 && tail.lastWords().length <= 600;
      }),
    );
    const tail = new Tail();
    tail.add('Blender 3.4.1\nFra:1 Mem:1M\nError: out of memory\n\nBlender quit\n');
    expect(tail.lastWords()).toBe('Error: out of memory');
  });
});

describe('cut (of the tests)', () => {
  it('covers every pixel once', () => {
    const side = fc.integer({ min: 1, max: 200 });
    fc.assert(
      fc.property(
        side,
        side,
        fc.integer({ min: 1, max: 9 }),
        fc.integer({ min: 1, max: 9 }),
        (width, height, c, r) => {
          fc.pre(c <= width && r <= height);
          const tiles = cut({ x: 3, y: 4, width, height }, c, r);
          const area = tiles.reduce((sum, tile) => sum + tile.width * tile.height, 0);
          return area === width * height && tiles.every((tile) => tile.width > 0 && tile.height > 0);
        },
      ),
    );
  });
});

describe('sample progress', () => {
  it('counts the layers, never goes back, and is not said too often', () => {
    const seen: { fraction: number; note: string }[] = [];
    let clock = 0;
    const onLine = sampleProgress(
      ['A', 'B'],
      (progress) => seen.push(progress),
      () => clock,
    );
    const say = (layer: string, words: string) => {
      clock += 200;
      onLine(`Fra:1 Mem:1M (Peak 1M) | Time:00:01 | Mem:1M, Peak:1M | Scene, ${layer} | ${words}`);
    };
    say('A', 'Updating Lights');
    say('A', 'Sample 8/16');
    onLine('Fra:1 | Scene, A | Sample 9/16');
    say('B', 'Synchronizing object');
    say('A', 'Sample 1/16');
    say('B', 'Sample 16/16');
    onLine('evil Sample 1/0');
    expect(seen.map((progress) => progress.fraction)).toEqual([0, 0.25, 0.5, 0.5, 1]);
    expect(seen[1]?.note).toBe('Sample 8/16');
  });

  it('tells samples, the time that is left and the memory, where Blender prints them', () => {
    const seen: RenderProgress[] = [];
    let clock = 0;
    const onLine = sampleProgress(
      ['ViewLayer'],
      (progress) => seen.push(progress),
      () => (clock += 200),
    );
    onLine(
      'Fra:7 Mem:9.50M (Peak 12.00M) | Time:00:01.20 | Remaining:01:03.50 | Mem:2.25M, Peak:3M | Scene, ViewLayer | Sample 16/64',
    );
    onLine('Fra:7 Mem:9.50M (Peak 12.00M) | Time:00:00.01 | Syncing Cube');
    onLine('Fra:7 Mem:1.2.3M | Remaining:::.:: | Scene, ViewLayer | Sample 99999999999999999999/1');
    expect(seen[0]).toEqual({
      fraction: 0.25,
      note: 'Sample 16/64',
      samples: { done: 16, of: 64 },
      remainingMs: 63_500,
      memoryBytes: 11.75 * 1024 ** 2,
    });
    expect(seen[1]).toEqual({ fraction: 0.25, note: 'Syncing Cube', memoryBytes: 9.5 * 1024 ** 2 });
    expect(seen[2]).toMatchObject({ fraction: 0.25 });
    expect(seen[2]?.samples).toBeUndefined();
  });
});
