import { mkdir, readdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import sharp from 'sharp';
import { describe, expect, test } from 'vitest';
import { encodeMovie, type MovieOptions } from '../../platform/movies/encode-movie.ts';
import { findFfmpeg, INPUT, OUTPUT, runFfmpeg } from '../../platform/movies/ffmpeg.ts';
import { requireFrames } from '../../platform/movies/footage.ts';
import { inputArguments, inputFile } from '../../platform/movies/formats.ts';
import { PLAYLISTS, writeBomb, writeGreys, writePatches } from '../looks/pictures.ts';
import { temporaryFolder } from '../render/support.ts';
import { processesWith } from '../support/command.ts';

const { signal } = new AbortController();
const rate = { numerator: 24, denominator: 1 };
const LIMITS = { fileBytes: 2 ** 30, addressSpaceBytes: 8 * 2 ** 30 };

async function shots(folder: string, count: number) {
  const input = join(folder, 'in');
  await mkdir(input);
  const frames = await writeGreys(
    input,
    Array.from({ length: count }, (_, index) => index + 1),
  );
  const encode = (options: Partial<MovieOptions> = {}) =>
    encodeMovie({ frames, format: 'mp4', rate, signal, output: join(folder, 'movie.mp4'), ...options });
  /** What is in the folder besides the frames: nothing, where an encode failed. */
  const leftOvers = async () => (await readdir(folder)).filter((name) => name !== 'in');
  return { frames, encode, leftOvers, pathOf: (frame: number) => frames[frame - 1]?.path ?? '' };
}

describe('a hostile frame', () => {
  test.each(Object.entries(PLAYLISTS))(
    'that is a %s playlist is named, and nothing is read through it',
    async (_name, text) => {
      await using folder = await temporaryFolder();
      const { encode, leftOvers, pathOf } = await shots(folder.path, 3);
      await writeFile(pathOf(2), text, 'latin1');
      await expect(encode()).rejects.toMatchObject({
        code: 'PICTURE_UNREADABLE',
        message: expect.stringContaining(pathOf(2)),
      });
      expect(await leftOvers()).toEqual([]);
    },
  );

  // The second line of defence: what ffmpeg itself would do with such a file, were it ever handed one.
  test.each(Object.entries(PLAYLISTS))(
    'that is a %s playlist is not followed by ffmpeg either',
    async (_name, text) => {
      await using folder = await temporaryFolder();
      const { encode, leftOvers, pathOf } = await shots(folder.path, 1);
      await writeFile(pathOf(1), text, 'latin1');
      await writeFile(join(folder.path, 'in', inputFile(0, 'png')), text, 'latin1');
      const tools = await findFfmpeg();
      const output = join(folder.path, 'out');
      await mkdir(output);
      const footage = { format: 'png', width: 64, height: 48, hasAlpha: false, deep: false } as const;
      const result = await runFfmpeg(tools, {
        ...{ input: join(folder.path, 'in'), output, limits: LIMITS, signal },
        parameters: [
          ...inputArguments({ footage, rate, first: 0, folder: INPUT }),
          ...['-f', 'rawvideo', `${OUTPUT}/stolen`],
        ],
      });
      expect(result.frames).toBe(0);
      const stolen = await readFile(join(output, 'stolen')).catch(() => Buffer.alloc(0));
      expect(stolen.length).toBe(0);
      await expect(encode()).rejects.toMatchObject({ code: 'PICTURE_UNREADABLE' });
      expect(await leftOvers()).toEqual(['out']);
    },
  );

  test('of 30,000 x 30,000 pixels is refused with its size', async () => {
    await using folder = await temporaryFolder();
    const { encode, leftOvers, pathOf } = await shots(folder.path, 2);
    await writeBomb(pathOf(2), 30_000);
    await expect(encode()).rejects.toMatchObject({
      code: 'TOO_LARGE',
      message: expect.stringContaining('30000x30000'),
    });
    expect(await leftOvers()).toEqual([]);
  });

  test.each(['png', 'jpg', 'webp', 'tiff'])(
    'that is a %s cut off in the middle is named',
    async (extension) => {
      await using folder = await temporaryFolder();
      const frames = [1, 2, 3].map((frame) => ({
        frame,
        path: join(folder.path, `p_${frame}.${extension}`),
      }));
      for (const { path } of frames) await writePatches(path);
      const bad = frames[1]?.path ?? '';
      const bytes = await readFile(bad);
      await writeFile(bad, bytes.subarray(0, Math.floor(bytes.length * 0.6)));
      const output = join(folder.path, 'movie.mp4');
      await expect(encodeMovie({ frames, format: 'mp4', rate, signal, output })).rejects.toMatchObject({
        code: 'PICTURE_UNREADABLE',
        message: expect.stringContaining(bad),
      });
      await expect(readFile(output)).rejects.toMatchObject({ code: 'ENOENT' });
    },
  );

  test('whose data is damaged in the middle is found among many, in whichever piece it lies', async () => {
    await using folder = await temporaryFolder();
    const { encode, leftOvers, pathOf } = await shots(folder.path, 16);
    const noise = Buffer.from(Array.from({ length: 64 * 48 * 3 }, (_, index) => (index * 7919) % 251));
    await sharp(noise, { raw: { width: 64, height: 48, channels: 3 } })
      .png()
      .toFile(pathOf(11));
    const bytes = await readFile(pathOf(11));
    bytes.fill(0xa5, Math.floor(bytes.length / 2), Math.floor(bytes.length / 2) + 32);
    await writeFile(pathOf(11), bytes);
    await expect(encode({ parallel: 4, groupFrames: 2 })).rejects.toMatchObject({
      code: 'PICTURE_UNREADABLE',
      message: expect.stringContaining(`frame 11 (${pathOf(11)})`),
    });
    expect(await leftOvers()).toEqual([]);
  });
});

describe('the bubble around ffmpeg', () => {
  test.each([
    ['a file of the host', ['-f', 'data', '-i', '/etc/passwd']],
    ['a folder above the frames', ['-f', 'data', '-i', `${INPUT}/../etc/passwd`]],
  ])('has nothing of %s', async (_what, input) => {
    await using folder = await temporaryFolder();
    const output = join(folder.path, 'out');
    await mkdir(output);
    const result = await runFfmpeg(await findFfmpeg(), {
      ...{ input: folder.path, output, limits: LIMITS, signal },
      parameters: [...input, '-map', '0', '-c', 'copy', '-f', 'data', `${OUTPUT}/stolen`],
    });
    expect(result.ok).toBe(false);
    expect(result.words).toMatch(/No such file|refused|unreachable|error/i);
    await expect(readFile(join(output, 'stolen'))).rejects.toMatchObject({ code: 'ENOENT' });
  });

  test('has no network: a server of this machine hears nothing', async () => {
    await using folder = await temporaryFolder();
    let heard = 0;
    const server = createServer((socket) => {
      heard += 1;
      socket.destroy();
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const address = server.address();
    const port = typeof address === 'object' ? address?.port : 0;
    const result = await runFfmpeg(await findFfmpeg(), {
      ...{ input: folder.path, limits: LIMITS, signal },
      parameters: ['-f', 'mpegts', '-i', `tcp://127.0.0.1:${port}?timeout=1000000`, '-f', 'null', '-'],
    });
    await new Promise((resolve) => server.close(resolve));
    expect(result.ok).toBe(false);
    expect(heard).toBe(0);
  });

  test('lets it read the frames and write one folder, and nothing else', async () => {
    await using folder = await temporaryFolder();
    const { frames } = await shots(folder.path, 1);
    const run = (target: string) =>
      findFfmpeg().then((tools) =>
        runFfmpeg(tools, {
          ...{ input: join(folder.path, 'in'), output: folder.path, limits: LIMITS, signal },
          parameters: [
            '-f',
            'image2',
            '-pattern_type',
            'none',
            '-c:v',
            'png',
            '-i',
            `${INPUT}/shot_0001.png`,
            '-f',
            'rawvideo',
            target,
          ],
        }),
      );
    expect(frames).toHaveLength(1);
    expect(await run(`${OUTPUT}/raw`)).toMatchObject({ ok: true, frames: 1 });
    expect((await run(`${INPUT}/raw`)).words).toMatch(/Read-only file system/);
    expect((await run('/usr/raw')).words).toMatch(/Read-only file system/);
    expect(await readdir(join(folder.path, 'in'))).toEqual(['shot_0001.png']);
  });

  test('ends a file that grows past its limit', async () => {
    await using folder = await temporaryFolder();
    const output = join(folder.path, 'out');
    await mkdir(output);
    const result = await runFfmpeg(await findFfmpeg(), {
      ...{ input: folder.path, output, limits: { ...LIMITS, fileBytes: 100_000 }, signal },
      parameters: [
        '-f',
        'lavfi',
        '-i',
        'color=s=320x240:r=24',
        '-frames:v',
        '100',
        '-f',
        'rawvideo',
        `${OUTPUT}/big`,
      ],
    });
    expect(result.ok).toBe(false);
    expect((await readFile(join(output, 'big'))).length).toBeLessThanOrEqual(100_000);
  });
});

describe('frames that do not belong together', () => {
  test('of different sizes are refused with both', async () => {
    await using folder = await temporaryFolder();
    const { encode, leftOvers } = await shots(folder.path, 3);
    await writeGreys(join(folder.path, 'in'), [2], { width: 80, height: 48 });
    await expect(encode()).rejects.toMatchObject({
      code: 'FRAMES_DIFFER',
      message: 'frame 2 is 80x48 PNG, frame 1 is 64x48 PNG',
    });
    expect(await leftOvers()).toEqual([]);
  });

  test('that are missing are named, with what to do', () => {
    expect(() => requireFrames([1, 2, 3, 4], new Set([1, 3]))).toThrow(
      expect.objectContaining({ code: 'FRAMES_MISSING', message: '2 of 4 frames are missing: 2, 4' }),
    );
    const many = Array.from({ length: 100 }, (_, index) => index);
    expect(() => requireFrames(many, new Set())).toThrow(/0, 1, .*, 11 and 88 more$/);
    expect(requireFrames([1, 2], new Set([1, 2, 3]))).toBeUndefined();
  });

  test('of no number at all are refused', async () => {
    await using folder = await temporaryFolder();
    const { encode } = await shots(folder.path, 1);
    await expect(encode({ frames: [] })).rejects.toMatchObject({ code: 'FRAMES_MISSING' });
  });
});

describe('a machine', () => {
  test('without ffmpeg is told the package', async () => {
    await using folder = await temporaryFolder();
    await symlink('/usr/bin/bwrap', join(folder.path, 'bwrap'));
    await expect(findFfmpeg([folder.path])).rejects.toMatchObject({
      code: 'FFMPEG_NOT_FOUND',
      help: expect.stringContaining('apt-get install ffmpeg'),
    });
  });

  test('without bubblewrap encodes nothing', async () => {
    await using folder = await temporaryFolder();
    await expect(findFfmpeg([folder.path])).rejects.toMatchObject({ code: 'SANDBOX_NOT_FOUND' });
  });
});

describe('stopping', () => {
  test('ends every encoder at once and leaves nothing behind', async () => {
    await using folder = await temporaryFolder();
    const { frames, leftOvers } = await shots(folder.path, 1);
    // One picture, hundreds of times: an encode that lasts, of frames that cost nothing to make.
    const [one] = await writeGreys(join(folder.path, 'in'), [1], { width: 1_280, height: 720 });
    const many = Array.from({ length: 600 }, (_, index) => ({ frame: index + 1, path: one?.path ?? '' }));
    expect(frames).toHaveLength(1);
    const stopping = new AbortController();
    const encoding = encodeMovie({
      ...{ frames: many, format: 'webm', rate, parallel: 2, groupFrames: 24 },
      ...{ output: join(folder.path, 'movie.webm'), signal: stopping.signal },
      onFrames: () => stopping.abort(),
    });
    await expect(encoding).rejects.toMatchObject({ code: 'INTERRUPTED' });
    expect(await leftOvers()).toEqual([]);
    expect(await processesWith(folder.path)).toEqual([]);
  });

  test('before it began does nothing', async () => {
    await using folder = await temporaryFolder();
    const { encode, leftOvers } = await shots(folder.path, 1);
    await expect(encode({ signal: AbortSignal.abort() })).rejects.toMatchObject({ code: 'INTERRUPTED' });
    expect(await leftOvers()).toEqual([]);
  });
});
