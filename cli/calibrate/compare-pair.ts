/** The claims of one class against the references of another: what a verifier's cascade finds, crop by crop. */
import { compareCrops } from '../../proof/compare.ts';
import { meanOfHalves } from '../../proof/halves.ts';
import { noiseVarianceOfHalves } from '../../proof/pixel-match.ts';
import type { CompareThresholds } from '../../proof/thresholds.ts';
import type { Rect } from '../../protocol/rect.ts';
import type { Outcome, StepName } from '../../protocol/verdict.ts';
import type { Pair } from './pairs.ts';
import type { PlannedTile } from './plan-crops.ts';
import { type RenderedClass, readPixels } from './render-class.ts';

/** One honest crop, as the table has it. */
export type MeasuredCrop = {
  scene: string;
  frame: number;
  crop: Rect;
  pixelMatchFraction: number;
  /** R; null where the reference has no noise at all. */
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
    const [first, second] = await Promise.all((reference.halves[index] ?? []).map(readPixels));
    const claimed = claim.claims[index];
    if (first === undefined || second === undefined || claimed === undefined) continue;
    const noiseVariance = noiseVarianceOfHalves(first, second);
    const found = compareCrops(meanOfHalves(first, second), await readPixels(claimed), {
      ...{ thresholds, noiseVariance },
    });
    measured.push({
      ...{ scene, frame, crop, noiseVariance },
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
