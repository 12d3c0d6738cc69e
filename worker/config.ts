/** What a node is told at start. */
import { z } from 'zod';
import { runtimeChoiceSchema } from '../platform/render/engines.ts';
import { knownBlenderSchema } from '../platform/render/process/known-blender.ts';
import { bytes32Schema, nodeIdSchema } from '../protocol/ids.ts';

export const workerConfigSchema = z.strictObject({
  nodeId: nodeIdSchema,
  dataFolder: z.string(),
  natsUrl: z.string(),
  /** The certificate to trust on the way there, where no public authority vouches for it (PEM). */
  natsCaFile: z.string().optional(),
  apiUrl: z.string(),
  blenderPath: z.string().optional(),
  /** What the farm has found out about it, so that it is not asked by every program. */
  knownBlender: knownBlenderSchema.optional(),
  /** Which of the machine's engines are used (platform/render/engines.ts). */
  runtime: runtimeChoiceSchema,
  threads: z.number().int().min(1),
  /**
   * Resident memory of one session, the same on every node of the farm: a scene that needs more is at fault. Left
   * out, a share of this machine's memory is the limit, and what it stops goes to another node.
   */
  memoryLimitBytes: z.number().int().min(1).optional(),
  /** What frames that wait for their check may take of this disk (worker/kept-files.ts); left out, 40 GiB. */
  keptBudgetBytes: z.number().int().min(1).optional(),
  /** The most that it may put on an appeal, in units of the token (worker/decide-appeal.ts); 0: it never appeals. */
  appealBond: z.number().int().min(0).max(Number.MAX_SAFE_INTEGER).optional(),
  logLevel: z.string(),
});
export type WorkerConfig = z.infer<typeof workerConfigSchema>;

export const workerSecretsSchema = z.strictObject({
  /** Signs in, and signs receipts; what is earned goes to its operator. */
  nodeKey: bytes32Schema,
  /** Of the account that answers for this node; left out: the node is its own operator. */
  operatorKey: bytes32Schema.optional(),
});
export type WorkerSecrets = z.infer<typeof workerSecretsSchema>;

/** The file that a node's process is started with. */
export const workerFileSchema = z.strictObject({ config: workerConfigSchema, secrets: workerSecretsSchema });
