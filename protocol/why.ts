/** Why something of a job waits, as the farm says it and as a command prints it. */
import { z } from 'zod';
import { jobIdSchema, nodeIdSchema } from './ids.ts';
import { jobStateSchema } from './job.ts';

export const standSchema = z.enum([
  'engine',
  'device',
  'pool',
  'price',
  'excluded',
  /** A person keeps it away from the job. */
  'blocked',
  'deadline',
  'quarantined',
  'job-limit',
  'account-limit',
  /** Not heard of for a while. */
  'offline',
  /** It failed every task that is left, or is kept away from it. */
  'failed-all',
  /** Works on this job. */
  'works',
  /** Works on other jobs. */
  'busy',
  /** Could begin at once. */
  'free',
]);
/** How a node stands to a job. */
export type Stand = z.infer<typeof standSchema>;

export const jobWhySchema = z.strictObject({
  id: jobIdSchema,
  state: jobStateSchema,
  /** One sentence. */
  summary: z.string(),
  tasks: z.strictObject({
    /** Could be handed out now. */
    queued: z.number().int(),
    /** Finish tasks whose tiles are not all here. */
    waiting: z.number().int(),
    leased: z.number().int(),
    /** Rendered, and not checked yet. */
    delivered: z.number().int(),
  }),
  /** Of the nodes that fit: how many work on it, and how many are its by priority and account. Null: nothing waits. */
  share: z.strictObject({ working: z.number(), fair: z.number(), fitting: z.number() }).nullable(),
  /** Nodes that stand alike, those that work on it first. */
  nodes: z.array(z.strictObject({ stand: standSchema, ids: z.array(nodeIdSchema), text: z.string() })),
});
export type JobWhy = z.infer<typeof jobWhySchema>;
