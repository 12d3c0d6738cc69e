/** The contract's structs as the port's records. */
import { z } from 'zod';
import { addressSchema, type Bytes32, bytes32Schema } from '../../protocol/ids.ts';
import type { Outcome } from '../../protocol/verdict.ts';
import type { BatchState, ChainBatch, ChainJob, JobState } from './chain.ts';

/** In the order of the Solidity enums. */
const JOB_STATES = ['none', 'open', 'closed'] as const satisfies readonly JobState[];
const BATCH_STATES = [
  'none',
  'committed',
  'drawn',
  'attested',
  'settled',
  'expired',
] as const satisfies readonly BatchState[];
const OUTCOMES = [null, 'pass', 'fail', 'inconclusive'] as const satisfies readonly (Outcome | null)[];

const small = z.bigint().transform(Number);

const jobSchema = z.object({
  requester: addressSchema,
  funded: z.bigint(),
  free: z.bigint(),
  reserved: z.bigint(),
  deadline: small,
  state: small,
  maxTaskPrice: z.bigint(),
  released: z.bigint(),
  refunded: z.bigint(),
});

const batchSchema = z.object({
  jobKey: bytes32Schema,
  node: addressSchema,
  amount: z.bigint(),
  root: bytes32Schema,
  commitBlock: z.bigint(),
  committedAt: small,
  count: small,
  reanchors: small,
  state: small,
  outcome: small,
  seed: bytes32Schema,
  evidence: bytes32Schema,
});

/** ethers gives structs as arrays with named access; zod wants a plain object. */
function plain(result: unknown): unknown {
  return typeof result === 'object' &&
    result !== null &&
    'toObject' in result &&
    typeof result.toObject === 'function'
    ? result.toObject()
    : result;
}

/** A job from the contract's `Job`. */
export function decodeJob(result: unknown): ChainJob {
  const { funded, state, ...rest } = jobSchema.parse(plain(result));
  return { ...rest, budget: funded, state: JOB_STATES[state] ?? 'none' };
}

/** A batch from the contract's `Batch`. */
export function decodeBatch(result: unknown): ChainBatch {
  const { state, outcome, seed, evidence, ...rest } = batchSchema.parse(plain(result));
  const verdict = OUTCOMES[outcome] ?? null;
  return {
    ...rest,
    state: BATCH_STATES[state] ?? 'none',
    seed: orNull(seed),
    outcome: verdict,
    // Evidence is whatever the verifier signed, zero included: the outcome says whether there is any.
    evidence: verdict === null ? null : evidence,
  };
}

/** A drawn seed is a hash: zero means that there is none. */
function orNull(value: Bytes32): Bytes32 | null {
  return /^0x0{64}$/.test(value) ? null : value;
}
