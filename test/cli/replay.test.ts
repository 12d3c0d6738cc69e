import { describe, expect, it } from 'vitest';
import { replayComparison, sameAsReference } from '../../cli/audit/replay.ts';
import { compareCrops } from '../../proof/compare.ts';
import { crop, imageFromPlanes, type PixelImage, pixelDigest, plane } from '../../proof/pixels.ts';
import type { Comparison } from '../../protocol/verdict.ts';
import { render } from '../proof/synthetic.ts';

const FRAME = render({ side: 64, samples: 64, seed: 1 });
const FAKE = render({ side: 64, samples: 16, seed: 2 });
const RECT = { x: 8, y: 8, width: 40, height: 40 };

function recorded(reference: PixelImage, claim: PixelImage): Comparison {
  const found = compareCrops(reference, claim);
  return {
    ...{ index: 3, kind: 'render', frame: 1, rect: RECT, crop: RECT, samples: 64 },
    ...{ outcome: found.outcome, decidedBy: found.decidedBy, reason: '' },
    pixelMatchFraction: found.pixelMatchFraction,
    perceptualHashDistance: found.perceptualHashDistance,
    perceptualHashAloneWouldPay: found.perceptualHashAloneWouldPay,
    steps: found.steps,
    reference: { pixelDigest: pixelDigest(reference), blob: null },
    claim: { pixelDigest: pixelDigest(claim), blob: null },
    ...{ heatMap: null, renderMs: 1, compareMs: 1 },
  };
}

/** One pixel of the first channel, moved. */
function nudged(image: PixelImage): PixelImage {
  const planes = Object.fromEntries(
    image.channels.map((name) => [name, Float32Array.from(plane(image, name) as Float32Array)]),
  );
  const first = planes[image.channels[0] as string] as Float32Array;
  first[7] = (first[7] as number) + 1;
  return imageFromPlanes(image.width, image.height, planes);
}

describe('a comparison taken again from its pixels', () => {
  const [ours, theirs] = [crop(FRAME, RECT), crop(FAKE, RECT)];

  it('holds where numbers and outcome are the same', () => {
    const replayed = replayComparison(recorded(ours, theirs), 'sameClass', {
      reference: ours,
      claim: theirs,
    });
    expect(replayed).toMatchObject({ index: 3, holds: true });
  });

  it('does not hold for other pixels than those that were compared', () => {
    const told = recorded(ours, theirs);
    for (const [side, pixels] of [
      ['reference', { reference: nudged(ours), claim: theirs }],
      ['claim', { reference: ours, claim: nudged(theirs) }],
    ] as const) {
      const replayed = replayComparison(told, 'sameClass', pixels);
      expect(replayed.holds).toBe(false);
      expect(replayed.detail).toContain(side);
    }
  });

  it('does not hold for another number or another outcome', () => {
    const told = recorded(ours, theirs);
    const pixels = { reference: ours, claim: theirs };
    const kinder = replayComparison({ ...told, pixelMatchFraction: 0.9999 }, 'sameClass', pixels);
    expect(kinder).toMatchObject({ holds: false, detail: expect.stringContaining('pixelMatchFraction') });
    const passed = replayComparison({ ...told, outcome: 'pass' }, 'sameClass', pixels);
    expect(passed).toMatchObject({ holds: false, detail: 'it is fail, the evidence says pass' });
    const honest = recorded(ours, ours);
    const failed = replayComparison({ ...honest, outcome: 'fail' }, 'sameClass', {
      reference: ours,
      claim: ours,
    });
    expect(failed).toMatchObject({ holds: false, detail: 'it is pass, the evidence says fail' });
  });

  it('leaves a picture that failed beside pixels that passed as it is', () => {
    const told: Comparison = { ...recorded(ours, ours), outcome: 'fail', decidedBy: 'picture' };
    expect(replayComparison(told, 'sameClass', { reference: ours, claim: ours }).holds).toBe(true);
  });
});

describe("a verifier's crop rendered again", () => {
  const [ours, fake] = [crop(FRAME, RECT), crop(FAKE, RECT)];
  it('holds where it is equal, or as near as one class gets', () => {
    expect(sameAsReference(recorded(ours, fake), ours, ours).holds).toBe(true);
    expect(sameAsReference(recorded(ours, fake), nudged(ours), ours).holds).toBe(true);
  });
  it('does not hold where the verifier cannot have rendered that', () => {
    expect(sameAsReference(recorded(fake, fake), ours, fake)).toMatchObject({ holds: false });
  });
});
