import { SimpleMerkleTree } from '@openzeppelin/merkle-tree';
import { AbiCoder } from 'ethers/abi';
import { keccak256 } from 'ethers/crypto';
import { id } from 'ethers/hash';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  RECEIPT_ABI_TYPES,
  receiptLeaf,
  receiptProof,
  receiptRoot,
  sortByLeaf,
  verifyReceiptProof,
} from '../../proof/receipts.ts';
import { isFarmError } from '../../protocol/errors.ts';
import type { Bytes32 } from '../../protocol/ids.ts';
import { type Receipt, receiptSchema } from '../../protocol/receipt.ts';
import vectors from './vectors/receipts.json' with { type: 'json' };

const hexDigits = (length: number): fc.Arbitrary<string> =>
  fc.string({ unit: fc.constantFrom(...'0123456789abcdef'), minLength: length, maxLength: length });
const suffix = fc.stringMatching(/^[0-9a-z]{1,12}$/);

const anyReceipt: fc.Arbitrary<Receipt> = fc
  .record({
    jobId: suffix.map((text) => `job_${text}`),
    taskId: suffix.map((text) => `task_${text}`),
    kind: fc.constantFrom('render', 'finish'),
    node: hexDigits(40).map((text) => `0x${text}`),
    frame: fc.integer({ min: -1_048_574, max: 1_048_574 }),
    rect: fc.record({
      x: fc.nat(65_536),
      y: fc.nat(65_536),
      width: fc.integer({ min: 1, max: 65_536 }),
      height: fc.integer({ min: 1, max: 65_536 }),
    }),
    samples: fc.integer({ min: 1, max: 65_536 }),
    exrDigest: hexDigits(64),
    pixelDigest: hexDigits(64),
    pictureDigest: fc.option(hexDigits(64)),
    engine: fc.string({ maxLength: 40 }),
    deviceClass: fc.string({ maxLength: 20 }),
    price: fc.bigInt({ min: 0n, max: 2n ** 96n - 1n }),
  })
  .map((fields) => receiptSchema.parse(fields));

/** Another digest or address, one bit away. */
function flip(hex: string, bit: number): string {
  const prefix = hex.startsWith('0x') ? 2 : 0;
  const position = prefix + (Math.floor(bit / 4) % (hex.length - prefix));
  const digit = Number.parseInt(hex[position] as string, 16) ^ (1 << (bit % 4));
  return hex.slice(0, position) + digit.toString(16) + hex.slice(position + 1);
}

/** Every field, each changed as little as it can be. */
function changes(receipt: Receipt, bit: number): Record<string, unknown>[] {
  const { rect } = receipt;
  const step = (value: number): number => (value > 1 ? value - 1 : value + 1);
  return [
    { jobId: `${receipt.jobId}0` },
    { taskId: `${receipt.taskId}0` },
    { kind: receipt.kind === 'render' ? 'finish' : 'render' },
    { node: flip(receipt.node, bit) },
    { frame: receipt.frame === 0 ? 1 : -receipt.frame },
    ...(['x', 'y', 'width', 'height'] as const).map((side) => ({
      rect: { ...rect, [side]: step(rect[side]) },
    })),
    { samples: step(receipt.samples) },
    { exrDigest: flip(receipt.exrDigest, bit) },
    { pixelDigest: flip(receipt.pixelDigest, bit) },
    {
      pictureDigest:
        receipt.pictureDigest === null ? flip('0'.repeat(64), bit) : flip(receipt.pictureDigest, bit),
    },
    { engine: `${receipt.engine} ` },
    { deviceClass: `${receipt.deviceClass} ` },
    { price: receipt.price ^ (1n << BigInt(bit % 96)) },
  ];
}

const batch = (count: number): Receipt[] =>
  fc.sample(anyReceipt, { numRuns: count, seed: 7 }).map((receipt, i) => ({
    ...receipt,
    frame: i,
  }));

describe('receipts', () => {
  it('gives the leaves and the root of the vectors (shared with the Solidity tests)', () => {
    const receipts = vectors.receipts.map(({ receipt }) => receiptSchema.parse(receipt));
    expect(receipts.map(receiptLeaf)).toEqual(vectors.receipts.map(({ leaf }) => leaf));
    expect(receiptRoot(receipts.map(receiptLeaf))).toBe(vectors.root);
    expect(RECEIPT_ABI_TYPES).toEqual(vectors.abiTypes);
  });

  it('have the leaf that a general ABI encoder gives', () => {
    fc.assert(
      fc.property(anyReceipt, (receipt) => {
        const { rect, pictureDigest } = receipt;
        const encoded = AbiCoder.defaultAbiCoder().encode(RECEIPT_ABI_TYPES, [
          ...[
            id(receipt.jobId),
            id(receipt.taskId),
            receipt.kind === 'render' ? 0 : 1,
            receipt.node,
            receipt.frame,
          ],
          ...[rect.x, rect.y, rect.width, rect.height, receipt.samples],
          ...[receipt.exrDigest, receipt.pixelDigest, pictureDigest ?? '0'.repeat(64)].map(
            (hex) => `0x${hex}`,
          ),
          ...[id(receipt.engine), id(receipt.deviceClass), receipt.price],
        ]);
        expect(receiptLeaf(receipt)).toBe(keccak256(keccak256(encoded)));
      }),
    );
  });

  it('are refused where a field does not fit its type', () => {
    const [receipt] = batch(1) as [Receipt];
    const edits: Record<string, unknown>[] = [
      { price: 2n ** 96n },
      { price: -1n },
      { samples: 2 ** 32 },
      { frame: 2 ** 31 },
      { frame: -(2 ** 31) - 1 },
      { exrDigest: 'ab' },
      { pixelDigest: 'zz'.repeat(32) },
      { node: `0x${'ab'.repeat(19)}` },
    ];
    for (const edit of edits)
      expect(() => receiptLeaf({ ...receipt, ...edit } as Receipt)).toThrow(RangeError);
  });

  it('commit to the list of extra files too, in a leaf of the same format', () => {
    fc.assert(
      fc.property(anyReceipt, hexDigits(64), hexDigits(64), fc.nat(255), (receipt, picture, list, bit) => {
        const leafOf = (edit: Record<string, unknown>) =>
          receiptLeaf(receiptSchema.parse({ ...receipt, pictureDigest: picture, ...edit }));
        const leaves = [
          leafOf({}),
          leafOf({ extraFilesDigest: list }),
          leafOf({ extraFilesDigest: flip(list, bit) }),
          leafOf({ extraFilesDigest: list, pictureDigest: flip(picture, bit) }),
          leafOf({ pictureDigest: list, extraFilesDigest: picture }),
        ];
        expect(new Set(leaves).size).toBe(leaves.length);
      }),
      { numRuns: 30 },
    );
  });

  it('change their leaf with any bit of any field, and the proof breaks', () => {
    const others = batch(5).map(receiptLeaf);
    fc.assert(
      fc.property(anyReceipt, fc.nat(255), (receipt, bit) => {
        const leaf = receiptLeaf(receipt);
        const leaves = [leaf, ...others];
        const root = receiptRoot(leaves);
        const proof = receiptProof(leaves, 0);
        expect(verifyReceiptProof(root, leaf, proof)).toBe(true);
        const edits = changes(receipt, bit);
        expect(edits.length).toBe(RECEIPT_ABI_TYPES.length);
        for (const edit of edits) {
          const forged = receiptLeaf(receiptSchema.parse({ ...receipt, ...edit }));
          expect(forged).not.toBe(leaf);
          expect(verifyReceiptProof(root, forged, proof)).toBe(false);
        }
      }),
      { numRuns: 30 },
    );
  });

  it('of two nodes with the same work are different leaves', () => {
    const [receipt] = batch(1) as [Receipt];
    const copied = receiptSchema.parse({ ...receipt, node: `0x${'ab'.repeat(20)}` });
    expect(receiptLeaf(copied)).not.toBe(receiptLeaf(receipt));
  });

  it('treat an address in capitals as the same node', () => {
    const [receipt] = batch(1) as [Receipt];
    const shouted = receiptSchema.parse({ ...receipt, node: `0x${receipt.node.slice(2).toUpperCase()}` });
    expect(receiptLeaf(shouted)).toBe(receiptLeaf(receipt));
  });
});

describe('a batch', () => {
  it.each([1, 2, 3, 5, 33, 64])('of %i proves every receipt, and only with its own proof', (count) => {
    const leaves = batch(count).map(receiptLeaf);
    const root = receiptRoot(leaves);
    expect(root).toBe(SimpleMerkleTree.of(leaves, { sortLeaves: true }).root);
    for (const [i, leaf] of leaves.entries()) {
      const proof = receiptProof(leaves, i);
      expect(verifyReceiptProof(root, leaf, proof)).toBe(true);
      expect(proof.length).toBeLessThanOrEqual(Math.ceil(Math.log2(count)));
      if (count > 1) {
        expect(verifyReceiptProof(root, leaves[(i + 1) % count] as Bytes32, proof)).toBe(false);
        expect(verifyReceiptProof(root, leaf, proof.slice(1))).toBe(false);
        const bent = [flip(proof[0] as string, i) as Bytes32, ...proof.slice(1)];
        expect(verifyReceiptProof(root, leaf, bent)).toBe(false);
      }
    }
  });

  it('has one root and one order of leaves, in whatever order its receipts were finished', () => {
    const receipts = batch(20);
    const sorted = sortByLeaf(receipts);
    fc.assert(
      fc.property(fc.shuffledSubarray(receipts, { minLength: 20 }), (shuffled) => {
        expect(receiptRoot(shuffled.map(receiptLeaf))).toBe(receiptRoot(receipts.map(receiptLeaf)));
        expect(sortByLeaf(shuffled)).toEqual(sorted);
      }),
      { numRuns: 10 },
    );
    for (const [i, { receipt, leaf }] of sorted.entries()) {
      expect(receiptLeaf(receipt)).toBe(leaf);
      if (i > 0) expect(BigInt(leaf)).toBeGreaterThan(BigInt(sorted[i - 1]?.leaf as string));
    }
  });

  it('has another root with one receipt more, less or exchanged', () => {
    const leaves = batch(9).map(receiptLeaf);
    const roots = [leaves, leaves.slice(1), leaves.slice(0, 8), [...leaves.slice(1), leaves[1]]].slice(0, 3);
    expect(new Set((roots as Bytes32[][]).map(receiptRoot)).size).toBe(3);
  });

  it('refuses no receipts, the same one twice, and an index outside', () => {
    const leaves = batch(2).map(receiptLeaf);
    const codes = [
      () => receiptRoot([]),
      () => receiptRoot([...leaves, ...leaves]),
      () => receiptProof(leaves, 2),
      () => receiptProof(leaves, -1),
    ].map((run) => {
      try {
        return run();
      } catch (error) {
        return isFarmError(error, 'MESSAGE_INVALID');
      }
    });
    expect(codes).toEqual([true, true, true, true]);
  });
});
