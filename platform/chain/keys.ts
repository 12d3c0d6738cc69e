/** The farm's ids as the chain names them. */
import { id } from 'ethers/hash';
import type { Address, Bytes32, JobId } from '../../protocol/ids.ts';

/** The name of a job on the chain: keccak256 of its id. */
export function jobKey(jobId: JobId): Bytes32 {
  return id(jobId) as Bytes32;
}

/** The name of a device class on the chain: keccak256 of its name. */
export function deviceClassKey(deviceClass: string): Bytes32 {
  return id(deviceClass) as Bytes32;
}

/**
 * The name of a batch on the chain: the node that commits it, one of the node's lanes, and how often that lane was
 * used. A lane holds one live batch; its word in the contract's storage is written anew by each, which costs a quarter
 * of what a new word costs (docs/decisions/escrow.md).
 */
export type BatchKeyParts = { node: Address; lane: number; generation: bigint };

export function batchKeyOf({ node, lane, generation }: BatchKeyParts): Bytes32 {
  const tail = ((BigInt(lane) << 64n) | generation).toString(16).padStart(24, '0');
  return `0x${node.slice(2)}${tail}` as Bytes32;
}

export function partsOfBatchKey(key: Bytes32): BatchKeyParts {
  const tail = BigInt(`0x${key.slice(42)}`);
  return {
    node: key.slice(0, 42) as Address,
    lane: Number(tail >> 64n),
    generation: tail & 0xffff_ffff_ffff_ffffn,
  };
}
