import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import sharp from 'sharp';
import { describe, expect, test } from 'vitest';
import { readPictureHeader } from '../../platform/looks/picture-header.ts';
import { makeThumbnail } from '../../platform/looks/thumbnail.ts';
import { temporaryFolder } from '../render/support.ts';
import { PATCH_SIDE, PATCHES, PLAYLISTS, writeBomb, writePatches } from './pictures.ts';

describe('a thumbnail', () => {
  test('is a WebP with the long side that was asked for, in the colours of the frame, without its metadata', async () => {
    await using folder = await temporaryFolder();
    const path = join(folder.path, 'frame.png');
    const patches = join(folder.path, 'patches.png');
    await writePatches(patches);
    await sharp(patches)
      .withExif({ IFD0: { Artist: 'somebody' } })
      .withIccProfile('p3')
      .toFile(path);
    const { webp, width, height } = await makeThumbnail(path, 128);
    const found = await sharp(webp).metadata();
    expect(found).toMatchObject({ format: 'webp', width: 128, height: 16 });
    expect({ width, height }).toEqual({ width: 128, height: 16 });
    expect(found.exif).toBeUndefined();
    expect(found.icc).toBeUndefined();
    const { data, info } = await sharp(webp).removeAlpha().raw().toBuffer({ resolveWithObject: true });
    for (const [index, { r, g, b }] of PATCHES.entries()) {
      const at = (8 * info.width + index * 16 + 8) * 3;
      for (const [channel, value] of [r, g, b].entries()) {
        expect(Math.abs((data[at + channel] ?? 0) - value), `patch ${index}`).toBeLessThanOrEqual(6);
      }
    }
  });

  test('is never larger than the frame, and keeps what is transparent', async () => {
    await using folder = await temporaryFolder();
    const path = join(folder.path, 'small.png');
    await sharp({
      create: { width: 20, height: 10, channels: 4, background: { r: 255, g: 0, b: 0, alpha: 0.5 } },
    })
      .png()
      .toFile(path);
    const { webp, width } = await makeThumbnail(path, 200);
    expect(width).toBe(20);
    const { data } = await sharp(webp).raw().toBuffer({ resolveWithObject: true });
    expect(data[3]).toBeGreaterThan(120);
    expect(data[3]).toBeLessThan(136);
  });

  test('of a 16-bit frame has 8 bits', async () => {
    await using folder = await temporaryFolder();
    const path = join(folder.path, 'deep.png');
    await sharp(Buffer.from(new Uint16Array(8 * 8 * 3).fill(32_896).buffer), {
      raw: { width: 8, height: 8, channels: 3, depth: 'ushort' } as never,
    })
      .toColourspace('rgb16')
      .png()
      .toFile(path);
    expect(await readPictureHeader(path)).toMatchObject({ deep: true, width: 8 });
    const { webp } = await makeThumbnail(path, 8);
    const { data } = await sharp(webp).raw().toBuffer({ resolveWithObject: true });
    expect(Math.abs((data[0] ?? 0) - 128)).toBeLessThanOrEqual(2);
  });
});

describe('a file that is no frame', () => {
  test.each(Object.entries(PLAYLISTS))(
    'a %s playlist with the name of a PNG is refused',
    async (_name, text) => {
      await using folder = await temporaryFolder();
      const path = join(folder.path, 'frame_0001.png');
      await writeFile(path, text, 'latin1');
      await expect(makeThumbnail(path, 64)).rejects.toMatchObject({
        code: 'PICTURE_UNREADABLE',
        message: expect.stringContaining(path),
      });
    },
  );

  test('30,000 x 30,000 pixels in a small file are refused before anything is decoded', async () => {
    await using folder = await temporaryFolder();
    const path = join(folder.path, 'frame_0001.png');
    await writeBomb(path, 30_000);
    expect((await readFile(path)).length).toBeLessThan(1_000_000);
    await expect(makeThumbnail(path, 64)).rejects.toMatchObject({
      code: 'TOO_LARGE',
      message: expect.stringContaining('30000x30000'),
    });
  });

  test('an SVG, which libraries for pictures would draw, is refused', async () => {
    await using folder = await temporaryFolder();
    const path = join(folder.path, 'frame_0001.png');
    await writeFile(
      path,
      '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><image href="/etc/passwd"/></svg>',
    );
    await expect(makeThumbnail(path, 64)).rejects.toMatchObject({ code: 'PICTURE_UNREADABLE' });
  });

  test.each(['png', 'jpg', 'tiff', 'webp'])('a %s that was cut off is refused', async (extension) => {
    await using folder = await temporaryFolder();
    const path = join(folder.path, `frame.${extension}`);
    await writePatches(path);
    const whole = await readFile(path);
    await expect(makeThumbnail(path, 64)).resolves.toMatchObject({ width: 64 });
    await writeFile(path, whole.subarray(0, Math.floor(whole.length * 0.6)));
    await expect(makeThumbnail(path, 64)).rejects.toMatchObject({ code: 'PICTURE_UNREADABLE' });
  });

  test('a folder and a file that is not there are told apart from pictures', async () => {
    await using folder = await temporaryFolder();
    await expect(readPictureHeader(folder.path)).rejects.toMatchObject({ code: 'PICTURE_UNREADABLE' });
    await expect(readPictureHeader(join(folder.path, 'no.png'))).rejects.toMatchObject({
      code: 'PICTURE_UNREADABLE',
      message: expect.stringContaining('ENOENT'),
    });
  });
});

test('the patches are as wide as the tests say', async () => {
  await using folder = await temporaryFolder();
  await writePatches(join(folder.path, 'p.png'));
  expect(await readPictureHeader(join(folder.path, 'p.png'))).toMatchObject({
    width: PATCH_SIDE * PATCHES.length,
    height: PATCH_SIDE,
    hasAlpha: false,
    deep: false,
  });
});
