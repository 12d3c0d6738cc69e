/** Frames as people write them: `7`, `1-24`, `1,5,9`, `1-100x10`, and mixtures of these. Pure. */
import { FarmError } from '../../protocol/errors.ts';

/** A job takes at most this many frames; more is a slip of the keyboard. */
const MAX_FRAMES = 100_000;

/** Blender's own limit (MAXFRAME). */
const MAX_FRAME = 1_048_574;

const PART = /^(-?\d{1,7})(?:-(-?\d{1,7})(?:x(\d{1,6}))?)?$/;

/** Throws FRAMES_INVALID naming the part that is wrong. The order is kept; a frame that comes twice is taken once. */
export function parseFrames(text: string): number[] {
  const frames = new Set<number>();
  for (const part of text.split(',').map((piece) => piece.trim())) {
    const match = PART.exec(part);
    if (match === null) throw invalid(`"${part}" is not a frame or a range of frames`);
    const first = Number(match[1]);
    const last = match[2] === undefined ? first : Number(match[2]);
    const step = match[3] === undefined ? 1 : Number(match[3]);
    if (last < first) throw invalid(`the range ${part} is empty: ${first} comes after ${last}`);
    if (step < 1) throw invalid(`the range ${part} has a step of 0`);
    if (Math.max(Math.abs(first), Math.abs(last)) > MAX_FRAME) {
      throw invalid(`${part}: Blender's frames go from -${MAX_FRAME} to ${MAX_FRAME}`);
    }
    for (let frame = first; frame <= last && frames.size <= MAX_FRAMES; frame += step) frames.add(frame);
    if (frames.size > MAX_FRAMES) throw invalid(`up to ${part} there are more than ${MAX_FRAMES} frames`);
  }
  return [...frames];
}

function invalid(message: string): FarmError {
  return new FarmError('FRAMES_INVALID', message, { kept: 'nothing was submitted' });
}
