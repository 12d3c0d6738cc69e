/** One challenge, in the order that makes it a proof: render blind, commit, see the claim, compare, sign. */
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { digestBytes } from '../platform/blobs/digest-file.ts';
import type { ChainBatch } from '../platform/chain/chain.ts';
import { compareClaim, unclear } from '../platform/checking/compare-claim.ts';
import { channelsOf, findBroken } from '../platform/checking/find-broken.ts';
import { makeReference, type Reference } from '../platform/checking/reference.ts';
import type { VerifyTools } from '../platform/checking/tools.ts';
import { sceneDigest } from '../platform/scenes/manifest.ts';
import { requireHonestDraw } from '../proof/check-draw.ts';
import { overall } from '../proof/overall.ts';
import { FarmError, toFarmError } from '../protocol/errors.ts';
import type { Digest } from '../protocol/ids.ts';
import type { Receipt } from '../protocol/receipt.ts';
import type { Challenge, ChallengeItem, Claim, Comparison, Outcome } from '../protocol/verdict.ts';
import { storeEvidence } from './evidence.ts';

type MaybeReference = Reference | { kind: 'none'; commitment: Digest; reason: string };

export type VerifyPorts = Omit<VerifyTools, 'folder'> & {
  workFolder: string;
  /** What the session renders on. */
  engine: { id: string; deviceClass: string };
  onChain: ChainBatch;
  /** How many receipts the policy draws from a batch. */
  challengeCount: number;
  /** Whether to end without a clear outcome rather than to throw and be asked again. */
  lastTry: boolean;
  /** Commits to the verifier's own pixels; the claim is the answer. */
  commit: (cropDigests: Digest[]) => Promise<Claim>;
};

/** Renders, commits, compares. Returns the stored evidence's digest and the outcome to sign. */
export async function verifyBatch(
  challenge: Challenge,
  ports: VerifyPorts,
): Promise<{ outcome: Outcome; evidence: Digest; comparisons: Comparison[] }> {
  requireComparable(challenge, ports);
  const folder = join(ports.workFolder, challenge.batchId);
  await rm(folder, { recursive: true, force: true });
  await mkdir(folder, { recursive: true, mode: 0o700 });
  try {
    const { session, signal, thresholds = 'sameClass' } = ports;
    const before: VerifyTools = { session, blobs: ports.blobs, folder, signal, thresholds };
    const references = await renderAll(challenge, ports, before);
    const claim = await ports.commit(references.map((reference) => reference.commitment));
    const tools: VerifyTools = { ...before, blobs: without(claim.withheld, ports.blobs) };
    const receipts = requireHonestDraw(challenge, claim.receipts, ports.onChain, ports.challengeCount);
    requireOneClass(receipts, challenge);
    const comparisons: Comparison[] = [];
    for (const [position, item] of challenge.items.entries()) {
      const receipt = receipts[item.index];
      const reference = references[position];
      if (receipt === undefined || reference === undefined)
        throw new FarmError('INTERNAL', 'a drawn receipt is missing');
      comparisons.push(await compareOne(item, receipt, reference, challenge.exr, ports, tools));
    }
    const givenUp = (error: unknown): string => giveUp(error, ports);
    comparisons.push(...(await findBroken(challenge, receipts, channelsOf(references), givenUp, tools)));
    const outcome = overall(comparisons);
    const evidence = await storeEvidence(challenge, ports, {
      ...{ outcome, comparisons, thresholds },
      ...(thresholds !== 'sameClass' && { referenceClass: ports.engine.deviceClass }),
    });
    return { outcome, evidence, comparisons };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** On the last try a scene that this verifier cannot render gives no reference, and no verdict against anybody. */
async function renderAll(
  challenge: Challenge,
  ports: VerifyPorts,
  tools: VerifyTools,
): Promise<MaybeReference[]> {
  const references: MaybeReference[] = [];
  for (const item of challenge.items) {
    references.push(
      await makeReference(item, tools).catch((error: unknown) => {
        const failure = giveUp(error, ports);
        return { kind: 'none' as const, commitment: digestBytes(failure), reason: failure };
      }),
    );
  }
  return references;
}

async function compareOne(
  item: ChallengeItem,
  receipt: Receipt,
  reference: MaybeReference,
  exr: boolean,
  ports: VerifyPorts,
  tools: VerifyTools,
): Promise<Comparison> {
  if (reference.kind === 'none') return unclear(item, reference.reason);
  return await compareClaim(item, receipt, reference, exr, tools).catch((error: unknown) =>
    unclear(item, giveUp(error, ports)),
  );
}

/** The reason in words on the last try; before it the error goes on, and the whole challenge is tried again. */
function giveUp(error: unknown, ports: VerifyPorts): string {
  const failure = toFarmError(error);
  if (!ports.lastTry || ports.signal.aborted || failure.code === 'FARM_UNREACHABLE') throw error;
  return `could not be verified: ${failure.code}: ${failure.message}`.slice(0, 1_000);
}

/** What the node did not hand over in its time is missing, also where it came after that. */
function without(withheld: readonly Digest[], blobs: VerifyTools['blobs']): VerifyTools['blobs'] {
  if (withheld.length === 0) return blobs;
  return {
    putBytes: (bytes, signal) => blobs.putBytes(bytes, signal),
    fetchTo: async (digest, path, signal, maxBytes) => {
      if (withheld.includes(digest))
        throw new FarmError('NOT_FOUND', `the node did not hand ${digest} over in its time`);
      await blobs.fetchTo(digest, path, signal, maxBytes);
    },
  };
}

/** What was rendered on several classes is not one batch: its node would be judged by pixels that it never had. */
function requireOneClass(receipts: readonly Receipt[], { engine, deviceClass }: Challenge): void {
  const other = receipts.find((one) => one.engine !== engine || one.deviceClass !== deviceClass);
  if (other === undefined) return;
  throw new FarmError(
    'MESSAGE_INVALID',
    `the batch is of ${engine} on ${deviceClass}, and holds a receipt of ${other.engine} on ${other.deviceClass}`,
  );
}

/** Another engine gives other noise, and a class for which there are no thresholds may: comparing would punish honest nodes. */
function requireComparable(challenge: Challenge, ports: VerifyPorts): void {
  const { engine, thresholds = 'sameClass' } = ports;
  const same = challenge.deviceClass === engine.deviceClass;
  if (challenge.engine !== engine.id || same !== (thresholds === 'sameClass')) {
    throw new FarmError(
      'RENDER_FAILED',
      `this verifier has ${engine.id} on ${engine.deviceClass}, the batch was rendered with ${challenge.engine} on ${challenge.deviceClass}`,
    );
  }
  if (sceneDigest(challenge.manifest) !== challenge.scene) {
    throw new FarmError('MESSAGE_INVALID', "the challenge's file list is not the scene's");
  }
}
