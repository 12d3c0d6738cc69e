/** What an artist asks for, what the farm makes of it, and how it is reported back. */
import { z } from 'zod';
import { blockViewSchema } from './blocks.ts';
import { addressSchema, digestSchema, jobIdSchema, moneySchema, nodeIdSchema } from './ids.ts';
import { outputSettingsSchema, pictureOutputSchema, precisionSchema } from './output.ts';
import { frameNumberSchema } from './receipt.ts';
import { rectSchema, sizeSchema } from './rect.ts';

/**
 * A path inside a scene: relative, forward slashes, no `.` or `..`, nothing a shell or a file system treats
 * specially. Checked where it enters, so that joining it to a folder can never leave that folder.
 */
export const scenePathSchema = z
  .string()
  .min(1)
  .max(512)
  .refine(isPlainRelativePath, 'a relative path with forward slashes and without . or ..');

function isPlainRelativePath(path: string): boolean {
  if (path.startsWith('/') || path.includes('\\') || path.includes('\0')) return false;
  return path.split('/').every((part) => part !== '' && part !== '.' && part !== '..');
}

/** A scene is at most this many files: more is an upload of a whole disk by mistake. */
const MAX_SCENE_FILES = 20_000;

export const sceneFileSchema = z.strictObject({
  path: scenePathSchema,
  digest: digestSchema,
  sizeBytes: z.number().int().min(0).max(Number.MAX_SAFE_INTEGER),
});
export type SceneFile = z.infer<typeof sceneFileSchema>;

/** A scene: the main .blend and every file it needs, each by digest. The digest of this manifest names the scene. */
export const sceneManifestSchema = z
  .strictObject({ main: scenePathSchema, files: z.array(sceneFileSchema).min(1).max(MAX_SCENE_FILES) })
  .refine(
    (manifest) => manifest.files.some((file) => file.path === manifest.main),
    'files must list the main .blend',
  )
  .refine(
    (manifest) => new Set(manifest.files.map((file) => file.path)).size === manifest.files.length,
    'a path is listed twice',
  );
export type SceneManifest = z.infer<typeof sceneManifestSchema>;

export const tileGridSchema = z.strictObject({
  // 4,096 tiles a frame: the list of them still fits a message to the node that merges them.
  columns: z.number().int().min(1).max(64),
  rows: z.number().int().min(1).max(64),
});
export type TileGrid = z.infer<typeof tileGridSchema>;

/** Frames as given on the command line, already expanded; the order is the order of rendering. */
const frameListSchema = z
  .array(frameNumberSchema)
  .min(1, 'at least one frame')
  .max(100_000, 'at most 100,000 frames in one job')
  .refine((frames) => new Set(frames).size === frames.length, 'a frame is listed twice');

const nameSchema = () =>
  z.string().regex(/^[a-z][a-z0-9-]{0,31}$/, 'a name: a letter, then letters, digits and dashes, 32 at most');

/** A label for whose work it is: accounts share the farm evenly. */
export const accountSchema = nameSchema();

/** Nodes that the operator has put together under a name. */
export const poolSchema = nameSchema();

export const jobRequestSchema = z.strictObject({
  scene: digestSchema,
  name: z.string().min(1).max(200),
  /** Left out: the frame range that is saved in the scene. */
  frames: frameListSchema.optional(),
  tiles: z.union([tileGridSchema, z.literal('auto')]).default('auto'),
  samples: z.number().int().optional(),
  /** Whether the float EXR of every frame is delivered beside its picture: ten times the bytes. */
  exr: z.boolean().optional(),
  /** An engine's id, a Blender version such as 4.3, or auto: the nearest that can open the scene. */
  engine: z.string().min(1).max(128).default('auto'),
  /** `gpu` is never rendered on a CPU instead; `any` takes a GPU where one is online at this moment, else the CPU. */
  device: z.enum(['any', 'cpu', 'gpu']).default('any'),
  /** Left out: as the scene says. */
  output: outputSettingsSchema.optional(),
  precision: precisionSchema.optional(),
  /** The most this job may cost; left out: what the quote says. */
  budget: moneySchema.optional(),
  /** Its share among the jobs of its account: 80 beside 20 gets four times the nodes. Left out: 50. */
  priority: z.number().int().min(1).max(100).optional(),
  account: accountSchema.optional(),
  /** Nodes that may work on it at once. */
  maxNodes: z.number().int().min(1).max(1_000_000).optional(),
  /** Only nodes of this pool. */
  pool: poolSchema.optional(),
  /** The first, the last and the middle frame before the others. */
  previewFirst: z.boolean().optional(),
});
export type JobRequest = z.input<typeof jobRequestSchema>;

/** Frames per second, exactly: 24000/1001 is not 23.976. */
export const frameRateSchema = z.strictObject({
  numerator: z.number().int().min(1),
  denominator: z.number().int().min(1),
});
export type FrameRate = z.infer<typeof frameRateSchema>;

/** A job with every choice made. */
export const jobSpecSchema = z.strictObject({
  scene: digestSchema,
  name: z.string(),
  frames: z.array(frameNumberSchema),
  tiles: tileGridSchema,
  samples: z.number().int().min(1).max(65_536),
  engine: z.string(),
  /** The GPUs that may render it, all tasks on the same class; left out: CPUs of the class this farm checks. */
  deviceClass: z.string().max(64).optional(),
  output: pictureOutputSchema,
  precision: precisionSchema,
  /** The part of the full frame that is rendered; tiles cover exactly this. */
  region: rectSchema,
  /** What the finished picture covers; it contains the region. */
  picture: rectSchema,
  fullFrame: sizeSchema,
  // Jobs of before there was a choice are read back without it.
  exr: z.boolean().default(false),
  /** The scene's. Jobs that were planned before there were movies have none. */
  frameRate: frameRateSchema.optional(),
});
export type JobSpec = z.infer<typeof jobSpecSchema>;

export const jobStateSchema = z.enum(['opening', 'active', 'completed', 'failed', 'cancelled']);
export type JobState = z.infer<typeof jobStateSchema>;
/**
 * Whether the scene renders the same twice, without which nobody can be checked: `pending` until that was tried, `untried`
 * where it could not be. Nothing is paid unless it is `admitted`.
 */
export const admissionSchema = z.enum(['pending', 'admitted', 'refused', 'untried']);
export type Admission = z.infer<typeof admissionSchema>;
export const escrowStateSchema = z.enum(['none', 'open', 'closed']);

export const jobViewSchema = z.strictObject({
  id: jobIdSchema,
  name: z.string(),
  state: jobStateSchema,
  /** Why the job is in this state, where that is not obvious. */
  reason: z.string().nullable(),
  spec: jobSpecSchema,
  warnings: z.array(z.string()),
  tasks: z.strictObject({
    total: z.number(),
    queued: z.number(),
    leased: z.number(),
    delivered: z.number(),
    verified: z.number(),
  }),
  framesDone: z.number(),
  /** Share of the work that is done, 0 to 1, running tasks counted by their progress. */
  progress: z.number(),
  escrow: escrowStateSchema,
  /** Farms of before it was tried admitted everything. */
  admission: admissionSchema.default('admitted'),
  quote: moneySchema,
  spent: moneySchema,
  refunded: moneySchema,
  createdAtMs: z.number(),
  finishedAtMs: z.number().nullable(),
  account: z.string(),
  priority: z.number(),
  /** Nodes that are kept away from it. Farms of before knew of none. */
  blocks: z.array(blockViewSchema).default([]),
});
export type JobView = z.infer<typeof jobViewSchema>;

export const frameViewSchema = z.strictObject({
  frame: frameNumberSchema,
  /** `unverified`: the picture is here, its check is not over; it may be replaced by another. */
  state: z.enum(['pending', 'unverified', 'done']),
  tilesTotal: z.number(),
  tilesVerified: z.number(),
  picture: digestSchema.nullable(),
  exr: digestSchema.nullable(),
  /** Names the list of the files of File Output nodes; the frame's own address has the list itself. */
  extraFiles: digestSchema.nullable(),
});
export type FrameView = z.infer<typeof frameViewSchema>;

export const nodeStateSchema = z.enum(['online', 'offline', 'quarantined']);
export const nodeViewSchema = z.strictObject({
  id: nodeIdSchema,
  address: z.string(),
  engine: z.string(),
  deviceClass: z.string(),
  state: nodeStateSchema,
  reason: z.string().nullable(),
  lastSeenAtMs: z.number(),
  tasksVerified: z.number(),
  tasksForfeited: z.number(),
  earned: moneySchema,
  pools: z.array(z.string()),
  /** The account that is paid and answers; null until it is registered on chain. */
  operator: addressSchema.nullable(),
  /** What the operator has at stake now, and what it lost for this node's batches. */
  stake: moneySchema,
  slashed: moneySchema,
});
export type NodeView = z.infer<typeof nodeViewSchema>;
