import { mkdir, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import sharp from 'sharp';
import { describe, expect, test } from 'vitest';
import { encodeMovie, type MovieOptions } from '../../platform/movies/encode-movie.ts';
import { extensionOf, MOVIE_FORMATS, type MovieFormat } from '../../platform/movies/formats.ts';
import { parseFrameRate } from '../../platform/movies/frame-rate.ts';
import { greyOf, PATCH_SIDE, PATCHES, writeGreys, writePatches } from '../looks/pictures.ts';
import { temporaryFolder } from '../render/support.ts';
import { decodedFrames, indexFirst, probe } from './probe.ts';

const { signal } = new AbortController();
const SIZE = { width: 64, height: 48 };

type Choices = Partial<Omit<MovieOptions, 'rate' | 'format'>> & { rate?: string; format?: MovieFormat };

async function encoded(folder: string, name: string, choices: Choices) {
  const { format = 'mp4', rate = '24', frames = [], ...rest } = choices;
  const output = join(folder, `${name}.${extensionOf(format)}`);
  const movie = await encodeMovie({ frames, format, rate: parseFrameRate(rate), output, signal, ...rest });
  return { movie, output, probed: await probe(output) };
}

async function numbered(folder: string, count: number, size = SIZE) {
  const input = join(folder, 'in');
  await mkdir(input, { recursive: true });
  return await writeGreys(
    input,
    Array.from({ length: count }, (_, index) => index + 1),
    size,
  );
}

const middleOf = (frame: Buffer | undefined, { width, height } = SIZE): number[] => [
  ...(frame ?? Buffer.alloc(0)).subarray((Math.floor(height / 2) * width + width / 2) * 4).subarray(0, 3),
];

describe.each(MOVIE_FORMATS)('%s', (format) => {
  test.each(['24', '24000/1001', '25', '30000/1001', '12.5'])(
    'at %s frames a second, in pieces: count, rate, times, order and pictures are exact',
    async (rate) => {
      await using folder = await temporaryFolder();
      const frames = await numbered(folder.path, 23);
      const { numerator, denominator } = parseFrameRate(rate);
      const whole = await encoded(folder.path, 'whole', {
        format,
        rate,
        frames,
        parallel: 1,
        groupFrames: 3,
      });
      const pieces = await encoded(folder.path, 'pieces', {
        format,
        rate,
        frames,
        parallel: 4,
        groupFrames: 3,
      });
      expect(whole.movie.pieces).toBe(1);
      expect(pieces.movie.pieces).toBe(4);
      for (const { probed, movie } of [whole, pieces]) {
        expect(probed.frames).toBe(23);
        expect(probed.r_frame_rate).toBe(`${numerator}/${denominator}`);
        expect(movie.seconds).toBeCloseTo((23 * denominator) / numerator, 9);
        // A container with whole milliseconds (webm) is at most half of one off; the others are exact.
        const slack = format === 'webm' ? probed.unitSeconds / 2 : 1e-9;
        for (const [index, seconds] of probed.seconds.entries()) {
          expect(Math.abs(seconds - (index * denominator) / numerator)).toBeLessThanOrEqual(slack + 1e-12);
        }
        expect(Math.abs(probed.durationSeconds - movie.seconds)).toBeLessThan(0.002);
      }
      expect(pieces.probed.pts).toEqual(whole.probed.pts);
      if (format !== 'webm') expect(pieces.probed.avg_frame_rate).toBe(`${numerator}/${denominator}`);
      // Every piece begins with a key frame: players can seek to it, joining needs no encoding.
      for (const first of [0, 6, 12, 18]) expect(pieces.probed.keyFrames).toContain(first);
      const [one, many] = [await decodedFrames(whole.output, SIZE), await decodedFrames(pieces.output, SIZE)];
      expect([one.length, many.length]).toEqual([23, 23]);
      for (let index = 0; index < 23; index++) {
        const grey = greyOf(index + 1);
        for (const frame of [one[index], many[index]]) {
          for (const value of middleOf(frame))
            expect(Math.abs(value - grey), `frame ${index}`).toBeLessThanOrEqual(3);
        }
      }
    },
  );

  test('shows the colours of the frames within 3 steps, and says how they are to be read', async () => {
    await using folder = await temporaryFolder();
    const path = join(folder.path, 'patches_0001.png');
    await writePatches(path);
    const size = { width: PATCH_SIDE * PATCHES.length, height: PATCH_SIDE };
    const { output, probed } = await encoded(folder.path, 'patches', {
      format,
      frames: [{ frame: 1, path }],
    });
    expect(probed).toMatchObject({ color_space: 'bt709', color_transfer: 'bt709', color_primaries: 'bt709' });
    // ProRes has no field for the range: it is limited by definition.
    if (format !== 'prores') expect(probed.color_range).toBe('tv');
    const [frame] = await decodedFrames(output, size);
    for (const [index, { r, g, b }] of PATCHES.entries()) {
      const at = ((PATCH_SIDE / 2) * size.width + (index + 0.5) * PATCH_SIDE) * 4;
      for (const [channel, value] of [r, g, b].entries()) {
        expect(
          Math.abs((frame?.[at + channel] ?? 0) - value),
          `patch ${index}, channel ${channel}`,
        ).toBeLessThanOrEqual(3);
      }
    }
  });
});

test('mp4 is H.264 4:2:0 with its index first; webm is VP9; ProRes is 422 HQ', async () => {
  await using folder = await temporaryFolder();
  const frames = await numbered(folder.path, 6);
  const mp4 = await encoded(folder.path, 'a', { frames, parallel: 1 });
  expect(mp4.probed).toMatchObject({ codec_name: 'h264', pix_fmt: 'yuv420p' });
  expect(indexFirst(await readFile(mp4.output))).toBe(true);
  const joined = await encoded(folder.path, 'b', { frames, parallel: 2, groupFrames: 1 });
  expect(joined.movie.pieces).toBe(2);
  expect(indexFirst(await readFile(joined.output))).toBe(true);
  const webm = await encoded(folder.path, 'c', { frames, format: 'webm' });
  expect(webm.probed).toMatchObject({ codec_name: 'vp9', pix_fmt: 'yuv420p' });
  const prores = await encoded(folder.path, 'd', { frames, format: 'prores' });
  expect(prores.probed).toMatchObject({ codec_name: 'prores', profile: 'HQ', pix_fmt: 'yuv422p10le' });
});

test('the same frames give the same file, and no name or time is in it', async () => {
  await using folder = await temporaryFolder();
  const frames = await numbered(folder.path, 4);
  const first = await encoded(folder.path, 'a', { frames });
  const second = await encoded(folder.path, 'b', { frames });
  const bytes = await readFile(first.output);
  expect(bytes.equals(await readFile(second.output))).toBe(true);
  expect(bytes.includes('shot_')).toBe(false);
});

describe('frames with an odd side', () => {
  test.each([
    ['mp4', 65, 49, 66, 50],
    ['webm', 65, 48, 66, 48],
    ['prores', 65, 49, 66, 49],
  ] as const)(
    'lose nothing in %s: the last column and row are there twice',
    async (format, width, height, wide, high) => {
      await using folder = await temporaryFolder();
      const frames = await numbered(folder.path, 2, { width, height });
      const { movie, probed, output } = await encoded(folder.path, 'odd', { format, frames });
      expect(probed).toMatchObject({ width: wide, height: high });
      expect(movie.notes).toEqual([expect.stringContaining(`${width}x${height} became ${wide}x${high}`)]);
      const [frame] = await decodedFrames(output, { width: wide, height: high });
      const corner = frame?.[(high * wide - 1) * 4] ?? 0;
      expect(Math.abs(corner - greyOf(1))).toBeLessThanOrEqual(3);
    },
  );
});

describe('frames with alpha', () => {
  async function halfRed(folder: string) {
    const path = join(folder, 'red_0001.png');
    await sharp({ create: { ...SIZE, channels: 4, background: { r: 200, g: 40, b: 40, alpha: 0.5 } } })
      .png()
      .toFile(path);
    return [{ frame: 1, path }];
  }

  test('keep it in ProRes 4444, colours not multiplied by it', async () => {
    await using folder = await temporaryFolder();
    const frames = await halfRed(folder.path);
    const { probed, movie, output } = await encoded(folder.path, 'alpha', { format: 'prores', frames });
    expect(probed).toMatchObject({ profile: '4444', pix_fmt: expect.stringContaining('yuva444p') });
    expect(movie.notes).toEqual([]);
    const [frame] = await decodedFrames(output, SIZE);
    const [r = 0, g = 0, b = 0, alpha = 0] = frame?.subarray(0, 4) ?? [];
    for (const [found, wanted] of [
      [r, 200],
      [g, 40],
      [b, 40],
      [alpha, 128],
    ] as const) {
      expect(Math.abs(found - wanted)).toBeLessThanOrEqual(3);
    }
  });

  test.each(['mp4', 'webm'] as const)('lie over black in %s, which is told', async (format) => {
    await using folder = await temporaryFolder();
    const frames = await halfRed(folder.path);
    const { movie, output } = await encoded(folder.path, 'black', { format, frames });
    expect(movie.notes).toEqual([expect.stringContaining('over black')]);
    const [frame] = await decodedFrames(output, SIZE);
    const [r = 0, g = 0] = frame?.subarray(0, 2) ?? [];
    expect(Math.abs(r - 100)).toBeLessThanOrEqual(3);
    expect(Math.abs(g - 20)).toBeLessThanOrEqual(3);
  });
});

describe('frames in other formats', () => {
  test.each(['jpg', 'tiff', 'webp'])('%s frames have their colours', async (extension) => {
    await using folder = await temporaryFolder();
    const path = join(folder.path, `patches_0001.${extension}`);
    await writePatches(path);
    const size = { width: PATCH_SIDE * PATCHES.length, height: PATCH_SIDE };
    const { output } = await encoded(folder.path, 'movie', { frames: [{ frame: 1, path }] });
    const [frame] = await decodedFrames(output, size);
    for (const [index, { r, g, b }] of PATCHES.entries()) {
      const at = ((PATCH_SIDE / 2) * size.width + (index + 0.5) * PATCH_SIDE) * 4;
      for (const [channel, value] of [r, g, b].entries()) {
        // JPEG and WebP round twice on the way.
        expect(
          Math.abs((frame?.[at + channel] ?? 0) - value),
          `patch ${index}, channel ${channel}`,
        ).toBeLessThanOrEqual(5);
      }
    }
  });
});

test('progress counts up to all frames, over all pieces', async () => {
  await using folder = await temporaryFolder();
  const frames = await numbered(folder.path, 12);
  const told: number[] = [];
  await encoded(folder.path, 'a', {
    ...{ frames, parallel: 2, groupFrames: 3 },
    onFrames: (done, total) => {
      expect(total).toBe(12);
      told.push(done);
    },
  });
  expect(told.at(-1)).toBe(12);
  expect([...told].sort((a, b) => a - b)).toEqual(told);
});

test('a movie that is there is replaced, and nothing else is left beside it', async () => {
  await using folder = await temporaryFolder();
  const frames = await numbered(folder.path, 6);
  await encoded(folder.path, 'a', { frames });
  await encoded(folder.path, 'a', { frames: frames.slice(0, 3), parallel: 2, groupFrames: 1 });
  expect((await probe(join(folder.path, 'a.mp4'))).frames).toBe(3);
  expect((await readdir(folder.path)).sort()).toEqual(['a.mp4', 'in']);
});
