/** A word and its evidence of a verifier that rendered nothing: it commits to made-up crops, and makes up what it found. */
import { digestBytes } from '../../platform/blobs/digest-file.ts';
import type { Challenge, Comparison, Outcome } from '../../protocol/verdict.ts';
import type { CheckPorts, checkChallenge } from '../../verifier/check-challenge.ts';
import { storeEvidence } from '../../verifier/evidence.ts';

export async function sayUnlooked(
  outcome: Extract<Outcome, 'pass' | 'fail'>,
  challenge: Challenge,
  ports: CheckPorts,
): ReturnType<typeof checkChallenge> {
  const { receipts } = await ports.commit(challenge.items.map(({ crop }) => digestBytes(String(crop.x))));
  const found =
    outcome === 'pass'
      ? { decidedBy: 'digest', reason: 'every pixel is equal', pixelMatchFraction: 1 }
      : { decidedBy: 'pixelMatch', reason: 'no pixel is equal', pixelMatchFraction: 0 };
  const comparisons = challenge.items.map((item): Comparison => {
    const { index, kind, frame, rect, crop, samples } = item;
    const claimed = receipts[index]?.pixelDigest ?? digestBytes('');
    const pixels = kind === 'finish' ? null : { pixelDigest: claimed, blob: null };
    return {
      ...{ index, kind, frame, rect, crop, samples, outcome, ...found },
      ...{ perceptualHashDistance: 0, perceptualHashAloneWouldPay: true },
      ...{ steps: [], reference: pixels, claim: pixels, heatMap: null, renderMs: 100, compareMs: 5 },
    };
  });
  const evidence = await storeEvidence(challenge, ports, { outcome, comparisons, thresholds: 'sameClass' });
  return { outcome, evidence };
}
