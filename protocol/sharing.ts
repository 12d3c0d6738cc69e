/** How the farm is shared, as its operator says it. */
import { z } from 'zod';
import { addressSchema, moneySchema } from './ids.ts';
import { accountSchema, poolSchema } from './job.ts';

/** A node is in some pools, not in hundreds. */
const MAX_POOLS = 32;

export const poolsSchema = z.strictObject({ pools: z.array(poolSchema).max(MAX_POOLS) });
export type Pools = z.infer<typeof poolsSchema>;

const limits = {
  /** Nodes that work for it at once; null: any number. */
  maxNodes: z.number().int().min(1).max(1_000_000).nullable(),
  /** The most that one of its jobs may cost; null: anything. */
  capPerJob: moneySchema.nullable(),
  /** The most that it may ever spend, what its open jobs may still cost included; null: anything. */
  capInAll: moneySchema.nullable(),
};

/** What is left out stays as it is. */
export const accountChangeSchema = z.strictObject({
  maxNodes: limits.maxNodes.optional(),
  capPerJob: limits.capPerJob.optional(),
  capInAll: limits.capInAll.optional(),
  /** Gives it an address of its own, once: its jobs are paid from there. */
  ownKey: z.literal(true).optional(),
});
export type AccountChange = z.infer<typeof accountChangeSchema>;

export const accountViewSchema = z.strictObject({
  name: accountSchema,
  ...limits,
  /** Null: its jobs are paid from the farm's account. */
  address: addressSchema.nullable(),
  /** By jobs whose money has all moved. */
  spent: moneySchema,
  /** What its other jobs may cost at most. */
  promised: moneySchema,
});
export type AccountView = z.infer<typeof accountViewSchema>;
