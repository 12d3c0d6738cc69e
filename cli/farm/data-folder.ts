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
  verifier: string;
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
    verifier: join(root, 'verifier'),
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
      folder.verifier,
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

/** Not strict: the file of an earlier version holds passwords and a token that nothing takes any more. */
const farmSecretsSchema = z.object({
  apiKey: z.string(),
  coordinatorKey: bytes32Schema,
  requesterKey: bytes32Schema,
  verifierKey: bytes32Schema,
  verifierRootSecret: bytes32Schema,
  /** Made once: growing the whole chain takes a second. */
  verifierHead: bytes32Schema,
  nodeKeys: z.record(z.string(), bytes32Schema),
});
export type FarmSecrets = z.infer<typeof farmSecretsSchema>;

/** The folder's secrets, made on first use; only their owner may read the file. Nodes without a key are given one. */
export async function loadSecrets(folder: FarmFolder, nodeIds: readonly string[]): Promise<FarmSecrets> {
  const path = join(folder.root, 'secrets.json');
  const text = await readTextIfThere(path);
  const secrets = text === null ? newSecrets() : farmSecretsSchema.parse(JSON.parse(text));
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
  const rootSecret = newPrivateKey() as string as Bytes32;
  return {
    apiKey: `tsk_${randomText()}`,
    coordinatorKey: newPrivateKey() as string as Bytes32,
    requesterKey: newPrivateKey() as string as Bytes32,
    verifierKey: newPrivateKey() as string as Bytes32,
    verifierRootSecret: rootSecret,
    verifierHead: secretChain(rootSecret).head,
    nodeKeys: {},
  };
}

function randomText(): string {
  return randomBytes(24).toString('base64url');
}

const deploymentSchema = z.strictObject({
  chainId: z.number().int(),
  tokenAddress: addressSchema,
  escrowAddress: addressSchema,
});
export type StoredDeployment = z.infer<typeof deploymentSchema>;

export async function readDeployment(folder: FarmFolder): Promise<StoredDeployment | null> {
  const text = await readTextIfThere(join(folder.root, 'chain', 'deployment.json'));
  return text === null ? null : deploymentSchema.parse(JSON.parse(text));
}

export async function writeDeployment(folder: FarmFolder, deployment: StoredDeployment): Promise<void> {
  await writeFileAtomic(join(folder.root, 'chain', 'deployment.json'), JSON.stringify(deployment));
}
