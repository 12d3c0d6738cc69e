/** What a node signs for a finished task. Its hash is a leaf of a batch's Merkle tree (proof/receipts.ts). */
import { z } from 'zod';
import { addressSchema, digestSchema, jobIdSchema, moneySchema, taskIdSchema } from './ids.ts';
import { rectSchema } from './rect.ts';

export const taskKindSchema = z.enum(['render', 'finish', 'frame']);
/**
 * `render`: one pixel rectangle of one frame. `finish`: a frame's tiles through the scene's own compositor. `frame`: a
 * whole frame rendered and finished by the same node.
 */
export type TaskKind = z.infer<typeof taskKindSchema>;

/** Blender writes frame numbers as 32-bit; its own limits are narrower. */
export const frameNumberSchema = z.number().int().min(-1_048_574).max(1_048_574);

export const receiptSchema = z.strictObject({
  jobId: jobIdSchema,
  taskId: taskIdSchema,
  kind: taskKindSchema,
  /** Address of the key that signs for the node: a leaf copied by somebody else names the wrong one. */
  node: addressSchema,
  frame: frameNumberSchema,
  /** The rectangle in full-frame pixels; for a finish or frame task the region of the whole frame. */
  rect: rectSchema,
  samples: z.number().int().min(1).max(65_536),
  /**
   * render: the tile's EXR file. finish: the merged frame's EXR file. frame: the EXR file as it was rendered. The
   * first is always delivered, the others where the artist asked for EXRs; a frame's also when it is challenged.
   */
  exrDigest: digestSchema,
  /** Digest of the canonical pixels of that EXR (proof/pixels.ts). */
  pixelDigest: digestSchema,
  /** finish and frame: the delivered picture's file. */
  pictureDigest: digestSchema.nullable(),
  /** finish and frame: the list of the files of File Output nodes (extra-files.ts); left out where there are none. */
  extraFilesDigest: digestSchema.optional(),
  engine: z.string().max(128),
  deviceClass: z.string().max(64),
  price: moneySchema,
});
export type Receipt = z.infer<typeof receiptSchema>;
