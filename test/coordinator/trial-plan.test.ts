import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { describeFinding, judgeStrips, pixelsWithContent } from '../../coordinator/admission/judge-strips.ts';
import { framesToTry, STRIP_PX, stripsOf } from '../../coordinator/admission/plan-strips.ts';
import { imageFromPlanes, type PixelImage } from '../../proof/pixels.ts';
import { digestSchema } from '../../protocol/ids.ts';
import type { Rect } from '../../protocol/rect.ts';

const SCENE = digestSchema.parse('5c'.repeat(32));

function firstStrips(region: Rect, count: number, scene = SCENE): Rect[] {
  const rects: Rect[] = [];
  for (const { rect } of stripsOf(scene, 1, region)) {
    rects.push(rect);
    if (rects.length === count) break;
  }
  return rects;
}

/** Noise that is the same every time, but for the pixels that `change` names. */
function noise(
  width: number,
  height: number,
  change: (x: number, y: number) => number = () => 0,
): PixelImage {
  const values = Float32Array.from({ length: width * height }, (_, i) => {
    const [x, y] = [i % width, Math.floor(i / width)];
    return 0.2 + (((x * 7919 + y * 104_729) % 101) / 101) * 0.5 + change(x, y);
  });
  const planes = Object.fromEntries(
    ['R', 'G', 'B', 'A'].map((letter) => [`ViewLayer.Combined.${letter}`, values]),
  );
  return imageFromPlanes(width, height, planes);
}

describe('where a scene is looked at', () => {
  it('lies inside the region, however small it is', () => {
    const side = fc.integer({ min: 1, max: 5_000 });
    const at = fc.integer({ min: 0, max: 5_000 });
    fc.assert(
      fc.property(fc.record({ x: at, y: at, width: side, height: side }), (region) => {
        for (const rect of firstStrips(region, 8)) {
          expect(rect.x).toBeGreaterThanOrEqual(region.x);
          expect(rect.y).toBeGreaterThanOrEqual(region.y);
          expect(rect.x + rect.width).toBeLessThanOrEqual(region.x + region.width);
          expect(rect.y + rect.height).toBeLessThanOrEqual(region.y + region.height);
          expect(Math.min(rect.width, rect.height)).toBeGreaterThanOrEqual(1);
        }
      }),
    );
  });

  it('goes right across, lying and standing in turn, and meets whatever takes up a quarter of a side', () => {
    const region = { x: 100, y: 50, width: 1920, height: 1080 };
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 800 }),
        fc.uint8Array({ minLength: 32, maxLength: 32 }),
        (top, bytes) => {
          const scene = digestSchema.parse(Buffer.from(bytes).toString('hex'));
          const lying = firstStrips(region, 8, scene).filter(({ width }) => width === region.width);
          expect(lying).toHaveLength(4);
          const [from, to] = [region.y + top, region.y + top + region.height / 4];
          // Four of them leave no gap of more than the largest that multiples of the golden section leave.
          const gaps = [region.y, ...lying.map(({ y }) => y).sort((a, b) => a - b), region.y + region.height];
          const widest = Math.max(...gaps.slice(1).map((y, index) => y - (gaps[index] ?? 0)));
          expect(widest).toBeLessThanOrEqual(0.62 * region.height);
          if (widest <= region.height / 4)
            expect(lying.some(({ y }) => y + STRIP_PX > from && y < to)).toBe(true);
        },
      ),
    );
  });

  it('is the same for everybody, and another place in another scene', () => {
    const region = { x: 0, y: 0, width: 1920, height: 1080 };
    expect(firstStrips(region, 4)).toEqual(firstStrips(region, 4));
    expect(firstStrips(region, 4)).not.toEqual(firstStrips(region, 4, digestSchema.parse('aa'.repeat(32))));
  });

  it('is the first and the last frame of the job, in order', () => {
    expect(framesToTry([7, 3, 40, 12])).toEqual([3, 40]);
    expect(framesToTry([5])).toEqual([5]);
  });
});

describe('what two renders say', () => {
  const rect = { x: 10, y: 20, width: 1024, height: 4 };
  const strips = [{ frame: 3, rect }];

  it('passes what is equal, and what differs in the last bits', () => {
    const [one, other] = [noise(1024, 4), noise(1024, 4, () => 1e-6)];
    expect(judgeStrips(strips, [one], [one]).outcome).toBe('pass');
    expect(judgeStrips(strips, [one], [other])).toMatchObject({ outcome: 'pass', pixelMatchFraction: 1 });
  });

  it('finds what differs in one place of a long strip, and says where', () => {
    const changed = noise(1024, 4, (x) => (x >= 600 && x < 640 ? 0.05 : 0));
    const finding = judgeStrips(strips, [noise(1024, 4)], [changed]);
    // 40 of 1,024 columns: by the whole strip it would be 96 %, here it is 84 % of a piece.
    expect(finding).toMatchObject({
      outcome: 'fail',
      frame: 3,
      rect: { x: 522, y: 20, width: 256, height: 4 },
    });
    expect(finding.pixelMatchFraction).toBeCloseTo(1 - 40 / 256);
    expect(describeFinding(finding)).toBe(
      'the scene does not render the same twice: frame 3 at 522,20 (256x4), 84.4 % of the pixels match, 99.8 % are needed',
    );
  });

  it('takes standing strips apart from top to bottom', () => {
    const standing = [{ frame: 1, rect: { x: 5, y: 0, width: 4, height: 600 } }];
    const finding = judgeStrips(standing, [noise(4, 600)], [noise(4, 600, (_, y) => (y > 500 ? 0.1 : 0))]);
    expect(finding).toMatchObject({ outcome: 'fail', rect: { x: 5, y: 400, width: 4, height: 200 } });
  });

  it('sees content in noise and none in a plain background', () => {
    expect(pixelsWithContent(noise(100, 4))).toBeGreaterThan(300);
    const plain = new Float32Array(400).fill(0.05);
    const planes = Object.fromEntries(
      ['R', 'G', 'B'].map((letter) => [`ViewLayer.Combined.${letter}`, plain]),
    );
    expect(pixelsWithContent(imageFromPlanes(100, 4, planes))).toBe(0);
  });
});
