import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { requireHonestDraw } from '../../proof/check-draw.ts';
import type { Bytes32 } from '../../protocol/ids.ts';
import type { Receipt } from '../../protocol/receipt.ts';
import type { ChallengeItem } from '../../protocol/verdict.ts';
import { delivery, drawFrom, FakeBlobs, makeReceipts, OTHER_DIGEST } from './batch.ts';

const RECEIPTS = makeReceipts(new FakeBlobs(), delivery);
const seeds = fc
  .uint8Array({ minLength: 32, maxLength: 32 })
  .map((bytes) => `0x${Buffer.from(bytes).toString('hex')}` as Bytes32);
const counts = fc.integer({ min: 1, max: 4 });
const amounts = fc.integer({ min: 1, max: 40 });
const refused = (work: () => unknown): void =>
  expect(work).toThrow(expect.objectContaining({ code: 'MESSAGE_INVALID' }));

const shift = (rect: Receipt['rect'], side: 'x' | 'y' | 'width' | 'height', by: number) => ({
  ...rect,
  [side]: rect[side] + by,
});
const sides = fc.constantFrom('x', 'y', 'width', 'height');

/** One number of one item changed. */
const itemChanges = fc.oneof(
  fc.record({ by: amounts }).map(({ by }) => (item: ChallengeItem) => ({ ...item, index: item.index + by })),
  fc.record({ by: amounts }).map(({ by }) => (item: ChallengeItem) => ({ ...item, frame: item.frame + by })),
  fc.record({ by: amounts }).map(({ by }) => (item: ChallengeItem) => ({
    ...item,
    samples: item.samples + by,
  })),
  fc.constant((item: ChallengeItem) => ({ ...item, kind: 'finish' as const })),
  fc.record({ side: sides, by: amounts }).map(({ side, by }) => (item: ChallengeItem) => ({
    ...item,
    crop: shift(item.crop, side, by),
  })),
  fc.record({ side: sides, by: amounts }).map(({ side, by }) => (item: ChallengeItem) => ({
    ...item,
    rect: shift(item.rect, side, by),
  })),
);

/** One field of one receipt changed. */
const receiptChanges = fc.oneof(
  fc
    .constantFrom('exrDigest', 'pixelDigest', 'pictureDigest')
    .map((field) => (receipt: Receipt) => ({ ...receipt, [field]: OTHER_DIGEST })),
  fc
    .record({ field: fc.constantFrom('frame', 'samples'), by: amounts })
    .map(({ field, by }) => (receipt: Receipt) => ({ ...receipt, [field]: receipt[field as 'frame'] + by })),
  fc.constant((receipt: Receipt) => ({ ...receipt, price: receipt.price + 1n })),
  fc
    .constantFrom('engine', 'deviceClass')
    .map((field) => (receipt: Receipt) => ({ ...receipt, [field]: 'x' })),
  fc.record({ side: sides, by: amounts }).map(({ side, by }) => (receipt: Receipt) => ({
    ...receipt,
    rect: shift(receipt.rect, side, by),
  })),
);

describe('the draw that a coordinator claims', () => {
  it('is accepted when it is honest, in whatever order the receipts come', () => {
    fc.assert(
      fc.property(seeds, counts, fc.shuffledSubarray(RECEIPTS, { minLength: 4 }), (seed, count, receipts) => {
        const { challenge, onChain, ordered } = drawFrom(RECEIPTS, count, seed);
        expect(requireHonestDraw(challenge, receipts, onChain, count)).toEqual(ordered);
      }),
      { numRuns: 50 },
    );
  });

  it('is refused when anything of one item is changed', () => {
    fc.assert(
      fc.property(seeds, counts, fc.nat(), itemChanges, (seed, count, which, change) => {
        const { challenge, onChain } = drawFrom(RECEIPTS, count, seed);
        const items = challenge.items.map((item, at) => (at === which % count ? change(item) : item));
        refused(() => requireHonestDraw({ ...challenge, items }, RECEIPTS, onChain, count));
      }),
      { numRuns: 100 },
    );
  });

  it('is refused when anything of one receipt is changed, one is missing, or one is there twice', () => {
    fc.assert(
      fc.property(seeds, fc.nat({ max: 3 }), receiptChanges, (seed, which, change) => {
        const { challenge, onChain } = drawFrom(RECEIPTS, 2, seed);
        const one = RECEIPTS[which] as Receipt;
        const others = RECEIPTS.filter((receipt) => receipt !== one);
        refused(() => requireHonestDraw(challenge, [...others, change(one)], onChain, 2));
        refused(() => requireHonestDraw(challenge, others, onChain, 2));
        refused(() => requireHonestDraw(challenge, [...RECEIPTS, change(one)], onChain, 2));
        refused(() => requireHonestDraw(challenge, [...others, others[0] as Receipt], onChain, 2));
      }),
      { numRuns: 40 },
    );
  });

  it('is refused with another seed or root than the chain’s, or where no seed was drawn', () => {
    fc.assert(
      fc.property(seeds, seeds, (seed, other) => {
        fc.pre(seed !== other);
        const { challenge, onChain } = drawFrom(RECEIPTS, 2, seed);
        refused(() => requireHonestDraw({ ...challenge, seed: other }, RECEIPTS, onChain, 2));
        refused(() => requireHonestDraw(challenge, RECEIPTS, { ...onChain, seed: other }, 2));
        refused(() => requireHonestDraw(challenge, RECEIPTS, { ...onChain, root: other }, 2));
        refused(() => requireHonestDraw(challenge, RECEIPTS, { ...onChain, seed: null }, 2));
        refused(() => requireHonestDraw(challenge, RECEIPTS, { ...onChain, count: 5 }, 2));
      }),
      { numRuns: 20 },
    );
  });

  it('is refused with fewer items than the policy draws, though each of them is right', () => {
    fc.assert(
      fc.property(seeds, (seed) => {
        const { challenge, onChain } = drawFrom(RECEIPTS, 3, seed);
        refused(() =>
          requireHonestDraw({ ...challenge, items: challenge.items.slice(0, 2) }, RECEIPTS, onChain, 3),
        );
        refused(() => requireHonestDraw(challenge, RECEIPTS, onChain, 4));
      }),
      { numRuns: 20 },
    );
  });

  it('is refused with an item more than there are receipts', () => {
    const { challenge, onChain } = drawFrom(RECEIPTS, 4);
    const items = [...challenge.items, challenge.items[0] as ChallengeItem];
    refused(() => requireHonestDraw({ ...challenge, items }, RECEIPTS, onChain, 4));
  });
});
