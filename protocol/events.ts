/** What happens on a farm, as it is logged, stored and streamed. One union; everything else subscribes to it. */
import { z } from 'zod';
import { batchIdSchema, jobIdSchema, nodeIdSchema, taskIdSchema } from './ids.ts';
import { frameNumberSchema, taskKindSchema } from './receipt.ts';
import { outcomeSchema, verifierRoleSchema } from './verdict.ts';

const taskFields = {
  taskId: taskIdSchema,
  kind: taskKindSchema,
  frame: frameNumberSchema,
  tile: z.number().int(),
  nodeId: nodeIdSchema,
};

export const farmEventSchema = z.discriminatedUnion('type', [
  z.strictObject({ type: z.literal('job.submitted'), tasks: z.number(), quote: z.string() }),
  z.strictObject({ type: z.literal('job.funded'), txHash: z.string().nullable() }),
  /** Its scene renders the same twice: from here on nodes can be paid. */
  z.strictObject({ type: z.literal('job.admitted') }),
  z.strictObject({ type: z.literal('task.leased'), ...taskFields }),
  /** Another node got it as well, since the one it is a copy of takes long: who delivers first wins. */
  z.strictObject({
    type: z.literal('task.copied'),
    ...taskFields,
    ofNodeId: nodeIdSchema,
    reason: z.string(),
  }),
  /** Of the two nodes this one is out of it; the other goes on. */
  z.strictObject({
    type: z.literal('task.copy-ended'),
    ...taskFields,
    keptBy: nodeIdSchema,
    reason: z.string(),
  }),
  z.strictObject({ type: z.literal('task.delivered'), ...taskFields, renderMs: z.number() }),
  z.strictObject({ type: z.literal('task.requeued'), ...taskFields, reason: z.string() }),
  z.strictObject({
    type: z.literal('batch.committed'),
    batchId: batchIdSchema,
    nodeId: nodeIdSchema,
    receipts: z.number(),
  }),
  /** A verifier has given its word. */
  z.strictObject({
    type: z.literal('batch.attested'),
    batchId: batchIdSchema,
    nodeId: nodeIdSchema,
    verifier: z.string(),
    role: verifierRoleSchema,
    outcome: outcomeSchema,
    reason: z.string(),
  }),
  /** The words on chain decide: this is what the batch is paid by, unless somebody disputes it. */
  z.strictObject({
    type: z.literal('batch.judged'),
    batchId: batchIdSchema,
    nodeId: nodeIdSchema,
    outcome: outcomeSchema,
    /** Left out in events of before there were several verifiers. */
    agreed: z.boolean().optional(),
    reason: z.string(),
  }),
  /** Somebody has put a bond on the judgement being wrong: a committee decides. */
  z.strictObject({
    type: z.literal('batch.disputed'),
    batchId: batchIdSchema,
    nodeId: nodeIdSchema,
    outcome: outcomeSchema,
    disputer: z.string(),
    /** It is the operator of the batch's own node. */
    appeal: z.boolean().optional(),
  }),
  /** The escrow took no dispute: the judgement stands. */
  z.strictObject({
    type: z.literal('batch.undisputed'),
    batchId: batchIdSchema,
    nodeId: nodeIdSchema,
    reason: z.string(),
  }),
  z.strictObject({
    type: z.literal('batch.settled'),
    batchId: batchIdSchema,
    nodeId: nodeIdSchema,
    outcome: outcomeSchema,
    amount: z.string(),
    /** What the operator lost of its stake; left out: nothing. */
    slashed: z.string().optional(),
  }),
  /** A person keeps the node away from the job, or from this task of it. */
  z.strictObject({
    type: z.literal('node.blocked'),
    nodeId: nodeIdSchema,
    taskId: taskIdSchema.optional(),
    by: z.string(),
    reason: z.string(),
  }),
  /** And lets it back. */
  z.strictObject({
    type: z.literal('node.unblocked'),
    nodeId: nodeIdSchema,
    taskId: taskIdSchema.optional(),
    by: z.string(),
  }),
  z.strictObject({ type: z.literal('node.quarantined'), nodeId: nodeIdSchema, reason: z.string() }),
  /** A verifier said of a canary what is not so; the job is that of the batch beside it, the batch the canary. */
  z.strictObject({
    type: z.literal('verifier.caught'),
    batchId: batchIdSchema,
    verifier: z.string(),
    outcome: outcomeSchema,
    reason: z.string(),
  }),
  z.strictObject({ type: z.literal('frame.done'), frame: frameNumberSchema }),
  z.strictObject({ type: z.literal('job.completed') }),
  z.strictObject({ type: z.literal('job.failed'), reason: z.string() }),
  z.strictObject({ type: z.literal('job.cancelled'), reason: z.string() }),
  z.strictObject({ type: z.literal('job.closed'), spent: z.string(), refunded: z.string() }),
]);
export type FarmEvent = z.infer<typeof farmEventSchema>;

/** An event as it is stored: numbered without gaps that matter, so that a reader can go on where it stopped. */
export const loggedEventSchema = z.strictObject({
  seq: z.number(),
  atMs: z.number(),
  jobId: jobIdSchema,
  event: farmEventSchema,
});
export type LoggedEvent = z.infer<typeof loggedEventSchema>;
