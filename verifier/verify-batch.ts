/** One challenge, in the order that makes it a proof: render blind, commit, see the claim, compare, sign. */
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { ChainBatch } from '../platform/chain/chain.ts';
import { toJson } from '../platform/json.ts';
import { sceneDigest } from '../platform/scenes/manifest.ts';
import { FarmError } from '../protocol/errors.ts';
import type { Digest } from '../protocol/ids.ts';
import type { Challenge, Claim, Comparison, Evidence, Outcome } from '../protocol/verdict.ts';
import { requireHonestDraw } from './check-draw.ts';
import { compareClaim } from './compare-claim.ts';
import { makeReference, type Reference } from './reference.ts';
import type { VerifyTools } from './tools.ts';

export type VerifyPorts = Omit<VerifyTools, 'folder'> & {
  workFolder: string;
  engine: { id: string; deviceClass: string };
  onChain: ChainBatch;
  /** Commits to the verifier's own pixels; the claim is the answer. */
  commit: (cropDigests: Digest[]) => Promise<Claim>;
};

/** Renders, commits, compares. Returns the stored evidence's digest and the outcome to sign. */
export async function verifyBatch(
  challenge: Challenge,
  ports: VerifyPorts,
): Promise<{ outcome: Outcome; evidence: Digest; comparisons: Comparison[] }> {
  requireSameClass(challenge, ports);
  const folder = join(ports.workFolder, challenge.batchId);
  await rm(folder, { recursive: true, force: true });
  await mkdir(folder, { recursive: true, mode: 0o700 });
  try {
    const tools: VerifyTools = { session: ports.session, blobs: ports.blobs, folder, signal: ports.signal };
    const references: Reference[] = [];
    for (const item of challenge.items) references.push(await makeReference(item, tools));
    const claim = await ports.commit(references.map((reference) => reference.commitment));
    const receipts = requireHonestDraw(challenge, claim.receipts, ports.onChain);
    const comparisons: Comparison[] = [];
    for (const [position, item] of challenge.items.entries()) {
      const receipt = receipts[item.index];
      const reference = references[position];
      if (receipt === undefined || reference === undefined)
        throw new FarmError('INTERNAL', 'a drawn receipt is missing');
      comparisons.push(await compareClaim(item, receipt, reference, tools));
    }
    const outcome = overall(comparisons);
    const evidence: Evidence = {
      version: 1,
      batchId: challenge.batchId,
      seed: challenge.seed,
      root: ports.onChain.root,
      outcome,
      engine: ports.engine.id,
      deviceClass: ports.engine.deviceClass,
      comparisons,
    };
    const stored = await ports.blobs.putBytes(new TextEncoder().encode(toJson(evidence)), ports.signal);
    return { outcome, evidence: stored, comparisons };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** One failed receipt fails the batch; one that is not clear leaves it unclear. */
export function overall(comparisons: readonly Pick<Comparison, 'outcome'>[]): Outcome {
  if (comparisons.some((comparison) => comparison.outcome === 'fail')) return 'fail';
  return comparisons.every((comparison) => comparison.outcome === 'pass') ? 'pass' : 'inconclusive';
}

/** Another engine or class gives other noise: comparing them would punish honest nodes. */
function requireSameClass(challenge: Challenge, ports: VerifyPorts): void {
  const { engine } = ports;
  if (challenge.engine !== engine.id || challenge.deviceClass !== engine.deviceClass) {
    throw new FarmError(
      'RENDER_FAILED',
      `this verifier has ${engine.id} on ${engine.deviceClass}, the batch was rendered with ${challenge.engine} on ${challenge.deviceClass}`,
    );
  }
  if (sceneDigest(challenge.manifest) !== challenge.scene) {
    throw new FarmError('MESSAGE_INVALID', "the challenge's file list is not the scene's");
  }
}
