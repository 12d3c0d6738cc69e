/**
 * Messages between the coordinator, its nodes and its verifiers. Everything is request and reply, always asked by the
 * untrusted side on a subject of its own; the coordinator never calls a node.
 */
import { z } from 'zod';
import {
  addressSchema,
  batchIdSchema,
  bytes32Schema,
  digestSchema,
  jobIdSchema,
  moneySchema,
  type NodeId,
  signatureSchema,
  taskIdSchema,
  type VerifierId,
} from './ids.ts';
import { sceneManifestSchema } from './job.ts';
import { pictureOutputSchema, precisionSchema } from './output.ts';
import { frameNumberSchema, receiptSchema, taskKindSchema } from './receipt.ts';
import { rectSchema } from './rect.ts';
import { challengeSchema, claimSchema, finishInputSchema, verdictSchema } from './verdict.ts';

/** Raised when a message changes in a way that an older program would misread. */
export const PROTOCOL_VERSION = 4;

/** Receipts under one Merkle root (design, section 2): enough to make gas per tile small, few enough to settle soon. */
export const MAX_RECEIPTS = 64;

/** Short tasks that are leased, or handed in, in one message (docs/decisions/runs.md). */
export const MAX_RUN = 16;

const tokenSchema = z.number().int().min(1);

const deviceNameSchema = z.string().min(1).max(128);

export const helloSchema = z.strictObject({
  protocolVersion: z.literal(PROTOCOL_VERSION),
  address: addressSchema,
  /** The account that is paid for this node and answers for it; most nodes are their own. */
  operator: addressSchema,
  /** Everything this node can render with, what it likes best first. */
  engines: z
    .array(
      z.strictObject({
        id: z.string().min(1).max(128),
        deviceClass: z.string().max(64),
        /** The GPU it is on, by a name of the node's own choice; left out: the CPU. */
        device: deviceNameSchema.optional(),
      }),
    )
    .min(1)
    // A few engines on each of the 16 cards of the largest machines.
    .max(128),
  /** It wants to hear of failed batches, since it may appeal: the farm waits for its answer. Left out: no. */
  appeals: z.boolean().optional(),
});
/** Whole numbers of the chain that outgrow JSON's: as text, like money. */
const nonceSchema = moneySchema;

/** What the operator has to sign before the node gets work. */
export const enrolSchema = z.strictObject({
  /** Of the operator's first signature; the second takes the next. */
  nonce: nonceSchema,
  /** The class to be registered as; null: nothing to register. */
  deviceClass: z.string().max(64).nullable(),
  /** Stake to be put down out of test money, on the embedded chain only; 0: none. */
  stake: moneySchema,
  /** Of the operator's next permit for the token. */
  permitNonce: nonceSchema,
});
export type Enrol = z.infer<typeof enrolSchema>;

export const welcomeSchema = z.strictObject({
  chainId: z.number().int(),
  escrow: addressSchema,
  registry: addressSchema,
  token: addressSchema,
  heartbeatMs: z.number().int().min(50),
  /** Null: this node may work. */
  enrol: enrolSchema.nullable(),
});
export type Welcome = z.infer<typeof welcomeSchema>;

/** The answer to {@link enrolSchema}: signatures that the farm relays, so that a node needs no gas. */
export const registerSchema = z.strictObject({
  operator: addressSchema,
  node: z
    .strictObject({
      deviceClass: bytes32Schema,
      ask: moneySchema,
      nonce: nonceSchema,
      operatorSignature: signatureSchema,
      nodeSignature: signatureSchema,
    })
    .nullable(),
  stake: z
    .strictObject({
      amount: moneySchema,
      nonce: nonceSchema,
      signature: signatureSchema,
      permit: z.strictObject({
        value: moneySchema,
        deadline: z.number().int().min(0),
        signature: signatureSchema,
      }),
    })
    .nullable(),
});
export type Register = z.infer<typeof registerSchema>;

export const leaseRequestSchema = z.strictObject({
  warmScene: digestSchema.nullable(),
  /** Which of its GPUs is free, by the name in its hello; left out: the CPU. Each asks for itself. */
  device: deviceNameSchema.optional(),
  /** What the device has just done, and how many more of these it would take at once; of anything else it gets one. */
  run: z
    .strictObject({ scene: digestSchema, kind: taskKindSchema, tasks: z.number().int().min(1).max(MAX_RUN) })
    .optional(),
});
export type LeaseRequest = z.infer<typeof leaseRequestSchema>;

const leasedTaskSchema = z.strictObject({
  taskId: taskIdSchema,
  token: tokenSchema,
  frame: frameNumberSchema,
  rect: rectSchema,
  samples: z.number().int().min(1),
  price: moneySchema,
  inputs: z.array(finishInputSchema),
});
/** Tasks of one job and kind. */
export const leaseRunSchema = z.strictObject({
  jobId: jobIdSchema,
  kind: taskKindSchema,
  scene: digestSchema,
  manifest: sceneManifestSchema,
  engine: z.string(),
  /** finish only: what the picture covers; a task's rectangle is what its tiles cover. */
  picture: rectSchema,
  /** finish and frame: whether the EXR is delivered too. */
  exr: z.boolean(),
  output: pictureOutputSchema,
  precision: precisionSchema,
  timeoutMs: z.number().int().min(1),
  /** The batch these receipts will join, and the leaves it holds already. */
  batch: z.strictObject({
    batchId: batchIdSchema,
    /** Its name on chain, which begins with the node's address. */
    batchKey: bytes32Schema,
    leaves: z.array(bytes32Schema).max(MAX_RECEIPTS),
    amount: moneySchema,
  }),
  tasks: z.array(leasedTaskSchema).min(1).max(MAX_RUN),
});
export type LeaseRun = z.infer<typeof leaseRunSchema>;
/** One task of a run with all that it has in common with the others. */
export type LeaseGrant = Omit<LeaseRun, 'tasks'> & z.infer<typeof leasedTaskSchema>;
export const leaseReplySchema = z.strictObject({
  run: leaseRunSchema.nullable(),
  /** Why there is nothing, and when asking again makes sense. 0 = at once. */
  reason: z.string(),
  retryAfterMs: z.number().int().min(0),
});
export type LeaseReply = z.infer<typeof leaseReplySchema>;

/** Leases extended in one message; a node with more of them sends several. */
export const MAX_BEATS = 64;
export const heartbeatSchema = z.strictObject({
  leases: z
    .array(z.strictObject({ taskId: taskIdSchema, token: tokenSchema, progress: z.number().min(0).max(1) }))
    .max(MAX_BEATS),
});
export const heartbeatReplySchema = z.strictObject({ lost: z.array(taskIdSchema) });

export const batchSignatureSchema = z.strictObject({
  batchId: batchIdSchema,
  root: bytes32Schema,
  count: z.number().int().min(1).max(MAX_RECEIPTS),
  amount: moneySchema,
  signature: signatureSchema,
});
export type BatchSignature = z.infer<typeof batchSignatureSchema>;

export const deliverySchema = z.strictObject({
  taskId: taskIdSchema,
  token: tokenSchema,
  receipt: receiptSchema,
  renderMs: z
    .number()
    .min(0)
    .max(2 ** 31 - 1),
  peakMemoryBytes: z.number().min(0),
});
export type Delivery = z.infer<typeof deliverySchema>;
/** Results of one job and kind. All of them are taken or none. */
export const completeSchema = z.strictObject({
  deliveries: z.array(deliverySchema).min(1).max(MAX_RUN),
  /** Signed over the whole batch including these receipts, so the batch can go on chain even if the node dies now. */
  batch: batchSignatureSchema,
});
export type Complete = z.infer<typeof completeSchema>;
export const completeReplySchema = z.strictObject({
  /** Null: all were taken. Else the batch to sign for instead; see BATCH_MOVED. */
  moved: leaseRunSchema.shape.batch.nullable(),
  /** Leases that are over: the others can be handed in without them. */
  lost: z.array(taskIdSchema),
});
export type CompleteReply = z.infer<typeof completeReplySchema>;

/** Whose fault a failure is: the scene's, the node's, or nobody's (network, storage). Only `node` counts against it. */
export const failureClassSchema = z.enum(['task', 'node', 'infrastructure']);
export type FailureClass = z.infer<typeof failureClassSchema>;
export const failSchema = z.strictObject({
  taskId: taskIdSchema,
  token: tokenSchema,
  failureClass: failureClassSchema,
  code: z.string().max(64),
  message: z.string().max(4_000),
});
export type Fail = z.infer<typeof failSchema>;

export const emptySchema = z.strictObject({});

/** So many digests fit a message twice over; a node that keeps more names the oldest. */
export const MAX_KEPT = 4_096;
/** A node that asks what it is to hand over asks again when no answer came in this time. */
export const KEPT_ANSWER_MS = 30_000;

/**
 * EXRs of frames that a node was not asked to deliver and keeps until they are settled. The answer comes as soon as
 * one of them is wanted or can go, or after a while with nothing.
 */
export const keptSchema = z.strictObject({ kept: z.array(digestSchema).max(MAX_KEPT) });
export const keptReplySchema = z.strictObject({
  /** Drawn for a check: to be delivered now. */
  wanted: z.array(digestSchema),
  /** Settled, or never taken: nobody will ask for them any more. */
  settled: z.array(digestSchema),
});
export type KeptReply = z.infer<typeof keptReplySchema>;

/** A node that asks what of it was failed asks again when no answer came in this time. */
export const FAILED_ANSWER_MS = 30_000;
/** Findings that a node is told of: half of what two words on a full batch can have, and more than anybody reads. */
export const MAX_FINDINGS = 64;

/** A batch of the node that was judged to be wrong, while that can be appealed: all that it takes to look again. */
export const failedBatchSchema = z.strictObject({
  /** What was drawn, as every verifier was given it. */
  challenge: challengeSchema,
  /** All receipts of the batch. */
  receipts: claimSchema.shape.receipts,
  /** Drawn EXRs that came too late: a committee finds them missing, too. */
  withheld: claimSchema.shape.withheld,
  /** What was found of which receipt, by whom. */
  findings: z
    .array(
      z.strictObject({
        verifier: z.string().max(128),
        index: z.number().int().min(0),
        frame: frameNumberSchema,
        crop: rectSchema,
        reason: z.string().max(1_000),
      }),
    )
    .max(MAX_FINDINGS),
  /** What a dispute costs, to the unit. */
  bond: moneySchema,
  /** Of the operator's next permit for the token. */
  permitNonce: nonceSchema,
  /** How long an answer is waited for. */
  leftMs: z.number().int().min(0),
});
export type FailedBatch = z.infer<typeof failedBatchSchema>;

/** One at a time; null after a while with none. */
export const failedReplySchema = z.strictObject({ batch: failedBatchSchema.nullable() });

/** A sentence or two. */
export const MAX_APPEAL_REASON = 1_000;

/**
 * The node's answer, once for every draw: an appeal, signed by its operator, or that it makes none. The farm relays what
 * is signed and can change nothing of it; the operator can as well send it to the escrow itself.
 */
export const appealSchema = z.strictObject({
  batchId: batchIdSchema,
  /** Of the draw that was judged. */
  seed: bytes32Schema,
  /** In words, for people: a node's, which end on terminals, so without anything that moves a cursor. */
  reason: z
    .string()
    .max(MAX_APPEAL_REASON)
    .regex(/^\P{C}*$/u, 'no control characters'),
  /** Null: it does not appeal. */
  dispute: z
    .strictObject({
      /** The operator: its bond. */
      disputer: addressSchema,
      bond: moneySchema,
      signature: signatureSchema,
      permit: z.strictObject({
        value: moneySchema,
        nonce: nonceSchema,
        deadline: z.number().int().min(0),
        signature: signatureSchema,
      }),
    })
    .nullable(),
});
export type Appeal = z.infer<typeof appealSchema>;

/** Draws of one transaction; more would save little gas, and lose more turns where one of them is refused. */
export const MAX_SECRETS = 16;

export const nextWorkSchema = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('none') }),
  /** Batches are on chain: reveal the next secrets, one for each in this order, so that their seeds can be drawn. */
  z.strictObject({
    kind: z.literal('secrets'),
    batches: z
      .array(z.strictObject({ batchId: batchIdSchema, batchKey: bytes32Schema }))
      .min(1)
      .max(MAX_SECRETS),
  }),
  z.strictObject({ kind: z.literal('challenge'), challenge: challengeSchema }),
]);
export type NextWork = z.infer<typeof nextWorkSchema>;
export const secretsSchema = z.strictObject({
  secrets: z
    .array(z.strictObject({ batchId: batchIdSchema, preimage: bytes32Schema }))
    .min(1)
    .max(MAX_SECRETS),
});
export type Secrets = z.infer<typeof secretsSchema>;
export const renderedSchema = z.strictObject({
  batchId: batchIdSchema,
  seed: bytes32Schema,
  cropDigests: z.array(digestSchema).min(1),
});
export const verifierFailSchema = z.strictObject({ batchId: batchIdSchema, message: z.string().max(4_000) });

type Exchange = { request: z.ZodType; reply: z.ZodType };

/** Everything a node may ask, on `node.<id>.<verb>`. */
export const NODE_EXCHANGES = {
  hello: { request: helloSchema, reply: welcomeSchema },
  register: { request: registerSchema, reply: emptySchema },
  lease: { request: leaseRequestSchema, reply: leaseReplySchema },
  heartbeat: { request: heartbeatSchema, reply: heartbeatReplySchema },
  complete: { request: completeSchema, reply: completeReplySchema },
  fail: { request: failSchema, reply: emptySchema },
  kept: { request: keptSchema, reply: keptReplySchema },
  failed: { request: emptySchema, reply: failedReplySchema },
  appeal: { request: appealSchema, reply: emptySchema },
} as const satisfies Record<string, Exchange>;
export type NodeVerb = keyof typeof NODE_EXCHANGES;

/** Everything a verifier may ask, on `verifier.<id>.<verb>`. */
export const VERIFIER_EXCHANGES = {
  next: { request: emptySchema, reply: nextWorkSchema },
  secrets: { request: secretsSchema, reply: emptySchema },
  rendered: { request: renderedSchema, reply: claimSchema },
  verdict: { request: verdictSchema, reply: emptySchema },
  fail: { request: verifierFailSchema, reply: emptySchema },
} as const satisfies Record<string, Exchange>;
export type VerifierVerb = keyof typeof VERIFIER_EXCHANGES;

/** A reply on the wire: the value, or an error from the table. */
export const replyEnvelopeSchema = z.discriminatedUnion('ok', [
  z.strictObject({ ok: z.literal(true), value: z.unknown() }),
  z.strictObject({ ok: z.literal(false), code: z.string(), message: z.string() }),
]);

/** A to-do entry in the TASKS stream: only a pointer; the database has the truth. */
export const taskPointerSchema = z.strictObject({ taskId: taskIdSchema, jobId: jobIdSchema });
export type TaskPointer = z.infer<typeof taskPointerSchema>;

export const TASKS_STREAM = 'TASKS';
export const taskSubject = (pointer: TaskPointer): string => `task.${pointer.jobId}.${pointer.taskId}`;
export const nodeSubject = (node: NodeId | '*', verb: NodeVerb): string => `node.${node}.${verb}`;
export const verifierSubject = (verifier: VerifierId | '*', verb: VerifierVerb): string =>
  `verifier.${verifier}.${verb}`;
