/** How frames are to be delivered, from the command line. Pure. */
import { FarmError } from '../../protocol/errors.ts';
import type { JobRequest } from '../../protocol/job.ts';
import { type OutputSettings, outputSettingsSchema, precisionSchema } from '../../protocol/output.ts';

const kept = 'nothing was submitted';

/** What people call the formats that are spelled otherwise. */
const OTHER_NAMES: Readonly<Record<string, string>> = { jpg: 'jpeg', tif: 'tiff' };

/** `png16` is PNG of 16 bits; a quality by itself is of the scene's own format. */
export function parseOutput(options: {
  format?: string;
  quality?: string;
  precision?: string;
}): Pick<JobRequest, 'output' | 'precision'> {
  const { format, quality, precision } = options;
  const asked = format !== undefined || quality !== undefined;
  return {
    ...(asked ? { output: { ...parseFormat(format ?? 'scene'), ...parseQuality(quality) } } : {}),
    ...(precision === undefined ? {} : { precision: parsePrecision(precision) }),
  };
}

function parseFormat(text: string): OutputSettings {
  const match = /^([a-z-]+?)(\d{1,2})?$/.exec(text);
  const name = match?.[1] ?? '';
  const depth = match?.[2] === undefined ? {} : { depth: Number(match[2]) };
  const parsed = outputSettingsSchema.safeParse({ format: OTHER_NAMES[name] ?? name, ...depth });
  if (parsed.success) return parsed.data;
  throw new FarmError(
    'OUTPUT_INVALID',
    `--format ${text}: there is png, png16, jpeg, tiff, tiff16, exr, exr16, exr-multilayer, webp and scene`,
    { kept },
  );
}

function parseQuality(text: string | undefined): { quality?: number } {
  if (text === undefined) return {};
  const quality = Number(text);
  if (!/^\d{1,3}$/.test(text) || quality < 1 || quality > 100) {
    throw new FarmError('OUTPUT_INVALID', `--quality ${text}: a whole number from 1 to 100`, { kept });
  }
  return { quality };
}

function parsePrecision(text: string): JobRequest['precision'] {
  const parsed = precisionSchema.safeParse(text);
  if (parsed.success) return parsed.data;
  throw new FarmError('OUTPUT_INVALID', `--precision ${text}: float or half`, { kept });
}
