/**
 * Receipts as leaves of a Merkle tree, in the format of OpenZeppelin's StandardMerkleTree (double keccak-256 of the
 * ABI encoding), so that a contract checks them with `MerkleProof` and no code of our own.
 *
 * Which receipt is "number i": the tree sorts its leaves, and hashes each pair sorted, so a root fixes the *set* of
 * receipts and not the order in which they were finished. A node that could choose the order after the seed is
 * known would move a good receipt to each drawn place. Therefore the index that a challenge draws always counts the
 * leaves in ascending order ({@link sortByLeaf}), which is a function of the set and hence fixed by the root.
 */
import { SimpleMerkleTree } from '@openzeppelin/merkle-tree';
import { keccak256 } from 'ethers/crypto';
import { id } from 'ethers/hash';
import { FarmError } from '../protocol/errors.ts';
import type { Bytes32, Digest } from '../protocol/ids.ts';
import type { Receipt, TaskKind } from '../protocol/receipt.ts';
import { AbiWords, byteOf } from './abi-words.ts';
import './keccak.ts';

/** A leaf's fields in order. Texts travel as keccak-256 of their UTF-8 bytes, digests as they are. */
export const RECEIPT_ABI_TYPES = [
  'bytes32', // jobId, hashed
  'bytes32', // taskId, hashed
  'uint8', // kind: 0 render, 1 finish, 2 frame
  'address', // node
  'int32', // frame
  'uint32', // rect.x
  'uint32', // rect.y
  'uint32', // rect.width
  'uint32', // rect.height
  'uint32', // samples
  'bytes32', // exrDigest
  'bytes32', // pixelDigest
  'bytes32', // pictureDigest, zero when there is none; with extra files keccak-256 of it and extraFilesDigest
  'bytes32', // engine, hashed
  'bytes32', // deviceClass, hashed
  'uint96', // price
] as const;

const KIND_NUMBER: Record<TaskKind, number> = { render: 0, finish: 1, frame: 2 };
/** No file has this SHA-256, as far as anybody knows, so it can stand for "none". */
const NO_DIGEST = `0x${'0'.repeat(64)}`;

function digestWord(digest: Digest | null): string {
  return digest === null ? NO_DIGEST : `0x${digest}`;
}

/**
 * All that was delivered in one word. A frame with files of File Output nodes keeps the leaf's format this way, and one
 * without them its leaf. That a picture's SHA-256 and a keccak-256 are ever the same is beyond anybody's power.
 */
function deliveredWord({ pictureDigest, extraFilesDigest }: Receipt): string {
  const picture = digestWord(pictureDigest);
  return extraFilesDigest === undefined
    ? picture
    : keccak256(`${picture}${digestWord(extraFilesDigest).slice('0x'.length)}`);
}

/** Hashes of the texts that thousands of receipts have in common: jobs, engines, device classes. */
const MAX_REMEMBERED = 1_000;
const hashes = new Map<string, string>();

function commonId(text: string): string {
  let hash = hashes.get(text);
  if (hash === undefined) {
    hash = id(text);
    if (hashes.size >= MAX_REMEMBERED) hashes.clear();
    hashes.set(text, hash);
  }
  return hash;
}

/**
 * The leaf of a receipt: keccak256(keccak256(abi.encode(fields))), as in OpenZeppelin's StandardMerkleTree. Hashing
 * twice keeps an inner node (64 bytes, hashed once) from ever passing as a leaf.
 * @throws RangeError when a field does not fit its type; a parsed Receipt always fits.
 */
export function receiptLeaf(receipt: Receipt): Bytes32 {
  const { rect } = receipt;
  const { bytes } = new AbiWords(RECEIPT_ABI_TYPES.length)
    .bytes32(commonId(receipt.jobId))
    .bytes32(id(receipt.taskId))
    .uint(KIND_NUMBER[receipt.kind], 8)
    .address(receipt.node)
    .int32(receipt.frame)
    .uint(rect.x, 32)
    .uint(rect.y, 32)
    .uint(rect.width, 32)
    .uint(rect.height, 32)
    .uint(receipt.samples, 32)
    .bytes32(digestWord(receipt.exrDigest))
    .bytes32(digestWord(receipt.pixelDigest))
    .bytes32(deliveredWord(receipt))
    .bytes32(commonId(receipt.engine))
    .bytes32(commonId(receipt.deviceClass))
    .uint(receipt.price, 96);
  return keccak256(keccak256(bytes)) as Bytes32;
}

/** Receipts with their leaves in ascending order of the leaf: the order that the draw's indexes count in. */
export function sortByLeaf(receipts: readonly Receipt[]): { receipt: Receipt; leaf: Bytes32 }[] {
  return inLeafOrder(receipts.map((receipt) => ({ receipt, leaf: receiptLeaf(receipt) })));
}

/** The same order for whoever has the leaves already: making one takes longer than all the rest here. */
export function inLeafOrder<T extends { leaf: Bytes32 }>(entries: readonly T[]): T[] {
  return [...entries].sort((a, b) => (a.leaf < b.leaf ? -1 : a.leaf > b.leaf ? 1 : 0));
}

function requireDistinct(leaves: readonly Bytes32[]): void {
  if (leaves.length === 0) throw new FarmError('MESSAGE_INVALID', 'a batch has at least one receipt');
  // The same receipt twice would be drawn once and paid twice.
  if (new Set(leaves).size !== leaves.length) {
    throw new FarmError('MESSAGE_INVALID', 'the same receipt is in the batch twice');
  }
}

function treeOf(leaves: readonly Bytes32[]): SimpleMerkleTree {
  requireDistinct(leaves);
  return SimpleMerkleTree.of([...leaves], { sortLeaves: true });
}

/**
 * The Merkle root of a batch: that of OpenZeppelin's tree over the sorted leaves, without the tree, which takes three times as
 * long. The order of `leaves` makes no difference.
 * @throws FarmError MESSAGE_INVALID for no leaves or a repeated one.
 */
export function receiptRoot(leaves: readonly Bytes32[]): Bytes32 {
  requireDistinct(leaves);
  const sorted = [...leaves].sort();
  // A tree in an array: the children of node i are 2i + 1 and 2i + 2, and the leaves stand at its end, backwards.
  const tree = new Array<Bytes32>(sorted.length - 1).concat(sorted.reverse());
  const pair = new Uint8Array(64);
  for (let node = sorted.length - 2; node >= 0; node--) {
    const [left, right] = [tree[2 * node + 1], tree[2 * node + 2]] as [Bytes32, Bytes32];
    // Hashed in ascending order, so that a proof need not say which of the two is on the left.
    const [low, high] = left < right ? [left, right] : [right, left];
    for (let index = 0; index < 32; index++) {
      pair[index] = byteOf(low, 2 + 2 * index);
      pair[32 + index] = byteOf(high, 2 + 2 * index);
    }
    tree[node] = keccak256(pair) as Bytes32;
  }
  return tree[0] as Bytes32;
}

/**
 * The siblings that lead from `leaves[index]` (index into the array as given) to the root, lowest first.
 * @throws FarmError MESSAGE_INVALID for no leaves, a repeated one, or an index outside them.
 */
export function receiptProof(leaves: readonly Bytes32[], index: number): Bytes32[] {
  const tree = treeOf(leaves);
  const leaf = leaves[index];
  if (leaf === undefined) throw new FarmError('MESSAGE_INVALID', `the batch has no receipt ${index}`);
  return tree.getProof(leaf) as Bytes32[];
}

/** Whether `leaf` belongs to the batch with this root. Equal to OpenZeppelin's `MerkleProof.verify` on chain. */
export function verifyReceiptProof(root: Bytes32, leaf: Bytes32, proof: readonly Bytes32[]): boolean {
  return SimpleMerkleTree.verify(root, leaf, [...proof]);
}
