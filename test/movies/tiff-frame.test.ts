import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import sharp, { type TiffOptions } from 'sharp';
import { describe, expect, test } from 'vitest';
import { encodeMovie } from '../../platform/movies/encode-movie.ts';
import { unreadableTiff } from '../../platform/movies/tiff-frame.ts';
import { temporaryFolder } from '../render/support.ts';
import { decodedFrames } from './probe.ts';

const { signal } = new AbortController();
const rate = { numerator: 24, denominator: 1 };
const SIZE = { width: 64, height: 48 };

async function movieOf(folder: string, options: TiffOptions) {
  const path = join(folder, 'p_1.tiff');
  const orange = { r: 200, g: 120, b: 40 };
  await sharp({ create: { ...SIZE, channels: 3, background: orange } })
    .tiff(options)
    .toFile(path);
  const output = join(folder, 'movie.mp4');
  const made = encodeMovie({ frames: [{ frame: 1, path }], format: 'mp4', rate, signal, output });
  return { path, output, made };
}

describe('a TIFF frame', () => {
  test.each(['none', 'lzw', 'deflate', 'packbits'] as const)(
    'with %s compression has its colours',
    async (compression) => {
      await using folder = await temporaryFolder();
      const { output, made } = await movieOf(folder.path, { compression });
      await made;
      const [frame] = await decodedFrames(output, SIZE);
      const [red = 0, green = 0, blue = 0] = frame ?? [];
      expect(Math.abs(red - 200)).toBeLessThan(5);
      expect(Math.abs(green - 120)).toBeLessThan(5);
      expect(Math.abs(blue - 40)).toBeLessThan(5);
    },
  );

  test.each<[string, TiffOptions]>([
    ['compressed as JPEG', { compression: 'jpeg' }],
    ['compressed as WebP', { compression: 'webp' }],
    ['stored in tiles', { compression: 'deflate', tile: true, tileWidth: 16, tileHeight: 16 }],
    ['stored in tiles', { compression: 'jpeg', tile: true, tileWidth: 16, tileHeight: 16 }],
  ])('%s is refused with what to save it as, and is not a black picture', async (how, options) => {
    await using folder = await temporaryFolder();
    const { path, made } = await movieOf(folder.path, options);
    await expect(made).rejects.toMatchObject({
      code: 'PICTURE_UNREADABLE',
      message: expect.stringMatching(new RegExp(`^frame 1 \\(${path}\\) .*${how}.*save the frames as PNG`)),
      kept: expect.stringContaining('no movie was made'),
    });
  });

  test.each([
    ['cut off in its header', Buffer.from('49492a00', 'hex')],
    ['whose tags lie behind its end', Buffer.from('49492a00ffffffff', 'hex')],
    ['with more tags said than there', Buffer.from('4d4d002a00000008ffff01', 'hex')],
  ])('%s is left to the decoder', async (_what, bytes) => {
    await using folder = await temporaryFolder();
    const path = join(folder.path, 'p.tiff');
    await writeFile(path, bytes);
    expect(await unreadableTiff(path)).toBeUndefined();
  });

  test('is understood in both orders of bytes', async () => {
    await using folder = await temporaryFolder();
    const path = join(folder.path, 'p.tiff');
    // One tag: 259, a number of two bytes, one of them: 7.
    await writeFile(path, Buffer.from('4d4d002a0000000800010103000300000001000700000000', 'hex'));
    expect(await unreadableTiff(path)).toBe('compressed as JPEG');
    await writeFile(path, Buffer.from('49492a000800000001000301030001000000070000000000', 'hex'));
    expect(await unreadableTiff(path)).toBe('compressed as JPEG');
  });
});
