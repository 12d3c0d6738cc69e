/** A farm's folder: where everything lies, who holds it, and its secrets. */
import { randomBytes } from 'node:crypto';
import { mkdir, rm, statfs } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join, resolve } from 'node:path';
import { z } from 'zod';
import { secretChain } from '../../platform/chain/secret-chain.ts';
import { newPrivateKey } from '../../platform/chain/signing.ts';
import { diskError, readTextIfThere, writeFileAtomic } from '../../platform/files.ts';
import { startedAt, stillRuns } from '../../platform/process/process-record.ts';
import { FarmError } from '../../protocol/errors.ts';
import { addressSchema, type Bytes32, bytes32Schema } from '../../protocol/ids.ts';

export type FarmFolder = {
  root: string;
  nats: string;
  chainState: string;
  coordinator: string;
  /** One folder in it for each verifier. */
  verifiers: string;
  nodes: string;
  log: string;
  run: string;
};

/** Where a farm lives when nobody says otherwise: beside the user's other application data (XDG base directories). */
export function defaultDataFolder(environment: NodeJS.ProcessEnv): string {
  const chosen = environment['TESSERA_DATA'];
  if (chosen !== undefined && chosen !== '') return resolve(chosen);
  return join(environment['XDG_DATA_HOME'] || join(homedir(), '.local', 'share'), 'tessera');
}

export function farmFolder(root: string): FarmFolder {
  return {
    root,
    nats: join(root, 'nats'),
    chainState: join(root, 'chain', 'state.json'),
    coordinator: join(root, 'coordinator'),
    verifiers: join(root, 'verifiers'),
    nodes: join(root, 'nodes'),
    log: join(root, 'log'),
    run: join(root, 'run'),
  };
}

/** An empty farm takes 60 MB, and scenes, tiles and frames have to go somewhere: with less it would stop in mid-job. */
const MIN_FREE_BYTES = 256 * 1024 ** 2;

/** Makes the folders. Throws DISK_FULL before anything is started when there is too little space to work in. */
export async function makeFolders(folder: FarmFolder): Promise<void> {
  try {
    await mkdir(folder.root, { recursive: true, mode: 0o700 });
    const { bavail, bsize } = await statfs(folder.root);
    if (bavail * bsize < MIN_FREE_BYTES) {
      const megabytes = (bytes: number): number => Math.floor(bytes / 1024 ** 2);
      throw new FarmError(
        'DISK_FULL',
        `${folder.root} has ${megabytes(bavail * bsize)} MB of free space; a farm needs ${megabytes(MIN_FREE_BYTES)} MB`,
        { kept: 'nothing was started' },
      );
    }
    for (const path of [
      folder.nats,
      join(folder.root, 'chain'),
      folder.coordinator,
      folder.verifiers,
      folder.nodes,
      folder.log,
      folder.run,
    ]) {
      await mkdir(path, { recursive: true, mode: 0o700 });
    }
  } catch (error) {
    throw diskError(error, folder.root);
  }
}

const holderSchema = z.strictObject({
  name: z.string(),
  pid: z.number().int().positive(),
  startedAt: z.string(),
  /** Null until the farm answers. */
  apiUrl: z.string().nullable(),
});
type Holder = z.infer<typeof holderSchema>;

const holderFile = (folder: FarmFolder): string => join(folder.run, 'farm.json');

/** The farm that runs on this folder, or null. */
export async function runningFarm(folder: FarmFolder): Promise<Holder | null> {
  const text = await readTextIfThere(holderFile(folder));
  if (text === null) return null;
  const holder = holderSchema.safeParse(JSON.parse(text));
  return holder.success && (await stillRuns(holder.data)) ? holder.data : null;
}

/** Takes the folder for this process, or throws DATA_FOLDER_IN_USE. */
export async function takeFolder(folder: FarmFolder, apiUrl: string | null): Promise<void> {
  const other = await runningFarm(folder);
  if (other !== null && other.pid !== process.pid) {
    throw new FarmError(
      'DATA_FOLDER_IN_USE',
      `a farm already runs on ${folder.root} (process ${other.pid})`,
      {
        kept: 'nothing was started',
      },
    );
  }
  const mine = {
    name: 'farm',
    pid: process.pid,
    startedAt: (await startedAt(process.pid)) ?? 'unknown',
    apiUrl,
  };
  await writeFileAtomic(holderFile(folder), JSON.stringify(mine));
}

export async function leaveFolder(folder: FarmFolder): Promise<void> {
  await rm(holderFile(folder), { force: true });
}

const verifierSecretsSchema = z.strictObject({
  /** Signs verdicts. */
  key: bytes32Schema,
  /** Of the account whose stake answers for them. */
  operatorKey: bytes32Schema,
  rootSecret: bytes32Schema,
  /** Made once: growing the whole chain takes a second. */
  head: bytes32Schema,
});
export type StoredVerifier = z.infer<typeof verifierSecretsSchema>;

/**
 * Not strict: the file of an earlier version holds passwords, a token that nothing takes any more, and the one verifier
 * of contracts that are not used any more.
 */
const farmSecretsSchema = z.object({
  apiKey: z.string(),
  coordinatorKey: bytes32Schema,
  requesterKey: bytes32Schema,
  nodeKeys: z.record(z.string(), bytes32Schema),
  verifiers: z.record(z.string(), verifierSecretsSchema).default({}),
});
export type FarmSecrets = z.infer<typeof farmSecretsSchema>;

/** The folder's secrets, made on first use; only their owner may read the file. Who has no key is given one. */
export async function loadSecrets(
  folder: FarmFolder,
  nodeIds: readonly string[],
  verifierIds: readonly string[],
): Promise<FarmSecrets> {
  const path = join(folder.root, 'secrets.json');
  const text = await readTextIfThere(path);
  const secrets = text === null ? newSecrets() : farmSecretsSchema.parse(JSON.parse(text));
  for (const id of verifierIds) secrets.verifiers[id] ??= newVerifier();
  for (const id of nodeIds) secrets.nodeKeys[id] ??= newPrivateKey() as string as Bytes32;
  await writeFileAtomic(path, JSON.stringify(secrets, null, 2));
  return secrets;
}

/** The file of the keys that the message server trusts (platform/nats/authority.ts). */
export const natsKeysFile = (folder: FarmFolder): string => join(folder.root, 'nats-keys.json');

/** The API key of the farm on this folder, or null when there never was one. */
export async function readApiKey(folder: FarmFolder): Promise<string | null> {
  const text = await readTextIfThere(join(folder.root, 'secrets.json'));
  return text === null ? null : farmSecretsSchema.parse(JSON.parse(text)).apiKey;
}

function newSecrets(): FarmSecrets {
  return {
    apiKey: `tsk_${randomText()}`,
    coordinatorKey: newPrivateKey() as string as Bytes32,
    requesterKey: newPrivateKey() as string as Bytes32,
    nodeKeys: {},
    verifiers: {},
  };
}

function newVerifier(): StoredVerifier {
  const [key, operatorKey, rootSecret] = [newPrivateKey(), newPrivateKey(), newPrivateKey()].map(
    (made) => made as string as Bytes32,
  ) as [Bytes32, Bytes32, Bytes32];
  return { key, operatorKey, rootSecret, head: secretChain(rootSecret).head };
}

function randomText(): string {
  return randomBytes(24).toString('base64url');
}

const deploymentSchema = z.strictObject({
  chainId: z.number().int(),
  tokenAddress: addressSchema,
  escrowAddress: addressSchema,
  registryAddress: addressSchema,
  deployedBlock: z.number().int().min(0),
});
export type StoredDeployment = z.infer<typeof deploymentSchema>;

export async function readDeployment(folder: FarmFolder): Promise<StoredDeployment | null> {
  const text = await readTextIfThere(join(folder.root, 'chain', 'deployment.json'));
  // One of before there was a registry is none: its contracts are not used any more.
  return text === null ? null : (deploymentSchema.safeParse(JSON.parse(text)).data ?? null);
}

export async function writeDeployment(folder: FarmFolder, deployment: StoredDeployment): Promise<void> {
  await writeFileAtomic(join(folder.root, 'chain', 'deployment.json'), JSON.stringify(deployment));
}
