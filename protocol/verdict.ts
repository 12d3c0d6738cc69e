/** Challenges, and what comes of them. */
import { z } from 'zod';
import {
  addressSchema,
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
  /** The batch's name on chain. */
  batchKey: bytes32Schema,
  jobId: jobIdSchema,
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
  /**
   * Drawn EXRs that the node had not handed over when its time was up. They count as missing for every verifier of this
   * draw, also where they came later: else one verifier would find them missing and the next one not.
   */
  withheld: z.array(digestSchema).max(64),
});
export type Claim = z.infer<typeof claimSchema>;

export const stepNameSchema = z.enum(['digest', 'sanity', 'perceptualHash', 'pixelMatch', 'noiseRatio']);
export type StepName = z.infer<typeof stepNameSchema>;

/** What one step of the comparison found. `undecided`: it leaves the decision to the steps after it. */
export const comparisonStepSchema = z.strictObject({
  step: stepNameSchema,
  result: z.enum([...outcomeSchema.options, 'undecided']),
  detail: z.string(),
});
export type ComparisonStep = z.infer<typeof comparisonStepSchema>;

/**
 * The pixels of one crop. `blob` holds them in the canonical form where reference and claim differ; where they are equal
 * in every bit nobody needs them, since anybody who renders the crop again can take their digest.
 */
export const cropPixelsSchema = z.strictObject({ pixelDigest: digestSchema, blob: digestSchema.nullable() });
export type CropPixels = z.infer<typeof cropPixelsSchema>;

/** One row of a report: one drawn receipt, compared. */
export const comparisonSchema = z.strictObject({
  index: z.number().int().min(0),
  kind: taskKindSchema,
  frame: frameNumberSchema,
  rect: rectSchema,
  crop: rectSchema,
  samples: z.number().int().min(1),
  outcome: outcomeSchema,
  /** The step that decided: digest, sanity, perceptualHash, pixelMatch, picture or extraFiles. */
  decidedBy: z.string(),
  reason: z.string(),
  pixelMatchFraction: z.number().nullable(),
  perceptualHashDistance: z.number().nullable(),
  perceptualHashAloneWouldPay: z.boolean().nullable(),
  /** Of the reference's own noise, where it had to be known: checked on another device class. */
  noiseVariance: z.number().min(0).optional(),
  /** Every step with its numbers; none where no crop was compared. */
  steps: z.array(comparisonStepSchema),
  /** The verifier's own crop and the node's; null where none was compared (a merge, a file that cannot be read). */
  reference: cropPixelsSchema.nullable(),
  claim: cropPixelsSchema.nullable(),
  renderMs: z.number(),
  compareMs: z.number(),
  /** Difference picture (PNG), where pixels were compared and differ. */
  heatMap: digestSchema.nullable(),
});
export type Comparison = z.infer<typeof comparisonSchema>;

/** Which row of the table of thresholds (proof/thresholds.ts) was compared by. */
export const thresholdsNameSchema = z.enum(['sameClass', 'otherCpuClass']);
export type ThresholdsName = z.infer<typeof thresholdsNameSchema>;

/**
 * What a verifier signs for; stored as a blob, so the digest in the verdict pins every number. It says all that is
 * needed to render and compare again: scene, engine, precision, and of each crop its place and its samples.
 */
export const evidenceSchema = z.strictObject({
  version: z.literal(3),
  batchId: batchIdSchema,
  /** The batch's name on chain. */
  batchKey: bytes32Schema,
  jobId: jobIdSchema,
  /** Digest of the scene's manifest. */
  scene: digestSchema,
  precision: precisionSchema,
  thresholds: thresholdsNameSchema,
  seed: bytes32Schema,
  root: bytes32Schema,
  outcome: outcomeSchema,
  engine: z.string(),
  deviceClass: z.string(),
  /** The class that the reference was rendered on, where it is not the claim's. */
  referenceClass: z.string().optional(),
  comparisons: z.array(comparisonSchema),
});
export type Evidence = z.infer<typeof evidenceSchema>;

export const verdictSchema = z.strictObject({
  batchId: batchIdSchema,
  /** Of the draw that it speaks of. */
  seed: bytes32Schema,
  outcome: outcomeSchema,
  /** SHA-256 of the evidence blob. */
  evidence: digestSchema,
  signature: signatureSchema,
});
export type Verdict = z.infer<typeof verdictSchema>;

/** From `committed` to `judged` as on chain; `settled` is also what was refused or expired there. */
export const batchStateSchema = z.enum([
  'open',
  'closed',
  'committed',
  'drawn',
  'second',
  'committee',
  'judged',
  'settled',
]);
export type BatchState = z.infer<typeof batchStateSchema>;

/** As what a verifier was asked. */
export const verifierRoleSchema = z.enum(['first', 'second', 'committee']);
export type VerifierRole = z.infer<typeof verifierRoleSchema>;

/** One verifier's word on a batch as the API shows it. */
export const verdictViewSchema = z.strictObject({
  /** Its name on the farm. */
  verifier: z.string(),
  address: addressSchema.nullable(),
  role: verifierRoleSchema,
  outcome: outcomeSchema,
  /** SHA-256 of the evidence blob. */
  evidence: digestSchema,
  /** The first finding with this outcome, in the verifier's words. */
  reason: z.string(),
});
export type VerdictView = z.infer<typeof verdictViewSchema>;

/** A node's answer to the fail of its batch. */
export const appealViewSchema = z.strictObject({
  /** Whether it appeals; else it has said that it does not. */
  appeals: z.boolean(),
  /** In its words. */
  reason: z.string(),
  /** Why the escrow took no appeal, where it did not. */
  refused: z.string().nullable(),
});
export type AppealView = z.infer<typeof appealViewSchema>;

/** A batch as the API shows it. */
export const batchViewSchema = z.strictObject({
  id: batchIdSchema,
  jobId: jobIdSchema,
  nodeId: nodeIdSchema,
  kind: taskKindSchema,
  state: batchStateSchema,
  receipts: z.number(),
  amount: z.string(),
  /** Its name on chain; null for a batch of before there were lanes. */
  batchKey: bytes32Schema.nullable(),
  root: bytes32Schema.nullable(),
  seed: bytes32Schema.nullable(),
  outcome: outcomeSchema.nullable(),
  /** A fail that two verifiers or a committee found: the only one that costs stake. */
  agreed: z.boolean(),
  /** What its operator lost of its stake for it. */
  slashed: z.string(),
  /** Of the word that decided. */
  evidence: evidenceSchema.nullable(),
  /** Every word on the present draw, in the order in which they came. */
  verdicts: z.array(verdictViewSchema),
  /** Null where the node was not asked, or has not answered. */
  appeal: appealViewSchema.nullable(),
});
export type BatchView = z.infer<typeof batchViewSchema>;
