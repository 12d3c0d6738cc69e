/** A paid receipt against this machine's own render of the same tile. */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { compareClaim } from '../../platform/checking/compare-claim.ts';
import { comparePictureOf } from '../../platform/checking/pictures.ts';
import { BrokenClaim, readPicture } from '../../platform/checking/read-claim.ts';
import { finishTiles, makeReference } from '../../platform/checking/reference.ts';
import type { VerifyTools } from '../../platform/checking/tools.ts';
import type { Digest } from '../../protocol/ids.ts';
import type { JobSpec } from '../../protocol/job.ts';
import type { Receipt } from '../../protocol/receipt.ts';
import type { ChallengeItem, Comparison } from '../../protocol/verdict.ts';

export type AuditTools = VerifyTools & { hasBlob: (digest: Digest) => Promise<boolean> };

/** What the table shows of a receipt. */
export type Audited = Pick<Comparison, 'outcome' | 'decidedBy' | 'reason' | 'pixelMatchFraction'> & {
  index: number;
  receipt: Receipt;
};

/**
 * Renders the whole tile or frame here and compares with what was delivered for it, as a verifier does with a crop.
 * `receipts` are all that were paid: a frame's tiles are what its finish is made of.
 */
export async function renderAgain(
  index: number,
  receipts: readonly Receipt[],
  spec: JobSpec,
  tools: AuditTools,
): Promise<Audited> {
  const receipt = receipts[index] as Receipt;
  const item = itemOf(index, receipt, receipts, spec);
  await mkdir(tools.folder, { recursive: true });
  if (receipt.kind === 'frame' && !(await tools.hasBlob(receipt.exrDigest))) {
    return { index, receipt, ...(await byPicture(item, receipt, tools)) };
  }
  const reference = await makeReference(item, tools);
  const { outcome, decidedBy, reason, pixelMatchFraction } = await compareClaim(
    item,
    receipt,
    reference,
    spec.exr,
    tools,
  );
  return { index, receipt, outcome, decidedBy, reason, pixelMatchFraction };
}

function itemOf(index: number, receipt: Receipt, receipts: readonly Receipt[], spec: JobSpec): ChallengeItem {
  const { kind, frame, rect, samples } = receipt;
  const inputs =
    kind === 'finish'
      ? receipts
          .filter((one) => one.kind === 'render' && one.frame === frame)
          .map((one) => ({ rect: one.rect, exr: one.exrDigest }))
      : [];
  const { picture, output, precision } = spec;
  return { index, kind, frame, rect, crop: rect, samples, picture, inputs, output, precision };
}

/**
 * The raw pixels of a whole frame stay with its node unless they were asked for or drawn. Their digest is in the receipt,
 * and the picture that was delivered is there: both against this machine's own.
 */
async function byPicture(
  item: ChallengeItem,
  receipt: Receipt,
  tools: AuditTools,
): Promise<Omit<Audited, 'index' | 'receipt'>> {
  try {
    const reference = await makeReference(item, tools);
    const tiles = [{ rect: item.rect, path: join(tools.folder, `reference-${item.index}.exr`) }];
    const own = await finishTiles(item, tiles, `own-${item.index}`, tools);
    const delivered = await readPicture(receipt, item, `claim-${item.index}`, tools);
    const { outcome, detail } = comparePictureOf(own.picture, delivered);
    const equal = reference.commitment === receipt.pixelDigest;
    if (outcome === 'pass' && equal) {
      const reason = 'every raw pixel is equal, by its digest; the picture too';
      return { outcome, decidedBy: 'digest', reason, pixelMatchFraction: 1 };
    }
    const reason = equal ? detail : `${detail}; the raw pixels are not all equal, and are no longer kept`;
    return { outcome, decidedBy: 'picture', reason, pixelMatchFraction: null };
  } catch (error) {
    if (!(error instanceof BrokenClaim)) throw error;
    return { outcome: 'fail', decidedBy: 'sanity', reason: error.message, pixelMatchFraction: null };
  }
}
