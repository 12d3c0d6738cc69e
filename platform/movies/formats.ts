/** What each kind of movie is to ffmpeg. Pure: arguments from plain data. */
import type { FrameRate } from '../../protocol/job.ts';
import { MAX_PICTURE_PIXELS, type PictureFormat, type PictureHeader } from '../looks/picture-header.ts';
import { rateText } from './frame-rate.ts';

export const MOVIE_FORMATS = ['mp4', 'webm', 'prores'] as const;
export type MovieFormat = (typeof MOVIE_FORMATS)[number];

/** To the TIFF decoder a tag that it does not know is an error in this sense, and every program writes some. */
const STRICT = '+crccheck+bitstream+buffer+explode';
const ERROR_DETECTION: Record<PictureFormat, string> = {
  png: STRICT,
  jpeg: STRICT,
  tiff: '+crccheck+bitstream+buffer',
  webp: STRICT,
  exr: STRICT,
};

/** What all frames of a movie have in common, and whether any of them is transparent somewhere. */
export type Footage = Pick<PictureHeader, 'format' | 'width' | 'height' | 'hasAlpha' | 'deep'>;

export type MovieShape = {
  width: number;
  height: number;
  pixelFormat: string;
  keepsAlpha: boolean;
};

/** The only decoder that is ever tried: nothing is guessed from the bytes of a file. */
const DECODERS: Record<PictureFormat, string> = {
  png: 'png',
  jpeg: 'mjpeg',
  tiff: 'tiff',
  webp: 'webp',
  exr: 'exr',
};

/**
 * Processors that one encoder keeps busy by itself, so one piece at a time for so many. x264 and ProRes share their work
 * out well: on two processors, 48 frames in two pieces took longer than in one. libvpx waits for itself.
 */
const PROCESSORS_PER_PIECE: Record<MovieFormat, number> = { mp4: 4, webm: 1, prores: 4 };

export const piecesAtATime = (format: MovieFormat, processors: number): number =>
  Math.max(1, Math.floor(processors / PROCESSORS_PER_PIECE[format]));

export const extensionOf = (format: MovieFormat): string => (format === 'prores' ? 'mov' : format);

/** Pieces lie in containers that keep times exactly; webm has whole milliseconds only. */
export const pieceExtensionOf = (format: MovieFormat): string => (format === 'prores' ? 'mov' : 'mp4');

/**
 * Size and pixels of the movie. Chroma at half the resolution needs an even number of pixels, so an odd side gets its
 * last column or row twice: cropping would lose pixels, a black line would be seen.
 */
export function movieShape(format: MovieFormat, footage: Footage): MovieShape {
  const { width, height, hasAlpha } = footage;
  const even = (side: number): number => side + (side % 2);
  if (format !== 'prores') {
    return { width: even(width), height: even(height), pixelFormat: 'yuv420p', keepsAlpha: false };
  }
  return hasAlpha
    ? { width, height, pixelFormat: 'yuva444p10le', keepsAlpha: true }
    : { width: even(width), height, pixelFormat: 'yuv422p10le', keepsAlpha: false };
}

export type InputOptions = {
  footage: Footage;
  rate: FrameRate;
  /** Frames are files called by their place, with eight digits and the format: 00000000.png. */
  folder: string;
  first: number;
  /** This frame only; ffmpeg looks ahead at others else. */
  one?: boolean;
};

const inputName = (index: string, format: PictureFormat): string => `${index}.${format}`;
const digits = (index: number): string => String(index).padStart(8, '0');
export const inputFile = (index: number, format: PictureFormat): string => inputName(digits(index), format);

/** Arguments that read numbered frames; a file that is not what its sequence is fails instead of being looked into. */
export function inputArguments({ footage, rate, folder, first, one = false }: InputOptions): string[] {
  const name = one ? inputFile(first, footage.format) : inputName('%08d', footage.format);
  return [
    ...['-protocol_whitelist', 'file', '-f', 'image2', '-framerate', rateText(rate)],
    ...(one ? ['-pattern_type', 'none'] : ['-pattern_type', 'sequence', '-start_number', String(first)]),
    ...['-max_pixels', String(MAX_PICTURE_PIXELS)],
    // A damaged picture is an error: by default it would become a half-grey frame.
    ...['-xerror', '-err_detect', ERROR_DETECTION[footage.format]],
    // A float EXR is linear light; shown as it is it would be far too dark.
    ...(footage.format === 'exr' ? ['-apply_trc', 'iec61966_2_1'] : []),
    ...['-c:v', DECODERS[footage.format], '-i', `${folder}/${name}`],
  ];
}

/** From what the pictures are (sRGB, straight alpha) to what players expect (BT.709, limited range). */
function filters(footage: Footage, shape: MovieShape): string {
  const depth = footage.deep ? '16le' : '';
  const steps: string[] = [];
  if (!footage.hasAlpha) steps.push(`format=gbrp${depth}`);
  else {
    steps.push(`format=gbrap${depth}`);
    // EXR pictures are premultiplied already, the others are not. Premultiplied without alpha is "over black".
    const premultiplied = footage.format === 'exr';
    if (shape.keepsAlpha && premultiplied) steps.push('unpremultiply=inplace=1');
    if (!shape.keepsAlpha && !premultiplied) steps.push('premultiply=inplace=1');
    if (!shape.keepsAlpha) steps.push(`format=gbrp${depth}`);
  }
  const [right, bottom] = [shape.width - footage.width, shape.height - footage.height];
  if (right > 0 || bottom > 0) {
    steps.push(
      `pad=${shape.width}:${shape.height}:0:0`,
      `fillborders=right=${right}:bottom=${bottom}:mode=smear`,
    );
  }
  return [
    ...steps,
    'scale=out_color_matrix=bt709:out_range=tv:flags=bicubic+accurate_rnd+full_chroma_int+full_chroma_inp',
    `format=${shape.pixelFormat}`,
    'setparams=color_primaries=bt709:color_trc=bt709:colorspace=bt709:range=tv',
  ].join(',');
}

/** Encoder settings. Quality first: these are finished frames that took hours, and the movie takes minutes. */
function encoder(format: MovieFormat, shape: MovieShape, groupFrames: number): string[] {
  switch (format) {
    case 'mp4':
      return ['-c:v', 'libx264', '-preset', 'medium', '-crf', '18', '-g', String(groupFrames)];
    case 'webm':
      return [
        ...['-c:v', 'libvpx-vp9', '-b:v', '0', '-crf', '24', '-g', String(groupFrames)],
        ...['-deadline', 'good', '-cpu-used', '2', '-row-mt', '1'],
      ];
    case 'prores': {
      const profile = shape.keepsAlpha ? ['-profile:v', '4', '-alpha_bits', '16'] : ['-profile:v', '3'];
      // Programs for cutting look at the vendor before they trust a ProRes file.
      return ['-c:v', 'prores_ks', ...profile, '-vendor', 'apl0'];
    }
  }
}

/** No name of a file, no time of day and no program version: the same frames give the same movie. */
const PLAIN = ['-map', '0:v:0', '-an', '-map_metadata', '-1', '-fflags', '+bitexact'];

export type EncodeOptions = {
  footage: Footage;
  format: MovieFormat;
  rate: FrameRate;
  frames: number;
  groupFrames: number;
  threads: number;
  output: string;
};

/** Arguments behind the input that encode frames into a movie or a piece of one. */
export function encodeArguments(options: EncodeOptions): string[] {
  const { footage, format, frames, groupFrames, threads, output } = options;
  const shape = movieShape(format, footage);
  return [
    ...PLAIN,
    ...['-frames:v', String(frames), '-vf', filters(footage, shape), '-threads', String(threads)],
    ...encoder(format, shape, groupFrames),
    ...['-color_primaries', 'bt709', '-color_trc', 'bt709', '-colorspace', 'bt709', '-color_range', 'tv'],
    ...containerArguments(output),
    output,
  ];
}

/** Arguments that put pieces together, bytes as they are. */
export function joinArguments(list: string, output: string): string[] {
  return [
    // The list is ours and names files by absolute paths inside the bubble.
    ...['-protocol_whitelist', 'file', '-f', 'concat', '-safe', '0', '-i', list],
    ...[...PLAIN, '-c', 'copy', ...containerArguments(output), output],
  ];
}

/** The index goes to the front, so that a page can play what has not wholly arrived. */
function containerArguments(output: string): string[] {
  return output.endsWith('.webm') ? [] : ['-movflags', '+faststart'];
}
