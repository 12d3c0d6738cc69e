/** What happens to a batch that this verifier cannot render: it lacks the device, or the scene does not open. */
import { digestBytes } from '../platform/blobs/digest-file.ts';
import { unclear } from '../platform/checking/compare-claim.ts';
import { requireHonestDraw } from '../proof/check-draw.ts';
import type { FarmError } from '../protocol/errors.ts';
import type { Digest } from '../protocol/ids.ts';
import type { Challenge, Outcome } from '../protocol/verdict.ts';
import { storeEvidence } from './evidence.ts';
import type { VerifyPorts } from './verify-batch.ts';

export type GiveUpPorts = Pick<VerifyPorts, 'blobs' | 'signal' | 'onChain' | 'challengeCount' | 'commit'>;

/**
 * Ends the batch without a clear outcome, which pays nothing and punishes nobody. Nothing was rendered: the commitment
 * is to the reason. Throws MESSAGE_INVALID, and gives no verdict, where the draw is not the chain's.
 */
export async function giveUpBatch(
  challenge: Challenge,
  ports: GiveUpPorts,
  why: FarmError,
): Promise<{ outcome: Outcome; evidence: Digest }> {
  const reason = `${why.code}: ${why.message}`;
  const claim = await ports.commit(challenge.items.map(() => digestBytes(reason)));
  requireHonestDraw(challenge, claim.receipts, ports.onChain, ports.challengeCount);
  const outcome = 'inconclusive';
  const comparisons = challenge.items.map((item) => unclear(item, reason));
  return {
    outcome,
    evidence: await storeEvidence(challenge, ports, { outcome, comparisons, thresholds: 'sameClass' }),
  };
}
