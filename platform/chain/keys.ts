/** The farm's ids as the chain names them. */
import { id } from 'ethers';
import type { BatchId, Bytes32, JobId } from '../../protocol/ids.ts';

/** The name of a job on the chain: keccak256 of its id. */
export function jobKey(jobId: JobId): Bytes32 {
  return id(jobId) as Bytes32;
}

/** The name of a batch on the chain: keccak256 of its id. */
export function batchKey(batchId: BatchId): Bytes32 {
  return id(batchId) as Bytes32;
}
