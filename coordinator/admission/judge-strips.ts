/** Whether strips that were rendered twice are the same picture, by the test that nodes of one class have to pass. Pure. */
import { compareCrops } from '../../proof/compare.ts';
import { comparedPasses } from '../../proof/compared-passes.ts';
import { crop, type PixelImage } from '../../proof/pixels.ts';
import { PIXEL_TOLERANCE, THRESHOLDS } from '../../proof/thresholds.ts';
import type { Rect } from '../../protocol/rect.ts';
import type { Outcome } from '../../protocol/verdict.ts';
import type { Strip } from './plan-strips.ts';

/** The piece in which the two pictures were furthest apart. */
export type Finding = { outcome: Outcome; frame: number; rect: Rect; pixelMatchFraction: number };

/** With {@link STRIP_PX} as many pixels as a small crop has: what differs in one place must not be lost in a long strip. */
const PIECE_PX = 256;

const RANK: Record<Outcome, number> = { pass: 0, inconclusive: 1, fail: 2 };

/** `first` and `second`: each strip's pixels, in the order of `strips`. The worst piece of all decides. */
export function judgeStrips(
  strips: readonly Strip[],
  first: readonly PixelImage[],
  second: readonly PixelImage[],
): Finding {
  const findings = strips.flatMap(({ frame, rect }, index) => {
    const [one, other] = [first[index], second[index]];
    if (one === undefined || other === undefined) throw new Error(`strip ${index} was not rendered`);
    return piecesOf(one).map((piece): Finding => {
      const { outcome, pixelMatchFraction } = compareCrops(crop(one, piece), crop(other, piece));
      const place = { ...piece, x: rect.x + piece.x, y: rect.y + piece.y };
      return { outcome, frame, rect: place, pixelMatchFraction: pixelMatchFraction ?? 0 };
    });
  });
  const worst = findings.toSorted(
    (a, b) => RANK[b.outcome] - RANK[a.outcome] || a.pixelMatchFraction - b.pixelMatchFraction,
  )[0];
  if (worst === undefined) throw new Error('there is nothing to compare');
  return worst;
}

/**
 * How many pixels are more than plain background: those that differ from the next one along the strip. Whatever light
 * falls on does, since it is noise at a few samples.
 */
export function pixelsWithContent(image: PixelImage): number {
  const { width, height } = image;
  const [stepX, stepY] = width >= height ? [1, 0] : [0, 1];
  const planes = comparedPasses(image).flatMap((pass) => pass.planes);
  let count = 0;
  for (let y = 0; y + stepY < height; y++) {
    for (let x = 0; x + stepX < width; x++) {
      const here = y * width + x;
      const next = here + stepY * width + stepX;
      if (planes.some((plane) => differ(plane[here] ?? 0, plane[next] ?? 0))) count++;
    }
  }
  return count;
}

function differ(a: number, b: number): boolean {
  return Math.abs(a - b) > PIXEL_TOLERANCE * Math.max(Math.abs(a), Math.abs(b));
}

/** What the artist reads. */
export function describeFinding({ outcome, frame, rect, pixelMatchFraction }: Finding): string {
  const place = `at ${rect.x},${rect.y} (${rect.width}x${rect.height})`;
  const matched = `${percent(pixelMatchFraction)} % of the pixels match`;
  if (outcome === 'pass')
    return `renders the same twice: in the worst place, frame ${frame} ${place}, ${matched}`;
  const needed = percent(THRESHOLDS.sameClass.passFraction);
  return `the scene does not render the same twice: frame ${frame} ${place}, ${matched}, ${needed} % are needed`;
}

function percent(fraction: number): string {
  return (100 * fraction).toFixed(1);
}

function piecesOf({ width, height }: PixelImage): Rect[] {
  const length = Math.max(width, height);
  const pieces = Math.ceil(length / PIECE_PX);
  return Array.from({ length: pieces }, (_, index) => {
    const from = Math.floor((length * index) / pieces);
    const size = Math.floor((length * (index + 1)) / pieces) - from;
    return width >= height ? { x: from, y: 0, width: size, height } : { x: 0, y: from, width, height: size };
  });
}
