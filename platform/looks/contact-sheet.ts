/** All frames of a job at a glance: a grid of thumbnails with their numbers, as one PNG. */
import { createCanvas, ImageData, type SKRSContext2D } from '@napi-rs/canvas';
import { FarmError } from '../../protocol/errors.ts';
import { writeFileAtomic } from '../files.ts';
import { BACKGROUND, FONT, LABEL_COLOUR, requireFont, TITLE_COLOUR } from './drawing.ts';
import { readPictureHeader } from './picture-header.ts';
import { type SheetLayout, sheetLayout } from './sheet-layout.ts';
import { scaledPicture } from './thumbnail.ts';

export type SheetFrame = { frame: number; path: string };

export type ContactSheetOptions = {
  frames: readonly SheetFrame[];
  /** At the top left. */
  title: string;
  /** Behind the count of the frames, for example the rate. */
  notes?: readonly string[];
  /** Where the PNG goes. */
  output: string;
  signal: AbortSignal;
  onFrames?: (done: number, total: number) => void;
};

export type ContactSheet = {
  path: string;
  width: number;
  height: number;
  framesShown: number;
  frames: number;
};

const TITLE_PX = 22;
const LABEL_PX = 14;
/** Distance of a label's middle from the lower edge of its picture. */
const LABEL_DROP = 14;
/** Like other small pictures: whoever may read the folder may look at it. */
const FILE_MODE = 0o644;

/** Throws FRAMES_MISSING (no frame at all), PICTURE_UNREADABLE, TOO_LARGE or INTERRUPTED. */
export async function makeContactSheet(options: ContactSheetOptions): Promise<ContactSheet> {
  const { frames, title, notes = [], output, signal, onFrames } = options;
  const [first] = frames;
  if (first === undefined)
    throw new FarmError('FRAMES_MISSING', 'there is no frame to make a contact sheet of');
  const { width, height } = await readPictureHeader(first.path);
  const layout = sheetLayout(frames.length, { width, height });
  requireFont();
  const canvas = createCanvas(layout.width, layout.height);
  const context = canvas.getContext('2d');
  context.fillStyle = BACKGROUND;
  context.fillRect(0, 0, layout.width, layout.height);
  const count =
    layout.shown.length < frames.length
      ? `${layout.shown.length} of ${frames.length} frames`
      : `${frames.length} frame${frames.length === 1 ? '' : 's'}`;
  drawTitle(context, layout, title, [count, `${width} × ${height}`, ...notes].join('  ·  '));
  for (const [cell, index] of layout.shown.entries()) {
    if (signal.aborted) throw new FarmError('INTERRUPTED', 'stopped before the contact sheet was done');
    const frame = frames[index];
    const place = layout.cells[cell];
    if (frame !== undefined && place !== undefined) await drawFrame(context, layout, frame, place);
    onFrames?.(cell + 1, layout.shown.length);
  }
  await writeFileAtomic(output, await canvas.encode('png'), FILE_MODE);
  return {
    path: output,
    width: layout.width,
    height: layout.height,
    framesShown: layout.shown.length,
    frames: frames.length,
  };
}

/** The title to the left, the facts to the right; a title that is too long for what is left ends in an ellipsis. */
function drawTitle(context: SKRSContext2D, layout: SheetLayout, title: string, facts: string): void {
  const { width, margin, titleHeight } = layout;
  const middle = margin + (titleHeight - margin / 2) / 2;
  context.textBaseline = 'middle';
  context.font = `${LABEL_PX}px "${FONT}"`;
  context.fillStyle = LABEL_COLOUR;
  context.textAlign = 'right';
  const room = width - 2 * margin;
  const factsWidth = context.measureText(facts).width;
  const factsFit = factsWidth <= room;
  if (factsFit) context.fillText(facts, width - margin, middle);
  context.font = `${TITLE_PX}px "${FONT}"`;
  context.fillStyle = TITLE_COLOUR;
  context.textAlign = 'left';
  const left = factsFit ? room - factsWidth - margin : room;
  let shown = title;
  while (shown !== '' && context.measureText(shown === title ? shown : `${shown}…`).width > left) {
    shown = shown.slice(0, -1);
  }
  if (shown !== '') context.fillText(shown === title ? shown : `${shown}…`, margin, middle);
}

async function drawFrame(
  context: SKRSContext2D,
  { thumbnail }: SheetLayout,
  { frame, path }: SheetFrame,
  place: { x: number; y: number },
): Promise<void> {
  const { rgba, width, height } = await scaledPicture(path, thumbnail);
  const pixels = new ImageData(
    new Uint8ClampedArray(rgba.buffer, rgba.byteOffset, rgba.length),
    width,
    height,
  );
  // putImageData would replace the background where the picture is transparent; a canvas of its own lies over it.
  const picture = createCanvas(width, height);
  picture.getContext('2d').putImageData(pixels, 0, 0);
  const x = place.x + Math.floor((thumbnail.width - width) / 2);
  const y = place.y + Math.floor((thumbnail.height - height) / 2);
  context.drawImage(picture, x, y);
  context.font = `${LABEL_PX}px "${FONT}"`;
  context.fillStyle = LABEL_COLOUR;
  context.textAlign = 'center';
  context.textBaseline = 'middle';
  context.fillText(String(frame), place.x + thumbnail.width / 2, place.y + thumbnail.height + LABEL_DROP);
}
