/**
 * Names of things, as types that cannot be mixed up. A plain string is turned into one at the edge, by a schema;
 * inside the program nobody checks again.
 */
import { z } from 'zod';

/** SHA-256 of some bytes, 64 lower-case hex digits. Names every scene, tile, frame and evidence file. */
export const digestSchema = z
  .string()
  .regex(/^[0-9a-f]{64}$/, 'a SHA-256 digest: 64 lower-case hex digits')
  .brand<'Digest'>();
export type Digest = z.infer<typeof digestSchema>;

/** 32 bytes as the chain writes them: `0x` and 64 lower-case hex digits. */
export const bytes32Schema = z
  .string()
  .regex(/^0x[0-9a-f]{64}$/, 'a 32-byte value: 0x and 64 lower-case hex digits')
  .brand<'Bytes32'>();
export type Bytes32 = z.infer<typeof bytes32Schema>;

/** An account on the chain: `0x` and 40 hex digits, lower case, so that two equal addresses are equal strings. */
export const addressSchema = z
  .string()
  .regex(/^0x[0-9a-fA-F]{40}$/, 'a chain address: 0x and 40 hex digits')
  .transform((value) => value.toLowerCase())
  .brand<'Address'>();
export type Address = z.infer<typeof addressSchema>;

/** A signature, 65 bytes (r, s, v). */
export const signatureSchema = z
  .string()
  // The last byte is 27 or 28, as `ecrecover` wants it: other spellings verify here and are refused on chain.
  .regex(/^0x[0-9a-f]{128}1[bc]$/, 'a 65-byte signature in hex')
  .brand<'Signature'>();
export type Signature = z.infer<typeof signatureSchema>;

/**
 * Ids travel in NATS subjects, URLs and file names, so they are kept to letters that mean nothing in any of the
 * three: no dot (NATS token), no slash (path), no wildcard.
 */
function idSchema<const Brand extends string>(prefix: string) {
  return z
    .string()
    .regex(new RegExp(`^${prefix}_[0-9a-z]{1,40}$`), `an id of the form ${prefix}_…`)
    .brand<Brand>();
}

export const jobIdSchema = idSchema<'JobId'>('job');
export type JobId = z.infer<typeof jobIdSchema>;
export const taskIdSchema = idSchema<'TaskId'>('task');
export type TaskId = z.infer<typeof taskIdSchema>;
export const batchIdSchema = idSchema<'BatchId'>('batch');
export type BatchId = z.infer<typeof batchIdSchema>;

/** A node's name on its farm: chosen by its operator, unique there. */
export const nodeIdSchema = z
  .string()
  .regex(/^[a-z][a-z0-9-]{0,31}$/, 'a node name: a letter, then letters, digits and dashes, 32 at most')
  .brand<'NodeId'>();
export type NodeId = z.infer<typeof nodeIdSchema>;

/** A verifier's name on its farm, of the same form as a node's. */
export const verifierIdSchema = z
  .string()
  .regex(/^[a-z][a-z0-9-]{0,31}$/, 'a verifier name: a letter, then letters, digits and dashes, 32 at most')
  .brand<'VerifierId'>();
export type VerifierId = z.infer<typeof verifierIdSchema>;

/** Money in the token's smallest unit. On the wire a decimal string, since JSON numbers lose digits past 2^53. */
export const moneySchema = z
  .union([z.string().regex(/^\d{1,29}$/, 'an amount in the smallest unit, digits only'), z.bigint()])
  .transform((value) => BigInt(value))
  .refine((value) => value >= 0n && value < 2n ** 96n, 'an amount from 0 to 2^96 - 1');
