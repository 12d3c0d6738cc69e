/** How the farm is shared, as its operator says it. */
import { z } from 'zod';
import { accountSchema, poolSchema } from './job.ts';

/** A node is in some pools, not in hundreds. */
const MAX_POOLS = 32;

export const poolsSchema = z.strictObject({ pools: z.array(poolSchema).max(MAX_POOLS) });
export type Pools = z.infer<typeof poolsSchema>;

export const accountLimitSchema = z.strictObject({
  /** Nodes that work for it at once; null: any number. */
  maxNodes: z.number().int().min(1).max(1_000_000).nullable(),
});
export const accountViewSchema = z.strictObject({ name: accountSchema, ...accountLimitSchema.shape });
export type AccountView = z.infer<typeof accountViewSchema>;
