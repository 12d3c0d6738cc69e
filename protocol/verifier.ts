/** A verifier as the farm shows it. */
import { z } from 'zod';
import { addressSchema, batchIdSchema, jobIdSchema, moneySchema, verifierIdSchema } from './ids.ts';

const count = z.number().int().min(0);

export const verifierViewSchema = z.strictObject({
  id: verifierIdSchema,
  address: addressSchema,
  /** Whose stake answers for it; null until it has joined. */
  operator: addressSchema.nullable(),
  stake: moneySchema,
  /** `caught`: it gets no checks for a while. `left`: it is not on the chain's list. */
  state: z.enum(['active', 'caught', 'left']),
  /** What it said, canaries included. */
  words: z.strictObject({ pass: count, fail: count, inconclusive: count }),
  /** Batches of the farm's own whose answer was known: how many it answered, and how many wrongly. */
  canaries: z.strictObject({ answered: count, caught: count }),
  /** The last time: the batch whose evidence it signed, and the job that it was planted beside. */
  caught: z
    .strictObject({ batch: batchIdSchema, beside: jobIdSchema, reason: z.string(), atMs: z.number() })
    .nullable(),
});
export type VerifierView = z.infer<typeof verifierViewSchema>;
