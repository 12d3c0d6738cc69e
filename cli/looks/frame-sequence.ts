/** Which files of a folder are the frames of one sequence. Pure. */
import { FarmError } from '../../protocol/errors.ts';

export type FrameFile = { frame: number; file: string };
export type FrameSequence = { name: string; frames: FrameFile[] };

/** A minus is a sign behind a separator (`still_-0001`), and a separator itself behind a letter (`still-0001`). */
const NUMBERED = /^(.*?)((?:(?<![A-Za-z0-9])-)?\d{1,7})\.([A-Za-z]+)$/;
/** Best first where a frame is there in several formats: an EXR has no colours for a screen yet. */
const FORMATS = new Map([
  ['png', 0],
  ['tif', 1],
  ['tiff', 1],
  ['webp', 2],
  ['jpg', 3],
  ['jpeg', 3],
  ['exr', 4],
]);

type Found = { name: string; frame: number; file: string; rank: number };

/** `turntable_0012.png` is frame 12 of `turntable`; undefined for what is no frame. */
export function frameOfFile(file: string): Omit<Found, 'file'> | undefined {
  const match = NUMBERED.exec(file);
  const rank = FORMATS.get(match?.[3]?.toLowerCase() ?? '');
  if (match === null || rank === undefined || file.startsWith('.')) return undefined;
  const name = match[1]?.replace(/[_.\s-]+$/, '') || 'frames';
  return { name, frame: Number(match[2]), rank };
}

/**
 * The one sequence among these names, or the one called `wanted`, in the order of its numbers. Throws FRAMES_MISSING
 * where there is none, USAGE where it is not clear which.
 */
export function findSequence(
  files: readonly string[],
  wanted: string | undefined,
  where: string,
): FrameSequence {
  const found = files.flatMap((file): Found[] => {
    const parsed = frameOfFile(file);
    return parsed === undefined ? [] : [{ ...parsed, file }];
  });
  const names = [...new Set(found.map((one) => one.name))].sort();
  const name = wanted ?? names[0];
  if (name === undefined || !names.includes(name)) {
    const what = wanted === undefined ? 'no numbered pictures' : `no frames called ${wanted}`;
    const others = names.length > 0 ? `; there are ${names.join(', ')}` : '';
    throw new FarmError('FRAMES_MISSING', `there are ${what} in ${where}${others}`);
  }
  if (wanted === undefined && names.length > 1) {
    throw new FarmError('USAGE', `${where} has frames of ${names.join(', ')}: choose one with --name`);
  }
  const mine = found.filter((one) => one.name === name);
  const best = Math.min(...mine.map((one) => one.rank));
  const frames = mine.filter((one) => one.rank === best).sort((a, b) => a.frame - b.frame);
  const twice = frames.find((one, index) => one.frame === frames[index - 1]?.frame);
  if (twice !== undefined) {
    const both = frames.filter((one) => one.frame === twice.frame).map((one) => one.file);
    throw new FarmError('USAGE', `frame ${twice.frame} is in ${where} more than once: ${both.join(', ')}`);
  }
  return { name, frames: frames.map(({ frame, file }) => ({ frame, file })) };
}

/** Every number from the first frame to the last. */
export function wholeRange(frames: readonly { frame: number }[]): number[] {
  const [first, last] = [frames[0]?.frame, frames.at(-1)?.frame];
  if (first === undefined || last === undefined) return [];
  return Array.from({ length: last - first + 1 }, (_, index) => first + index);
}
