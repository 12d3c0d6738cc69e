/** Nodes that a person keeps away from a job, or from one task of it. */
import { z } from 'zod';
import { nodeIdSchema, taskIdSchema } from './ids.ts';

/** Printed on terminals of others, where a control character may do anything. */
const line = (maxLength: number) =>
  z
    .string()
    .trim()
    .min(1)
    .max(maxLength)
    .regex(/^[^\p{Cc}]*$/u, 'must be one line of text');

/** A sentence or three, and a name. */
const MAX_REASON = 500;
const MAX_NAME = 64;

const target = {
  nodeId: nodeIdSchema,
  /** Left out: all of the job. */
  taskId: taskIdSchema.optional(),
};

export const blockSchema = z.strictObject({
  ...target,
  reason: line(MAX_REASON),
  /** As they call themselves: who has the farm's key may say any name, like that of an account. */
  by: line(MAX_NAME),
});
export type Block = z.infer<typeof blockSchema>;

export const unblockSchema = z.strictObject({ ...target, by: line(MAX_NAME) });
export type Unblock = z.infer<typeof unblockSchema>;

export const blockViewSchema = z.strictObject({
  nodeId: nodeIdSchema,
  /** Null: all of the job. */
  taskId: taskIdSchema.nullable(),
  /** Null: a verdict, which nobody can take back. */
  by: z.string().nullable(),
  reason: z.string(),
  /** Null for verdicts. */
  atMs: z.number().nullable(),
});
export type BlockView = z.infer<typeof blockViewSchema>;
