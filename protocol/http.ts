/** The HTTP contract under /api/v1: bodies and paths, used by the server and by every client. */
import { z } from 'zod';
import { extraFileSchema, MAX_EXTRA_FILES } from './extra-files.ts';
import { addressSchema, digestSchema, moneySchema, verifierIdSchema } from './ids.ts';
import { frameViewSchema, tileGridSchema } from './job.ts';
import { frameNumberSchema, receiptSchema } from './receipt.ts';
import { rectSchema, sizeSchema } from './rect.ts';

export const API_BASE = '/api/v1';

/** A file that a scene refers to and that the farm does not have. */
export const missingFileSchema = z.strictObject({
  /** As the scene spells it. */
  stored: z.string(),
  /** Relative to the scene's root; null when it lies outside. */
  path: z.string().nullable(),
});
export type MissingFile = z.infer<typeof missingFileSchema>;

/** What inspection found, as an artist wants to know it. */
export const sceneSummarySchema = z.strictObject({
  frameStart: z.number().int(),
  frameEnd: z.number().int(),
  frameStep: z.number().int(),
  fullFrame: sizeSchema,
  samples: z.number().int(),
  engine: z.string(),
  warnings: z.array(z.string()),
});
export type SceneSummary = z.infer<typeof sceneSummarySchema>;

/** Either the scene is complete, or files are missing and the client sends them and asks again. */
export const sceneReplySchema = z.strictObject({
  scene: digestSchema,
  summary: sceneSummarySchema.nullable(),
  missing: z.array(missingFileSchema),
});
export type SceneReply = z.infer<typeof sceneReplySchema>;

/** What a job would be, without submitting it, and whether its scene can be checked at all. */
export const inspectionReplySchema = z.strictObject({
  engine: z.string(),
  deviceClass: z.string(),
  frames: z.number().int(),
  tiles: tileGridSchema,
  samples: z.number().int(),
  fullFrame: sizeSchema,
  quote: moneySchema,
  warnings: z.array(z.string()),
  /** Strips of it were rendered twice: here they were furthest apart. */
  twice: z.strictObject({
    same: z.boolean(),
    frame: frameNumberSchema,
    rect: rectSchema,
    pixelMatchFraction: z.number(),
    /** For people. */
    finding: z.string(),
  }),
});
export type InspectionReply = z.infer<typeof inspectionReplySchema>;

/** A frame's number as it stands in a path. */
export const frameParameterSchema = z
  .string()
  .regex(/^-?\d{1,7}$/, 'the number of a frame')
  .transform(Number)
  .pipe(frameNumberSchema);

/** One frame with its files of File Output nodes, which `extraFiles` is the digest of the list of. */
export const frameDetailSchema = z.strictObject({
  ...frameViewSchema.shape,
  files: z.array(extraFileSchema).max(MAX_EXTRA_FILES),
});
export type FrameDetail = z.infer<typeof frameDetailSchema>;

/** RFC 9457 problem details, with our code and help. */
export const problemSchema = z.strictObject({
  type: z.string(),
  title: z.string(),
  status: z.number().int(),
  detail: z.string(),
  code: z.string(),
  help: z.string(),
  kept: z.string().optional(),
  details: z.record(z.string(), z.unknown()).optional(),
});
export type Problem = z.infer<typeof problemSchema>;

/** Left out: the judgement that there is. Else: should it be judged so. */
export const disputeRequestSchema = z.strictObject({ outcome: z.enum(['pass', 'fail']).optional() });
export type DisputeRequest = z.infer<typeof disputeRequestSchema>;

/** What a batch was committed with, leaves ascending: anybody can hash it and compare with the root on chain. */
export const batchReceiptsSchema = z.array(receiptSchema).max(64);

export const farmInfoSchema = z.strictObject({
  name: z.literal('tessera'),
  version: z.string(),
  engine: z.string(),
  deviceClass: z.string(),
  chainId: z.number().int(),
  /** Where the farm's own embedded chain answers; null on any other chain, of which everybody has an own provider. */
  chainUrl: z.string().nullable(),
  escrow: addressSchema,
  token: addressSchema,
  registry: addressSchema,
  /** Nothing of this farm is on chain before this block. */
  deployedBlock: z.number().int().min(0),
  /** Whose words decide, by name. */
  verifiers: z.array(z.strictObject({ id: verifierIdSchema, address: addressSchema })),
  tokenSymbol: z.string(),
  tokenDecimals: z.number().int(),
});
export type FarmInfo = z.infer<typeof farmInfoSchema>;
