/** What a verifier is told at start. */
import { z } from 'zod';
import { publicChainSchema } from '../platform/chain/public-chain.ts';
import { runtimeChoiceSchema } from '../platform/render/engines.ts';
import { knownBlenderSchema } from '../platform/render/process/known-blender.ts';
import { addressSchema, bytes32Schema, verifierIdSchema } from '../protocol/ids.ts';

const verifierConfigSchema = z.strictObject({
  verifierId: verifierIdSchema,
  dataFolder: z.string(),
  natsUrl: z.string(),
  /** The certificate to trust on the way there, where no public authority vouches for it (PEM). */
  natsCaFile: z.string().optional(),
  apiUrl: z.string(),
  /** Of a public chain without what is secret in it; all of it is in the secrets. */
  chainUrl: z.string(),
  /** The chain that the contracts are on where that is not the farm's own. */
  publicChain: publicChainSchema.optional(),
  tokenAddress: addressSchema,
  escrowAddress: addressSchema,
  registryAddress: addressSchema,
  /** Nothing of this farm is on chain before this block. */
  deployedBlock: z.number().int().min(0),
  blenderPath: z.string().optional(),
  /** What the farm has found out about it, so that it is not asked by every program. */
  knownBlender: knownBlenderSchema.optional(),
  /** Which of the machine's engines are used (platform/render/engines.ts). */
  runtime: runtimeChoiceSchema,
  threads: z.number().int().min(1),
  /** Nice value of checks, 0 to 19; on a machine that renders too they give way to rendering. */
  niceness: z.number().int().min(0).max(19),
  logLevel: z.string(),
});
export type VerifierConfig = z.infer<typeof verifierConfigSchema>;

const verifierSecretsSchema = z.strictObject({
  /** Signs in, and signs verdicts. */
  verifierKey: bytes32Schema,
  /** Root of the hash chain whose links make the seeds (platform/chain/secret-chain.ts). */
  rootSecret: bytes32Schema,
  /** A provider of the public chain: whoever has this address often has somebody's key to it. */
  chainUrl: z.url({ protocol: /^https?$/ }).optional(),
});
export type VerifierSecrets = z.infer<typeof verifierSecretsSchema>;

/** The file that a verifier's process is started with. */
export const verifierFileSchema = z.strictObject({
  config: verifierConfigSchema,
  secrets: verifierSecretsSchema,
});
