/** What a verdict rests on, kept where everybody who is concerned can read it. */
import type { ChainBatch } from '../platform/chain/chain.ts';
import type { VerifyTools } from '../platform/checking/tools.ts';
import { toJson } from '../platform/json.ts';
import type { Digest } from '../protocol/ids.ts';
import type { Challenge, Comparison, Evidence, Outcome, ThresholdsName } from '../protocol/verdict.ts';

/** Stores it; gives the digest that the verdict signs. */
export async function storeEvidence(
  challenge: Challenge,
  { blobs, onChain, signal }: Pick<VerifyTools, 'blobs' | 'signal'> & { onChain: Pick<ChainBatch, 'root'> },
  found: {
    outcome: Outcome;
    comparisons: Comparison[];
    thresholds: ThresholdsName;
    /** Where it is another class than the claim's. */
    referenceClass?: string;
  },
): Promise<Digest> {
  const { outcome, comparisons, thresholds, referenceClass } = found;
  const evidence: Evidence = {
    version: 3,
    batchId: challenge.batchId,
    batchKey: challenge.batchKey,
    jobId: challenge.jobId,
    scene: challenge.scene,
    precision: challenge.items[0]?.precision ?? 'float',
    thresholds,
    seed: challenge.seed,
    root: onChain.root,
    ...{ outcome, engine: challenge.engine, deviceClass: challenge.deviceClass, comparisons },
    ...(referenceClass !== undefined && { referenceClass }),
  };
  return await blobs.putBytes(new TextEncoder().encode(toJson(evidence)), signal);
}
