/** Where the thumbnails of a contact sheet go. Pure. */

export type SheetLayout = {
  width: number;
  height: number;
  columns: number;
  rows: number;
  /** Which pictures are shown, counted from 0, in order. */
  shown: number[];
  /** One box per shown picture; pictures are centred in it, their labels come below. */
  cells: { x: number; y: number }[];
  thumbnail: { width: number; height: number };
  margin: number;
  /** Room above the grid for the title, and below each box for its label. */
  titleHeight: number;
  labelHeight: number;
};

/** Fits a full-HD screen and an A4 page at 200 dpi. */
const SHEET_WIDTH = 1_920;
/** A sheet is looked at as a whole; from here on thumbnails are stamps, so frames are drawn evenly instead. */
const MAX_CELLS = 96;
const MAX_COLUMNS = 12;
/** One frame alone, or two, must not become a poster. */
const MAX_LONG_SIDE = 960;
/** A panorama of one row of pixels still gets a place. */
const LEAST_SIDE = 8;
const MARGIN = 32;
const GAP = 16;
const TITLE_HEIGHT = 44;
const LABEL_HEIGHT = 24;
/** Between a screen (16:9) and a page (3:2). */
const WANTED_ASPECT = 1.6;
/** How much an unfilled last row counts against a shape that is otherwise better. */
const EMPTY_WEIGHT = 5;
/** Narrower, and the facts beside the title would not fit. */
const LEAST_SHEET_WIDTH = 560;

/** A grid for `count` pictures (at least one) of this size; none is enlarged. */
export function sheetLayout(count: number, picture: { width: number; height: number }): SheetLayout {
  const shown = drawEvenly(count, MAX_CELLS);
  const cells = shown.length;
  let best = grid(cells, 1, picture);
  for (let columns = 2; columns <= Math.min(cells, MAX_COLUMNS); columns++) {
    const next = grid(cells, columns, picture);
    if (next.penalty < best.penalty) best = next;
  }
  const { columns, rows, thumbnail, width, height } = best;
  const left = Math.floor((width - gridWidth(columns, thumbnail.width)) / 2);
  return {
    ...{ width, height, columns, rows, shown, thumbnail },
    ...{ margin: MARGIN, titleHeight: TITLE_HEIGHT, labelHeight: LABEL_HEIGHT },
    cells: shown.map((_, index) => ({
      x: left + (index % columns) * (thumbnail.width + GAP),
      y: MARGIN + TITLE_HEIGHT + Math.floor(index / columns) * (thumbnail.height + LABEL_HEIGHT + GAP),
    })),
  };
}

/** At most `most` of the numbers from 0 to count - 1, the first and the last among them, the same distance apart. */
export function drawEvenly(count: number, most: number): number[] {
  if (count <= most) return Array.from({ length: count }, (_, index) => index);
  return Array.from({ length: most }, (_, index) => Math.round((index * (count - 1)) / (most - 1)));
}

const gridWidth = (columns: number, thumbnailWidth: number): number =>
  columns * thumbnailWidth + (columns - 1) * GAP;

function grid(cells: number, columns: number, picture: { width: number; height: number }) {
  const aspect = picture.width / picture.height;
  const rows = Math.ceil(cells / columns);
  const side = (SHEET_WIDTH - 2 * MARGIN - (columns - 1) * GAP) / columns;
  const thumbnailWidth = Math.min(side, picture.width, MAX_LONG_SIDE, MAX_LONG_SIDE * aspect);
  const thumbnail = {
    width: Math.max(LEAST_SIDE, Math.floor(thumbnailWidth)),
    height: Math.max(LEAST_SIDE, Math.floor(thumbnailWidth / aspect)),
  };
  const width = Math.max(LEAST_SHEET_WIDTH, 2 * MARGIN + gridWidth(columns, thumbnail.width));
  const height = 2 * MARGIN + TITLE_HEIGHT + rows * (thumbnail.height + LABEL_HEIGHT) + (rows - 1) * GAP;
  const empty = (rows * columns - cells) / (rows * columns);
  const penalty = Math.abs(Math.log(width / height / WANTED_ASPECT)) + EMPTY_WEIGHT * empty;
  return { columns, rows, thumbnail, width, height, penalty };
}
