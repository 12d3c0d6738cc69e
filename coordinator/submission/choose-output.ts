/** In which format a job's frames come. Pure. */
import type { SceneInspection } from '../../platform/render/runtime.ts';
import { FarmError } from '../../protocol/errors.ts';
import type { OutputSettings, PictureFormat, PictureOutput } from '../../protocol/output.ts';

/** Blender's names of what the farm delivers. */
const FORMATS: Readonly<Record<string, PictureFormat>> = {
  PNG: 'png',
  JPEG: 'jpeg',
  TIFF: 'tiff',
  OPEN_EXR: 'exr',
  OPEN_EXR_MULTILAYER: 'exr-multilayer',
  WEBP: 'webp',
};

const EXR_CODECS = ['NONE', 'PXR24', 'ZIP', 'PIZ', 'RLE', 'ZIPS', 'B44', 'B44A', 'DWAA', 'DWAB'];
const ANY_MODE = ['BW', 'RGB', 'RGBA'];

/** What can be said about each format; as Blender has it. */
const CHOICES: Readonly<
  Record<PictureFormat, { depth: number[]; colorMode: string[]; quality: boolean; codec: string[] }>
> = {
  png: { depth: [8, 16], colorMode: ANY_MODE, quality: false, codec: [] },
  jpeg: { depth: [8], colorMode: ['BW', 'RGB'], quality: true, codec: [] },
  tiff: {
    depth: [8, 16],
    colorMode: ANY_MODE,
    quality: false,
    codec: ['NONE', 'DEFLATE', 'LZW', 'PACKBITS'],
  },
  exr: { depth: [16, 32], colorMode: ANY_MODE, quality: false, codec: EXR_CODECS },
  // Every layer has the channels that it has.
  'exr-multilayer': { depth: [16, 32], colorMode: [], quality: false, codec: EXR_CODECS },
  webp: { depth: [8], colorMode: ANY_MODE, quality: true, codec: [] },
};

/** The format in which the scene is saved, or PNG where the farm does not deliver that. */
export function sceneFormat(scene: SceneInspection): PictureFormat {
  const own = FORMATS[scene.outputFormat.fileFormat];
  return own !== undefined && scene.writableFormats.includes(own) ? own : 'png';
}

/** The choice made. Throws OUTPUT_INVALID with what there is. */
export function chooseOutput(asked: OutputSettings | undefined, scene: SceneInspection): PictureOutput {
  const { format: wanted, ...settings } = asked ?? { format: 'scene' as const };
  const format = wanted === 'scene' ? sceneFormat(scene) : wanted;
  if (!scene.writableFormats.includes(format)) {
    throw refusal(`this farm's Blender cannot write ${format}; it has ${scene.writableFormats.join(', ')}`);
  }
  const choices = CHOICES[format];
  if (settings.quality !== undefined && !choices.quality) {
    throw refusal(`${format} loses nothing, so it has no quality; jpeg and webp do`);
  }
  for (const name of ['depth', 'colorMode', 'codec'] as const) {
    const value = settings[name];
    const there: readonly (number | string)[] = choices[name];
    if (value !== undefined && !there.includes(value)) {
      const rest = there.length === 0 ? 'there is nothing to choose' : `there is ${there.join(', ')}`;
      throw refusal(`${format} has no ${NAMES[name]} ${value}; ${rest}`);
    }
  }
  return { format, ...settings };
}

const NAMES = { depth: 'bit depth', colorMode: 'colour mode', codec: 'compression' } as const;

function refusal(message: string): FarmError {
  return new FarmError('OUTPUT_INVALID', message, { kept: 'nothing was submitted, no money moved' });
}
