/**
 * The verifier's secret: x_N is random, x_i = keccak256(abi.encode(x_{i+1})), and x_0, the head, is public before
 * anybody commits. Each draw reveals the preimage of the current head, so the verifier cannot choose what it reveals
 * and nobody can know it before. No counter is kept: the head on the chain says how far it got.
 */
import { keccak256 } from 'ethers/crypto';
import { FarmError } from '../../protocol/errors.ts';
import type { Bytes32 } from '../../protocol/ids.ts';

/** One draw per batch of up to 64 tasks: 1.28 million tasks before a verifier needs a new chain; half a second to grow. */
export const DEFAULT_CHAIN_LENGTH = 20_000;

/** A checkpoint every so many links: 400 of them for the default length, and 250 hashes (10 ms) to get anywhere. */
const STRIDE = 250;

export type SecretChain = {
  readonly length: number;
  /** What is published when the contract is deployed. */
  readonly head: Bytes32;
  /** x_i; `preimage(0)` is the head, `preimage(length)` the root secret. */
  preimage(index: number): Bytes32;
  /** The value that hashes to `head`. Throws FarmError when the chain is used up or the head is not of this chain. */
  nextPreimage(head: Bytes32): Bytes32;
};

/** The step the contract checks: keccak256(abi.encode(bytes32)), which is the hash of the 32 bytes themselves. */
export function hashLink(value: Bytes32): Bytes32 {
  return keccak256(value) as Bytes32;
}

/** The chain that grows from `rootSecret`. Costs `length` hashes here, 25 to 100 µs each: make it once per process. */
export function secretChain(rootSecret: Bytes32, length: number = DEFAULT_CHAIN_LENGTH): SecretChain {
  if (!Number.isSafeInteger(length) || length < 1) {
    throw new FarmError('INTERNAL', `a secret chain of length ${length} cannot be`);
  }
  const checkpoints = new Map<number, Bytes32>([[length, rootSecret]]);
  let value = rootSecret;
  for (let index = length - 1; index >= 0; index--) {
    value = hashLink(value);
    if (index % STRIDE === 0) checkpoints.set(index, value);
  }
  const head = value;
  // The block of values around the last request: draws go up one by one, so nearly every request finds it here.
  let block = { from: -1, values: [] as Bytes32[] };

  const blockOf = (index: number): { from: number; values: Bytes32[] } => {
    const from = index - (index % STRIDE);
    if (block.from === from) return block;
    const top = Math.min(from + STRIDE, length);
    let link = checkpoints.get(top);
    if (link === undefined) throw new FarmError('INTERNAL', `the secret chain has no checkpoint at ${top}`);
    const values: Bytes32[] = [];
    values[top - from] = link;
    for (let at = top - 1; at >= from; at--) {
      link = hashLink(link);
      values[at - from] = link;
    }
    block = { from, values };
    return block;
  };

  const preimage = (index: number): Bytes32 => {
    if (!Number.isSafeInteger(index) || index < 0 || index > length) {
      throw new FarmError('INTERNAL', `the secret chain goes from 0 to ${length}; there is no ${index}`);
    }
    const { from, values } = blockOf(index);
    return values[index - from] as Bytes32;
  };

  // Where the last head was found: the next one is nearly always there or a few links on.
  let hint = 0;
  const indexOf = (wanted: Bytes32): number => {
    for (let step = 0; step <= length; step++) {
      const index = (hint + step) % (length + 1);
      if (preimage(index) === wanted) return index;
    }
    throw new FarmError('CHAIN_REVERTED', `the head ${wanted} is not of this verifier's secret chain`, {
      kept: 'Nothing was revealed.',
    });
  };

  return {
    length,
    head,
    preimage,
    nextPreimage(current) {
      const index = indexOf(current);
      if (index === length) {
        throw new FarmError('CHAIN_REVERTED', `the verifier's secret chain of ${length} draws is used up`);
      }
      hint = index;
      return preimage(index + 1);
    },
  };
}
