/** Challenges, and what comes of them. */
import { z } from 'zod';
import {
  batchIdSchema,
  bytes32Schema,
  digestSchema,
  jobIdSchema,
  nodeIdSchema,
  signatureSchema,
} from './ids.ts';
import { sceneManifestSchema } from './job.ts';
import { pictureOutputSchema, precisionSchema } from './output.ts';
import { frameNumberSchema, receiptSchema, taskKindSchema } from './receipt.ts';
import { rectSchema } from './rect.ts';

export const outcomeSchema = z.enum(['pass', 'fail', 'inconclusive']);
export type Outcome = z.infer<typeof outcomeSchema>;

/** A tile that a finish task merges. */
export const finishInputSchema = z.strictObject({ rect: rectSchema, exr: digestSchema });
export type FinishInput = z.infer<typeof finishInputSchema>;

/** One drawn receipt as the verifier gets it: what to render, nothing of what the node delivered. */
export const challengeItemSchema = z.strictObject({
  index: z.number().int().min(0),
  kind: taskKindSchema,
  frame: frameNumberSchema,
  rect: rectSchema,
  /** In full-frame pixels, inside `rect`. */
  crop: rectSchema,
  samples: z.number().int().min(1),
  /** finish and frame: what the picture covers. */
  picture: rectSchema,
  /** finish only: the tiles to merge. */
  inputs: z.array(finishInputSchema),
  output: pictureOutputSchema,
  precision: precisionSchema,
});
export type ChallengeItem = z.infer<typeof challengeItemSchema>;

export const challengeSchema = z.strictObject({
  batchId: batchIdSchema,
  jobId: jobIdSchema,
  nodeId: nodeIdSchema,
  scene: digestSchema,
  manifest: sceneManifestSchema,
  engine: z.string(),
  deviceClass: z.string(),
  seed: bytes32Schema,
  /** Whether merged EXRs were delivered: then they are checked too. */
  exr: z.boolean(),
  items: z.array(challengeItemSchema).min(1),
});
export type Challenge = z.infer<typeof challengeSchema>;

/** Given to the verifier only after it has committed to its own pixels: every receipt of the batch, leaves ascending. */
export const claimSchema = z.strictObject({
  receipts: z.array(receiptSchema).min(1).max(64),
});
export type Claim = z.infer<typeof claimSchema>;

/** One row of a report: one drawn receipt, compared. */
export const comparisonSchema = z.strictObject({
  index: z.number().int().min(0),
  kind: taskKindSchema,
  frame: frameNumberSchema,
  rect: rectSchema,
  crop: rectSchema,
  outcome: outcomeSchema,
  /** The step that decided: digest, sanity, perceptualHash, pixelMatch, picture or extraFiles. */
  decidedBy: z.string(),
  reason: z.string(),
  pixelMatchFraction: z.number().nullable(),
  perceptualHashDistance: z.number().nullable(),
  perceptualHashAloneWouldPay: z.boolean().nullable(),
  renderMs: z.number(),
  compareMs: z.number(),
  /** Difference picture (PNG), where pixels were compared and differ. */
  heatMap: digestSchema.nullable(),
});
export type Comparison = z.infer<typeof comparisonSchema>;

/** What a verifier signs for; stored as a blob, so the digest in the verdict pins every number. */
export const evidenceSchema = z.strictObject({
  version: z.literal(1),
  batchId: batchIdSchema,
  seed: bytes32Schema,
  root: bytes32Schema,
  outcome: outcomeSchema,
  engine: z.string(),
  deviceClass: z.string(),
  comparisons: z.array(comparisonSchema),
});
export type Evidence = z.infer<typeof evidenceSchema>;

export const verdictSchema = z.strictObject({
  batchId: batchIdSchema,
  outcome: outcomeSchema,
  /** SHA-256 of the evidence blob. */
  evidence: digestSchema,
  signature: signatureSchema,
});
export type Verdict = z.infer<typeof verdictSchema>;

export const batchStateSchema = z.enum(['open', 'closed', 'committed', 'drawn', 'judged', 'settled']);
export type BatchState = z.infer<typeof batchStateSchema>;

/** A batch as the API shows it. */
export const batchViewSchema = z.strictObject({
  id: batchIdSchema,
  jobId: jobIdSchema,
  nodeId: nodeIdSchema,
  kind: taskKindSchema,
  state: batchStateSchema,
  receipts: z.number(),
  amount: z.string(),
  root: bytes32Schema.nullable(),
  seed: bytes32Schema.nullable(),
  outcome: outcomeSchema.nullable(),
  evidence: evidenceSchema.nullable(),
});
export type BatchView = z.infer<typeof batchViewSchema>;
