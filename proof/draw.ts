/**
 * What a seed draws from a batch: which receipts, and in each which rectangle. Whole numbers and keccak-256 only, so
 * that a contract repeats it step by step.
 *
 *     word(c)    = uint256(keccak256(abi.encode(bytes32 seed, uint256 c))),  c = 0, 1, 2, … over the whole draw
 *     below(n)   = word(c++) % n, skipping every word >= 2^256 - (2^256 mod n)     (unbiased; always takes a word)
 *     indexes    : a = [0 … count-1]; for i in 0 … k-1: swap a[i] with a[i + below(count - i)]; result a[0 … k-1]
 *     crops      : then, receipt by receipt in that order and for render and frame receipts only,
 *                  x = rect.x + below(rect.width - crop.width + 1), y = rect.y + below(rect.height - crop.height + 1)
 *
 * (Fisher and Yates' shuffle in Durstenfeld's form, stopped after k steps.)
 */
import { AbiCoder } from 'ethers/abi';
import { keccak256 } from 'ethers/crypto';
import { FarmError } from '../protocol/errors.ts';
import type { Bytes32 } from '../protocol/ids.ts';
import type { TaskKind } from '../protocol/receipt.ts';
import type { Rect, Size } from '../protocol/rect.ts';

/** Below this a crop has too few pixels for the match fraction: 32 x 32 makes one pixel 0.1 % (thresholds.ts). */
export const MIN_CROP_PX = 32;

/** Above this more pixels say nothing more about the tile, and cost the verifier as much as they cost the node. */
export const MAX_CROP_PX = 128;

/**
 * A third of a side is a ninth of the area: with 2 of 64 tiles drawn, about 0.35 % of the batch is rendered again,
 * while a fake has to leave most of a tile honest to have a fair chance of not being hit.
 */
const CROP_PARTS = 3;

const WORD_RANGE = 2n ** 256n;

export type DrawnCrop = {
  /** Which receipt, counted in ascending order of their leaves (receipts.ts `sortByLeaf`). */
  index: number;
  /** Full-frame pixels. */
  crop: Rect;
};

export type DrawInput = {
  seed: Bytes32;
  /** The number of receipts that was committed on chain. */
  count: number;
  /** The batch's receipts in ascending order of their leaves. */
  receipts: readonly { rect: Rect; kind: TaskKind }[];
  /** k: how many receipts to draw; more than `count` draws them all. */
  challengeCount: number;
  /** Side of the square crop in pixels, clipped to the tile. Left out: {@link cropFor}. */
  cropSidePx?: number;
};

type Below = (n: number) => number;

function uniform(seed: Bytes32): Below {
  let counter = 0n;
  return (n) => {
    const range = BigInt(n);
    const limit = WORD_RANGE - (WORD_RANGE % range);
    for (;;) {
      const word = BigInt(
        keccak256(AbiCoder.defaultAbiCoder().encode(['bytes32', 'uint256'], [seed, counter])),
      );
      counter += 1n;
      if (word < limit) return Number(word % range);
    }
  };
}

function clip(side: number, rect: Rect): Size {
  return { width: Math.min(side, rect.width), height: Math.min(side, rect.height) };
}

/**
 * The size of the crop that is drawn in a tile: a square of a third of the tile's mean side,
 * floor((width + height) / 6), at least {@link MIN_CROP_PX}, at most {@link MAX_CROP_PX}, clipped to the tile.
 */
export function cropFor(rect: Rect): Size {
  const third = Math.floor((rect.width + rect.height) / (2 * CROP_PARTS));
  return clip(Math.min(MAX_CROP_PX, Math.max(MIN_CROP_PX, third)), rect);
}

/**
 * Draws `challengeCount` different receipts and a crop in each (the whole rectangle for a finish receipt, which is
 * checked as a whole). Deterministic; the algorithm is at the top of this file.
 * @throws FarmError MESSAGE_INVALID when `count` is not the number of receipts, or a number is not a positive whole one.
 */
export function drawChallenge(input: DrawInput): DrawnCrop[] {
  const { seed, count, receipts, challengeCount, cropSidePx } = input;
  if (receipts.length !== count || count < 1) {
    throw new FarmError('MESSAGE_INVALID', `${receipts.length} receipts for a batch of ${count}`);
  }
  for (const value of [challengeCount, cropSidePx ?? 1]) {
    if (!Number.isInteger(value) || value < 1) throw new FarmError('MESSAGE_INVALID', `cannot draw ${value}`);
  }
  const below = uniform(seed);
  const order = receipts.map((receipt, index) => ({ receipt, index }));
  const drawn = Math.min(challengeCount, count);
  for (let i = 0; i < drawn; i++) {
    const j = i + below(count - i);
    const kept = order[i] as (typeof order)[number];
    order[i] = order[j] as (typeof order)[number];
    order[j] = kept;
  }
  return order.slice(0, drawn).map(({ receipt: { kind, rect }, index }) => {
    if (kind === 'finish') return { index, crop: { ...rect } };
    const size = cropSidePx === undefined ? cropFor(rect) : clip(cropSidePx, rect);
    const x = rect.x + below(rect.width - size.width + 1);
    const y = rect.y + below(rect.height - size.height + 1);
    return { index, crop: { x, y, ...size } };
  });
}
