import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { comparePictureOf, decodePicture } from '../../platform/checking/pictures.ts';
import type { VerifyTools } from '../../platform/checking/tools.ts';

const SIZE = { width: 40, height: 30 };
const FORMATS = ['png', 'jpeg', 'tiff', 'webp'] as const;

describe('delivered pictures', () => {
  let folder: string;
  const tools = { signal: new AbortController().signal } as Pick<VerifyTools, 'session' | 'signal'>;
  const noise = (offset = 0) =>
    Buffer.from(Array.from({ length: SIZE.width * SIZE.height * 3 }, (_, i) => (i * 7919 + offset) % 256));
  const encoded = (format: (typeof FORMATS)[number], data = noise()) =>
    sharp(data, { raw: { ...SIZE, channels: 3 } })
      .toFormat(format)
      .toBuffer();
  const decode = async (bytes: Buffer, format: (typeof FORMATS)[number], size = SIZE) => {
    const path = join(folder, 'picture');
    await writeFile(path, bytes);
    return await decodePicture(path, format, size, tools);
  };

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'tessera-test-'));
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));

  it.each(FORMATS)('in %s are read, and pass only against themselves', async (format) => {
    const picture = await decode(await encoded(format), format);
    const same = await decode(await encoded(format), format);
    const other = await decode(await encoded(format, noise(100)), format);
    expect(comparePictureOf(picture, same).outcome).toBe('pass');
    expect(comparePictureOf(picture, other).outcome).toBe('fail');
  });

  it.each(FORMATS)('in %s are refused as any other format, cut off, or of another size', async (format) => {
    const bytes = await encoded(format);
    for (const other of FORMATS.filter((name) => name !== format)) {
      await expect(decode(bytes, other)).rejects.toThrow(`it is no ${other}`);
    }
    await expect(decode(bytes.subarray(0, bytes.length >> 1), format)).rejects.toThrow(
      /cannot be decoded|is no/,
    );
    await expect(decode(bytes, format, { width: 41, height: 30 })).rejects.toThrow('40x30, not 41x30');
  });

  it('that are something else altogether never reach a decoder', async () => {
    const svg = Buffer.from('<svg xmlns="http://www.w3.org/2000/svg" width="40" height="30"/>');
    for (const format of FORMATS) await expect(decode(svg, format)).rejects.toThrow(`it is no ${format}`);
  });

  it('in EXR pass when their values are equal or nearly so', () => {
    const image = (factor: number) => {
      const data = Float32Array.from({ length: 4 * 1200 }, (_, i) => (i % 97) * factor);
      return { kind: 'pixels' as const, pixels: { ...SIZE, channels: ['A', 'B', 'G', 'R'], data } };
    };
    expect(comparePictureOf(image(1), image(1)).outcome).toBe('pass');
    expect(comparePictureOf(image(1), image(1.0005)).outcome).toBe('pass');
    expect(comparePictureOf(image(1), image(1.01)).outcome).toBe('fail');
  });
});
