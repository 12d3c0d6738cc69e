/** The verifier trusts nobody's word about what was drawn: it draws again from the seed on chain. Pure. */

import { FarmError } from '../protocol/errors.ts';
import type { Bytes32 } from '../protocol/ids.ts';
import type { Receipt } from '../protocol/receipt.ts';
import type { Challenge } from '../protocol/verdict.ts';
import { drawChallenge } from './draw.ts';
import { receiptLeaf, receiptRoot, sortByLeaf } from './receipts.ts';

/**
 * The receipts in drawing order. Throws MESSAGE_INVALID when they are not those under the committed root, or when the
 * challenge is not the `challengeCount` receipts that the seed draws from them (fewer would be a favour to the node): then the coordinator is at fault and no verdict is given.
 */
export function requireHonestDraw(
  challenge: Challenge,
  receipts: readonly Receipt[],
  onChain: { root: Bytes32; count: number; seed: Bytes32 | null },
  challengeCount: number,
): Receipt[] {
  const ordered = sortByLeaf(receipts).map((entry) => entry.receipt);
  if (ordered.length !== onChain.count || receiptRoot(ordered.map(receiptLeaf)) !== onChain.root) {
    throw new FarmError('MESSAGE_INVALID', 'the receipts are not those that were committed on chain');
  }
  if (onChain.seed === null || onChain.seed !== challenge.seed) {
    throw new FarmError('MESSAGE_INVALID', 'the seed is not the one drawn on chain');
  }
  const drawn = drawChallenge({
    seed: onChain.seed,
    count: ordered.length,
    receipts: ordered,
    challengeCount,
  });
  const agrees =
    challenge.items.length === drawn.length &&
    challenge.items.every((item, position) => {
      const receipt = ordered[item.index];
      const draw = drawn[position];
      return (
        receipt !== undefined &&
        draw !== undefined &&
        draw.index === item.index &&
        sameRect(draw.crop, item.crop) &&
        sameRect(receipt.rect, item.rect) &&
        receipt.frame === item.frame &&
        receipt.kind === item.kind &&
        receipt.samples === item.samples
      );
    });
  if (!agrees) throw new FarmError('MESSAGE_INVALID', 'the challenge is not what the seed draws');
  return ordered;
}

type Rect = Receipt['rect'];

function sameRect(a: Rect, b: Rect): boolean {
  return a.x === b.x && a.y === b.y && a.width === b.width && a.height === b.height;
}
