/** Whether frames can become one movie: all there, all whole, all alike. */
import { FarmError } from '../../protocol/errors.ts';
import { type PictureHeader, readPictureHeader } from '../looks/picture-header.ts';
import type { Footage } from './formats.ts';
import { requireReadableTiff } from './tiff-frame.ts';

export type MovieFrame = { frame: number; path: string };

/** Files open at a time. Headers are small; more would only queue at the disk. */
const READERS = 8;
/** Naming more would bury the message; `details` has them all. */
const MAX_NAMED = 12;

/** Throws FRAMES_MISSING, naming which of the expected frames have no picture. Pure. */
export function requireFrames(expected: readonly number[], present: ReadonlySet<number>): void {
  const missing = expected.filter((frame) => !present.has(frame));
  if (missing.length === 0) return;
  const rest = missing.length > MAX_NAMED ? ` and ${missing.length - MAX_NAMED} more` : '';
  throw new FarmError(
    'FRAMES_MISSING',
    `${missing.length} of ${expected.length} frames are missing: ${missing.slice(0, MAX_NAMED).join(', ')}${rest}`,
    { kept: 'no movie was made; the frames are as they were', details: { missing } },
  );
}

/** Reads every header; throws what makes a movie impossible: PICTURE_UNREADABLE, TOO_LARGE, FRAMES_DIFFER. */
export async function checkFootage(frames: readonly MovieFrame[], signal: AbortSignal): Promise<Footage> {
  const headers: (PictureHeader | undefined)[] = frames.map(() => undefined);
  let next = 0;
  const read = async (): Promise<void> => {
    for (let index = next++; index < frames.length; index = next++) {
      if (signal.aborted) throw new FarmError('INTERRUPTED', 'stopped while looking at the frames');
      const frame = frames[index];
      if (frame === undefined) continue;
      const header = await readPictureHeader(frame.path);
      if (header.format === 'tiff') await requireReadableTiff(frame);
      headers[index] = header;
    }
  };
  await Promise.all(Array.from({ length: READERS }, read));
  return commonFootage(
    frames,
    headers.filter((header) => header !== undefined),
  );
}

/** What the frames have in common. Pure. */
export function commonFootage(frames: readonly MovieFrame[], headers: readonly PictureHeader[]): Footage {
  const [first] = headers;
  if (first === undefined) throw new FarmError('FRAMES_MISSING', 'there is no frame to make a movie of');
  const looks = ({ format, width, height }: PictureHeader): string =>
    `${width}x${height} ${format.toUpperCase()}`;
  const odd = headers.findIndex((header) => looks(header) !== looks(first));
  if (odd >= 0) {
    const [frame, header] = [frames[odd], headers[odd]];
    throw new FarmError(
      'FRAMES_DIFFER',
      `frame ${frame?.frame} is ${header && looks(header)}, frame ${frames[0]?.frame} is ${looks(first)}`,
      { kept: 'no movie was made; the frames are as they were' },
    );
  }
  return {
    ...first,
    hasAlpha: headers.some((header) => header.hasAlpha),
    deep: headers.some((header) => header.deep),
  };
}
