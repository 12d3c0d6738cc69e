/** Small pictures of finished frames. The frames come from nodes: size, kind and time are limited before decoding. */
import sharp, { type Sharp } from 'sharp';
import { FarmError, isFarmError } from '../../protocol/errors.ts';
import { MAX_PICTURE_PIXELS, readPictureHeader } from './picture-header.ts';

/** A frame at the limit of pixels takes seconds; a decoder that needs this long is being fooled. */
const DECODE_SECONDS = 120;
/** At thumbnail size the eye sees no difference to the original from here on. */
const WEBP_QUALITY = 85;

// Every frame is read once, and a file that was rendered again must not come out of a cache.
sharp.cache(false);

export type Thumbnail = { webp: Buffer; width: number; height: number };
export type ScaledPicture = { rgba: Buffer; width: number; height: number };

/** The picture as WebP with `longSide` pixels (never enlarged), sRGB, alpha kept, without any metadata. */
export async function makeThumbnail(path: string, longSide: number): Promise<Thumbnail> {
  return await decoding(path, async (picture) => {
    const { data, info } = await picture
      .resize({ width: longSide, height: longSide, fit: 'inside', withoutEnlargement: true })
      .webp({ quality: WEBP_QUALITY, smartSubsample: true })
      .toBuffer({ resolveWithObject: true });
    return { webp: data, width: info.width, height: info.height };
  });
}

/** The picture's pixels at the largest size that fits, never enlarged. */
export async function scaledPicture(
  path: string,
  box: { width: number; height: number },
): Promise<ScaledPicture> {
  return await decoding(path, async (picture) => {
    const { data, info } = await picture
      .resize({ ...box, fit: 'inside', withoutEnlargement: true })
      .ensureAlpha()
      .raw({ depth: 'uchar' })
      .toBuffer({ resolveWithObject: true });
    return { rgba: data, width: info.width, height: info.height };
  });
}

/** PICTURE_UNREADABLE names the file, whatever stands in the way. */
async function decoding<T>(path: string, work: (picture: Sharp) => Promise<T>): Promise<T> {
  const { format } = await readPictureHeader(path);
  if (format === 'exr') {
    throw new FarmError(
      'PICTURE_UNREADABLE',
      `${path} is an EXR; it has no colours for a screen before it is finished as PNG, JPEG, TIFF or WebP`,
    );
  }
  try {
    const picture = sharp(path, {
      failOn: 'error',
      limitInputPixels: MAX_PICTURE_PIXELS,
      sequentialRead: true,
      pages: 1,
    });
    return await work(picture.timeout({ seconds: DECODE_SECONDS }).toColourspace('srgb'));
  } catch (error) {
    if (isFarmError(error)) throw error;
    const why = error instanceof Error ? error.message.split('\n')[0] : String(error);
    throw new FarmError('PICTURE_UNREADABLE', `${path} cannot be decoded: ${why}`, { cause: error });
  }
}
