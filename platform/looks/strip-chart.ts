/** Many small measurements side by side: a strip of dots for each row and quantity, with the limits drawn in. One PNG. */
import { createCanvas, type SKRSContext2D } from '@napi-rs/canvas';
import { writeFileAtomic } from '../files.ts';
import { BACKGROUND, FONT, LABEL_COLOUR, requireFont, TITLE_COLOUR } from './drawing.ts';
import { type LogAxis, positionOn, ticksOf } from './log-axis.ts';

/** A line across a strip; null is not drawn. */
export type StripMark = { at: number | null; kind: 'now' | 'proposed'; label: string };
export type Strip = { values: readonly number[]; marks: readonly StripMark[] };
export type StripRow = { label: string; note: string; strips: readonly Strip[] };

export type StripChart = {
  title: string;
  facts: string;
  axes: readonly LogAxis[];
  /** Each with a strip for every axis. */
  rows: readonly StripRow[];
  /** What the lines are called below the title. */
  legend: Record<StripMark['kind'], string>;
};

const WIDTH = 1_760;
const MARGIN = 32;
const TITLE_HEIGHT = 84;
/** "cpu-avx2 checked by cpu-avx", and below it an engine with its digest. */
const LABEL_WIDTH = 330;
const GAP = 40;
const ROW_HEIGHT = 84;
const AXIS_HEIGHT = 46;
const TITLE_PX = 22;
const LABEL_PX = 14;
const SMALL_PX = 12;
const DOT_RADIUS = 3.5;
/** Many dots at one place are to look like many. */
const DOT_COLOUR = 'rgba(150, 200, 230, 0.55)';
const STRIP_COLOUR = '#262626';
const GRID_COLOUR = '#383838';
/** Told apart by dashes as well as by colour. */
const MARKS = {
  now: { colour: '#c8c8c8', dash: [] },
  proposed: { colour: '#f0a23c', dash: [6, 4] },
} as const;
/** The golden ratio: dots of one value lie apart from one another, and everywhere the same on every machine. */
const SPREAD = 0.618_034;
/** Of a strip's height, the part that dots are spread over; the names of lines are above and below. */
const DOTS_FROM = 0.28;
const DOTS_SHARE = 0.44;
/** From the edge of a strip to the middle of a line's name. */
const LABEL_EDGE = 9;
/** Like other small pictures: whoever may read the folder may look at it. */
const FILE_MODE = 0o644;

export async function drawStripChart(chart: StripChart, output: string): Promise<void> {
  requireFont();
  const height = 2 * MARGIN + TITLE_HEIGHT + chart.rows.length * ROW_HEIGHT + AXIS_HEIGHT;
  const canvas = createCanvas(WIDTH, height);
  const context = canvas.getContext('2d');
  context.fillStyle = BACKGROUND;
  context.fillRect(0, 0, WIDTH, height);
  drawHead(context, chart);
  const top = MARGIN + TITLE_HEIGHT;
  const count = Math.max(1, chart.axes.length);
  const width = (WIDTH - 2 * MARGIN - LABEL_WIDTH - (count - 1) * GAP) / count;
  const panels = chart.axes.map((axis, index) => ({
    axis,
    left: MARGIN + LABEL_WIDTH + index * (width + GAP),
    width,
  }));
  for (const [index, row] of chart.rows.entries()) {
    const y = top + index * ROW_HEIGHT;
    text(context, row.label, MARGIN, y + ROW_HEIGHT * 0.38, LABEL_PX, TITLE_COLOUR);
    text(context, row.note, MARGIN, y + ROW_HEIGHT * 0.64, SMALL_PX, LABEL_COLOUR);
    for (const [place, panel] of panels.entries()) {
      const strip = row.strips[place];
      if (strip !== undefined) drawStrip(context, panel, strip, y);
    }
  }
  for (const panel of panels) drawAxis(context, panel, top + chart.rows.length * ROW_HEIGHT);
  await writeFileAtomic(output, await canvas.encode('png'), FILE_MODE);
}

type Panel = { axis: LogAxis; left: number; width: number };

function drawHead(context: SKRSContext2D, { title, facts, legend }: StripChart): void {
  text(context, title, MARGIN, MARGIN + TITLE_PX / 2, TITLE_PX, TITLE_COLOUR);
  text(context, facts, WIDTH - MARGIN, MARGIN + TITLE_PX / 2, LABEL_PX, LABEL_COLOUR, 'right');
  let x = MARGIN;
  const y = MARGIN + TITLE_PX + 24;
  for (const kind of ['now', 'proposed'] as const) {
    line(context, kind, x, y, x + 36, y);
    text(context, legend[kind], x + 46, y, LABEL_PX, LABEL_COLOUR);
    x += 46 + context.measureText(legend[kind]).width + GAP;
  }
}

function drawStrip(context: SKRSContext2D, { axis, left, width }: Panel, strip: Strip, y: number): void {
  const height = ROW_HEIGHT - 8;
  context.fillStyle = STRIP_COLOUR;
  context.fillRect(left, y, width, height);
  for (const { at } of ticksOf(axis)) {
    context.fillStyle = GRID_COLOUR;
    context.fillRect(left + at * width, y, 1, height);
  }
  context.fillStyle = DOT_COLOUR;
  for (const [index, value] of strip.values.entries()) {
    const share = (index * SPREAD) % 1;
    const x = left + positionOn(axis, value) * width;
    context.beginPath();
    context.arc(x, y + height * (DOTS_FROM + DOTS_SHARE * share), DOT_RADIUS, 0, 2 * Math.PI);
    context.fill();
  }
  const nothing = positionOn(axis, 0);
  const none = strip.values.filter((value) => positionOn(axis, value) === nothing).length;
  const [x, bottom] = [left + nothing * width, y + height - LABEL_EDGE];
  // Many a dot hides another one only where there is nothing to see.
  if (none > 0) text(context, String(none), x, bottom, SMALL_PX, LABEL_COLOUR, 'center');
  for (const { at, kind, label } of strip.marks) {
    if (at === null) continue;
    const x = left + positionOn(axis, at) * width;
    line(context, kind, x, y, x, y + height);
    // At the other end for what is proposed, so that two lines at one place can both be read.
    const middle = kind === 'now' ? y + LABEL_EDGE : y + height - LABEL_EDGE;
    text(context, label, x + 5, middle, SMALL_PX, MARKS[kind].colour);
  }
}

function drawAxis(context: SKRSContext2D, { axis, left, width }: Panel, y: number): void {
  for (const { at, label } of ticksOf(axis))
    text(context, label, left + at * width, y + 10, SMALL_PX, LABEL_COLOUR, 'center');
  text(context, axis.title, left + width / 2, y + 36, LABEL_PX, TITLE_COLOUR, 'center');
}

function line(
  context: SKRSContext2D,
  kind: StripMark['kind'],
  ...[fromX, fromY, toX, toY]: [number, number, number, number]
): void {
  const { colour, dash } = MARKS[kind];
  context.save();
  context.strokeStyle = colour;
  context.lineWidth = 2;
  context.setLineDash([...dash]);
  context.beginPath();
  context.moveTo(fromX, fromY);
  context.lineTo(toX, toY);
  context.stroke();
  context.restore();
}

function text(
  context: SKRSContext2D,
  words: string,
  x: number,
  y: number,
  size: number,
  colour: string,
  align: 'left' | 'right' | 'center' = 'left',
): void {
  context.font = `${size}px "${FONT}"`;
  context.fillStyle = colour;
  context.textAlign = align;
  context.textBaseline = 'middle';
  context.fillText(words, x, y);
}
