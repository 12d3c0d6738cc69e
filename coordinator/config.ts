/** What a coordinator is told at start. Secrets are a type of their own, so that printing a config prints none. */
import { z } from 'zod';
import { publicChainSchema } from '../platform/chain/public-chain.ts';
import { runtimeChoiceSchema } from '../platform/render/engines.ts';
import { knownBlenderSchema } from '../platform/render/process/known-blender.ts';
import { addressSchema, bytes32Schema, verifierIdSchema } from '../protocol/ids.ts';
import { MAX_PASS_MS } from '../protocol/sign-in.ts';
import { joinSchema } from './sign-in/may-join.ts';

const fieldsSchema = z.strictObject({
  dataFolder: z.string(),
  /** 0 takes any free port. */
  httpPort: z.number().int().min(0).max(65_535),
  /** The address to listen on; this machine alone when left out. */
  httpHost: z.string().optional(),
  /** What nodes call this farm by: it stands in what they sign, so that no other farm can use it. */
  publicUrl: z.url(),
  /** Of one server or, with commas between them, of those of a cluster. */
  natsUrl: z.string(),
  /** On how many servers of a cluster the to-do list is kept; one when left out. */
  natsReplicas: z.number().int().min(1).max(5).optional(),
  /** The certificate to trust on the way to the message server, where no public authority vouches for it (PEM). */
  natsCaFile: z.string().optional(),
  join: joinSchema,
  /** How long a node or verifier works with one sign-in; it signs in anew at half of it. */
  passMs: z.number().int().min(2_000).max(MAX_PASS_MS),
  /** Of a public chain without what is secret in it; all of it is in the secrets. */
  chainUrl: z.string(),
  /** Where the embedded chain keeps its state: a payment counts once it is in there. */
  chainStateFile: z.string().optional(),
  /** In place of the embedded chain: the one that the contracts are on. Then one coordinator only may work, on this folder. */
  publicChain: publicChainSchema.optional(),
  tokenAddress: addressSchema,
  escrowAddress: addressSchema,
  registryAddress: addressSchema,
  /** Nothing of this farm is on chain before this block. */
  deployedBlock: z.number().int().min(0),
  /** Who may ask for checks under which name, and the key that signs its verdicts. */
  verifiers: z.array(z.strictObject({ id: verifierIdSchema, address: addressSchema })).min(1),
  blenderPath: z.string().optional(),
  /** What the farm has found out about it, so that it is not asked by every program. */
  knownBlender: knownBlenderSchema.optional(),
  /** Which of the machine's engines are used (platform/render/engines.ts). */
  runtime: runtimeChoiceSchema,
  /** Whether nodes may render numbers in place of pictures (synthetic-engines.ts): for load tests, never for people. */
  allowSynthetic: z.boolean().default(false),
  threads: z.number().int().min(1),
  logLevel: z.string(),
  /** A lease without a heartbeat for this long is over. */
  leaseMs: z.number().int().min(200),
  /** A batch is closed this long after its first receipt, full or not, so that nobody waits long for money. */
  batchMaxAgeMs: z.number().int().min(100),
  /** A node that has not handed over a drawn EXR this long after the draw has withheld it. */
  handOverMs: z.number().int().min(1_000),
  /** How long a failed batch is not settled before its node has said if it appeals; longer where the escrow's window is. */
  appealMs: z.number().int().min(0),
  /** How long trying a new scene gives way to what this machine renders; 0: not at all. */
  trialGivesWayMs: z.number().int().min(0),
  /** How long a node that failed a verdict gets no work; a verifier that was caught, too. */
  quarantineMs: z.number().int().min(0),
  /** Beside which share of the batches a canary is planted. */
  canaryShare: z.number().min(0).max(1),
});
export const coordinatorConfigSchema = fieldsSchema.refine(
  ({ chainStateFile, publicChain }) => (chainStateFile === undefined) !== (publicChain === undefined),
  'either chainStateFile, of the embedded chain, or publicChain',
);
export type CoordinatorConfig = z.infer<typeof coordinatorConfigSchema>;

export const coordinatorSecretsSchema = z.strictObject({
  /** Signs the tokens that let nodes, verifiers and coordinators onto the message server. */
  natsAccountSeed: z.string(),
  /** Sends transactions and pays their gas. */
  coordinatorKey: bytes32Schema,
  /** The managed account that jobs are paid from whose account has no key of its own. */
  requesterKey: bytes32Schema,
  /** Encrypts the keys of accounts; without it no account has one. */
  accountsKey: bytes32Schema.optional(),
  /** For people and scripts: everything. */
  apiKey: z.string().min(16),
  /** A Postgres server in place of the database in the data folder. It may hold a password, so it is one of the secrets. */
  databaseUrl: z.url({ protocol: /^postgres(ql)?$/ }).optional(),
  /** A bucket in place of the folder of blobs, with its key (platform/blobs/s3-blob-store.ts). */
  blobsUrl: z.url({ protocol: /^https?$/ }).optional(),
  /** A provider of the public chain: whoever has this address often has somebody's key to it. */
  chainUrl: z.url({ protocol: /^https?$/ }).optional(),
});
export type CoordinatorSecrets = z.infer<typeof coordinatorSecretsSchema>;
