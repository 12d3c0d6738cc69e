/** Pictures that tests of thumbnails, contact sheets and movies are about. */
import { writeFile } from 'node:fs/promises';
import { extname, join } from 'node:path';
import { deflateSync } from 'node:zlib';
import sharp from 'sharp';

export type Colour = { r: number; g: number; b: number; alpha?: number };

/** Far apart in every channel; saturated ones show a wrong matrix, the greys a wrong range. */
export const PATCHES: Colour[] = [
  { r: 255, g: 255, b: 255 },
  { r: 0, g: 0, b: 0 },
  { r: 128, g: 128, b: 128 },
  { r: 200, g: 30, b: 40 },
  { r: 40, g: 180, b: 60 },
  { r: 30, g: 60, b: 210 },
  { r: 230, g: 200, b: 20 },
  { r: 30, g: 30, b: 30 },
];
export const PATCH_SIDE = 32;

/** All patches side by side. */
export async function writePatches(path: string): Promise<void> {
  const width = PATCH_SIDE * PATCHES.length;
  const pixels = Buffer.alloc(width * PATCH_SIDE * 3);
  for (let index = 0; index < width * PATCH_SIDE; index++) {
    const { r, g, b } = PATCHES[Math.floor((index % width) / PATCH_SIDE)] ?? { r: 0, g: 0, b: 0 };
    pixels.set([r, g, b], index * 3);
  }
  const image = sharp(pixels, { raw: { width, height: PATCH_SIDE, channels: 3 } });
  const format = extname(path).slice(1);
  // Blender packs TIFF with deflate; the library's own choice would be JPEG.
  const packed =
    format === 'tiff'
      ? image.tiff({ compression: 'deflate' })
      : image.toFormat(format === 'jpg' ? 'jpeg' : format === 'webp' ? 'webp' : 'png');
  await packed.toFile(path);
}

/** A grey that tells which frame it is: neighbours are 9 steps apart, so coding noise never makes one the other. */
export const greyOf = (frame: number): number => 16 + ((frame * 9) % 220);

/** Frames in one grey each. */
export async function writeGreys(
  folder: string,
  numbers: readonly number[],
  size: { width: number; height: number } = { width: 64, height: 48 },
): Promise<{ frame: number; path: string }[]> {
  const frames = numbers.map((frame) => ({
    frame,
    path: join(folder, `shot_${String(frame).padStart(4, '0')}.png`),
  }));
  for (const { frame, path } of frames) {
    const grey = greyOf(frame);
    await sharp({ create: { ...size, channels: 3, background: { r: grey, g: grey, b: grey } } })
      .png()
      .toFile(path);
  }
  return frames;
}

/** Playlists that read a file of the host, named like frames. */
export const PLAYLISTS = {
  hls: '#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n',
  concat: 'ffconcat version 1.0\nfile /etc/passwd\n',
  // A PNG as far as its first bytes, for whoever looks no further.
  signed: '\x89PNG\r\n\x1a\n#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n',
};

/** A well-formed PNG of one colour that is small as a file and huge as a picture. */
export async function writeBomb(path: string, side: number): Promise<void> {
  const header = Buffer.alloc(13);
  header.writeUInt32BE(side, 0);
  header.writeUInt32BE(side, 4);
  // One bit a pixel, grey.
  header.set([1, 0, 0, 0, 0], 8);
  const rows = deflateSync(Buffer.alloc((1 + Math.ceil(side / 8)) * side));
  const signature = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
  await writeFile(
    path,
    Buffer.concat([signature, chunk('IHDR', header), chunk('IDAT', rows), chunk('IEND', Buffer.alloc(0))]),
  );
}

function chunk(type: string, data: Buffer): Buffer {
  const body = Buffer.concat([Buffer.from(type, 'latin1'), data]);
  const [length, check] = [Buffer.alloc(4), Buffer.alloc(4)];
  length.writeUInt32BE(data.length);
  check.writeUInt32BE(crc32(body));
  return Buffer.concat([length, body, check]);
}

function crc32(bytes: Buffer): number {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1;
  }
  return (crc ^ 0xffffffff) >>> 0;
}
