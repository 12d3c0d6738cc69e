/** Receipts of a batch that were not drawn, and whose files are not what they say. */
import type { Receipt } from '../../protocol/receipt.ts';
import type { Challenge, Comparison } from '../../protocol/verdict.ts';
import { brokenReceipt, unclear } from './compare-claim.ts';
import { BrokenClaim, findBrokenFiles, readPicture } from './read-claim.ts';
import type { Reference } from './reference.ts';
import type { VerifyTools } from './tools.ts';

/** What every tile of the scene has to have, as one of them came out; null where none was rendered. */
export function channelsOf(references: readonly (Reference | { kind: 'none' })[]): readonly string[] | null {
  const model = references.find((reference) => reference.kind === 'render');
  return model?.kind === 'render' ? model.pixels.channels : null;
}

/**
 * Receipts that were not drawn are not rendered again, but their files must be what they say: a tile that is no picture
 * would be paid for here and stop the whole frame later. `receipts` in drawing order. `giveUp` says in words why a file could
 * not be looked at, or throws.
 */
export async function findBroken(
  challenge: Challenge,
  receipts: readonly Receipt[],
  channels: readonly string[] | null,
  giveUp: (error: unknown) => string,
  tools: VerifyTools,
): Promise<Comparison[]> {
  const drawn = new Set(challenge.items.map((item) => item.index));
  // One job, so one format and one size for all its pictures.
  const sample = challenge.items[0];
  const others = [...receipts.entries()]
    .map(([index, receipt]) => ({ index, receipt }))
    .filter(({ index }) => sample !== undefined && !drawn.has(index));
  // A tile's EXR was delivered, a frame's only where the artist asked for it: then it is what the artist gets.
  const delivered = others.filter(({ receipt }) => receipt.kind === 'render' || challenge.exr);
  const errors = await findBrokenFiles(delivered, channels, tools);
  for (const { index, receipt } of others) {
    if (receipt.kind === 'render' || errors.has(index) || sample === undefined) continue;
    await readPicture(receipt, sample, `other-${index}`, tools).catch((error: unknown) =>
      errors.set(index, error),
    );
  }
  const found: Comparison[] = [];
  for (const { index, receipt } of others) {
    if (!errors.has(index)) continue;
    const error = errors.get(index);
    if (error instanceof BrokenClaim) found.push(brokenReceipt(index, receipt, error.message));
    else found.push(unclear({ index, ...receipt, crop: receipt.rect }, giveUp(error)));
  }
  return found;
}
