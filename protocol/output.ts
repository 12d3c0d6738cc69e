/** In which format finished frames are delivered. */
import { z } from 'zod';

/** What Blender writes and the farm delivers; each by the name that people type. */
export const pictureFormatSchema = z.enum(['png', 'jpeg', 'tiff', 'exr', 'exr-multilayer', 'webp']);
export type PictureFormat = z.infer<typeof pictureFormatSchema>;

/** What Blender puts behind the name of such a file. */
export const PICTURE_EXTENSIONS: Readonly<Record<PictureFormat, string>> = {
  png: '.png',
  jpeg: '.jpg',
  tiff: '.tif',
  exr: '.exr',
  'exr-multilayer': '.exr',
  webp: '.webp',
};

/** Everything but the format may be left out: then the scene's own setting holds. */
const settings = {
  /** Bits per channel: 8 or 16 for PNG and TIFF, 16 or 32 for EXR. */
  depth: z.union([z.literal(8), z.literal(16), z.literal(32)]).optional(),
  colorMode: z.enum(['BW', 'RGB', 'RGBA']).optional(),
  /** Of JPEG and WebP, in per cent. */
  quality: z.number().int().min(1).max(100).optional(),
  /** Blender's name of the compression of EXR (ZIP, DWAA, …) or TIFF (LZW, DEFLATE, …). */
  codec: z
    .string()
    .regex(/^[A-Z0-9]{3,12}$/)
    .optional(),
};

/** As an artist asks for it. */
export const outputSettingsSchema = z.strictObject({
  /** `scene`: the scene's own format where the farm can write it, else PNG with a warning. */
  format: z.union([z.literal('scene'), pictureFormatSchema]),
  ...settings,
});
export type OutputSettings = z.infer<typeof outputSettingsSchema>;

/** As a job has it, the choice made. */
export const pictureOutputSchema = z.strictObject({ format: pictureFormatSchema, ...settings });
export type PictureOutput = z.infer<typeof pictureOutputSchema>;

/**
 * How the raw pixels travel. `half` quantises colours to 16 bits (2.4e-4, inside the match tolerance) and halves the
 * bytes; depth, vectors and cryptomatte stay in 32 bits.
 */
export const precisionSchema = z.enum(['float', 'half']);
export type Precision = z.infer<typeof precisionSchema>;
