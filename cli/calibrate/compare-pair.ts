/** The claims of one class against the references of another: what a verifier's cascade finds, crop by crop. */
import { compareCrops } from '../../proof/compare.ts';
import { meanOfHalves } from '../../proof/halves.ts';
import { noiseVarianceOfHalves } from '../../proof/pixel-match.ts';
import type { CompareThresholds } from '../../proof/thresholds.ts';
import type { Rect } from '../../protocol/rect.ts';
import type { Outcome, StepName } from '../../protocol/verdict.ts';
import type { Pair } from './pairs.ts';
import type { PlannedTile } from './plan-crops.ts';
import { type ReferenceFiles, type RenderedClass, readPixels } from './render-class.ts';

/** One honest crop, as the table has it. */
export type MeasuredCrop = {
  scene: string;
  frame: number;
  crop: Rect;
  /** What the claim was compared with: the mean of two halves, or the whole beside them. */
  reference: 'halves' | 'whole';
  pixelMatchFraction: number;
  /** R; null where the reference has next to no noise. */
  noiseRatio: number | null;
  noiseVariance: number;
  perceptualHashDistance: number;
  /** What the limits in force say. */
  outcome: Outcome;
  decidedBy: StepName;
};

export async function comparePair(
  { claim, reference }: Pair<RenderedClass>,
  scene: string,
  plan: readonly PlannedTile[],
  thresholds: CompareThresholds,
): Promise<MeasuredCrop[]> {
  const places = plan.flatMap(({ frame, crops }) => crops.map((crop) => ({ frame, crop })));
  const measured: MeasuredCrop[] = [];
  for (const [index, { frame, crop }] of places.entries()) {
    const files = reference.references[index];
    const claimed = claim.claims[index];
    if (files === undefined || claimed === undefined) continue;
    const { pixels, from, noiseVariance } = await referenceOf(files);
    const found = compareCrops(pixels, await readPixels(claimed), { thresholds, noiseVariance });
    measured.push({
      ...{ scene, frame, crop, noiseVariance, reference: from },
      // Null where the two differ in size or channels: then no pixel of them matches.
      pixelMatchFraction: found.pixelMatchFraction ?? 0,
      noiseRatio: found.noiseRatio,
      perceptualHashDistance: found.perceptualHashDistance ?? 0,
      outcome: found.outcome,
      decidedBy: found.decidedBy,
    });
  }
  return measured;
}

/** The noise of the whole is told by its halves, also where they do not make it. */
async function referenceOf({ halves, whole }: ReferenceFiles) {
  const [first, second] = [await readPixels(halves[0]), await readPixels(halves[1])];
  const noiseVariance = noiseVarianceOfHalves(first, second);
  if (whole !== null) return { pixels: await readPixels(whole), from: 'whole' as const, noiseVariance };
  return { pixels: meanOfHalves(first, second), from: 'halves' as const, noiseVariance };
}
