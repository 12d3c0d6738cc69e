/**
 * A farm whose programs run apart, as compose.yaml starts them: makes its keys, puts its contracts on a chain, and
 * writes for each program the one file that it is started with. Nothing of it runs afterwards.
 */
import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { chmod } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import type { CoordinatorConfig, CoordinatorSecrets } from '../../coordinator/config.ts';
import { startAnvil } from '../../platform/chain/embedded.ts';
import { addressOf, type PrivateKey } from '../../platform/chain/signing.ts';
import { readTextIfThere, writeFileAtomic } from '../../platform/files.ts';
import { loadAuthority, serverTrust } from '../../platform/nats/authority.ts';
import { natsServerConfig } from '../../platform/nats/server.ts';
import type { RuntimeChoice } from '../../platform/render/engines.ts';
import { FarmError } from '../../protocol/errors.ts';
import type { NodeId, VerifierId } from '../../protocol/ids.ts';
import type { VerifierConfig, VerifierSecrets } from '../../verifier/config.ts';
import type { WorkerConfig, WorkerSecrets } from '../../worker/config.ts';
import { loadAccountsKey } from './accounts-key.ts';
import {
  type FarmFolder,
  type FarmSecrets,
  farmFolder,
  loadSecrets,
  makeFolders,
  natsKeysFile,
  readDeployment,
  runningFarm,
  type StoredDeployment,
} from './data-folder.ts';
import { FARM_DEFAULTS } from './defaults.ts';
import { ensureDeployed } from './deployed.ts';
import { ownMembers, requireKey, verifierSecrets } from './members.ts';
import { requireSameChain } from './require-chain.ts';

/** Where each program finds what is its own; compose.yaml puts it there. */
export const APART = {
  dataFolder: '/var/lib/tessera',
  chainStateFile: '/var/lib/tessera-chain/state.json',
  natsStore: '/data',
  httpPort: 7733,
  natsPort: 4222,
  /** Asked by the health check inside the message server's own container, and by nobody else. */
  natsMonitor: '127.0.0.1:8222',
  everywhere: '0.0.0.0',
} as const;

/** Checks have a share of the machine of their own in a farm whose programs run apart. */
const VERIFIER_NICENESS = 10;

export type SetupOptions = {
  dataFolder: string;
  nodes: readonly string[];
  verifiers: readonly string[];
  /** What nodes, verifiers and people call the coordinator by. */
  apiUrl: string;
  natsUrl: string;
  chainUrl: string;
  /** Of the database server, without a password: one is made, and kept beside the other secrets. */
  databaseHost: string;
  /** A Postgres server with everything, in place of {@link databaseHost}. */
  databaseUrl?: string | undefined;
  blobsUrl?: string | undefined;
  runtime: RuntimeChoice;
  signal: AbortSignal;
};

/**
 * Writes everything below the data folder; again, with more nodes for one, it keeps every key. Throws USAGE where the
 * folder is that of a farm of `tessera up`, or a verifier comes too late: they join when the contracts are deployed.
 */
export async function setupFarm(options: SetupOptions): Promise<FarmFolder> {
  const folder = farmFolder(options.dataFolder);
  const kept = { kept: 'nothing was changed' };
  if ((await runningFarm(folder)) !== null || existsSync(join(folder.coordinator, 'db')))
    throw new FarmError('USAGE', `${folder.root} is the folder of a farm of \`tessera up\``, kept);
  await requireSameChain(folder, null);
  await makeFolders(folder);
  const stored = await readDeployment(folder);
  const before = await loadSecrets(folder, [], []);
  const late = options.verifiers.find((id) => stored !== null && before.verifiers[id] === undefined);
  if (late !== undefined)
    throw new FarmError(
      'USAGE',
      `${late} is not among the verifiers that the contracts of ${folder.root} were deployed with`,
      kept,
    );
  const secrets = await loadSecrets(folder, options.nodes, options.verifiers);
  const deployment = stored ?? (await deployOnce(folder, secrets, options.signal));
  const authority = await loadAuthority(natsKeysFile(folder));
  const conf = natsServerConfig({
    port: APART.natsPort,
    host: APART.everywhere,
    storeFolder: APART.natsStore,
    trust: await serverTrust(authority),
  });
  // The server runs as another user, and nothing in it is secret.
  const confFile = join(folder.run, 'nats.conf');
  await writeFileAtomic(confFile, `${conf}http: "${APART.natsMonitor}"\n`, 0o644);
  await chmod(confFile, 0o644);
  const databaseUrl = options.databaseUrl ?? (await ownDatabaseUrl(folder, options.databaseHost));
  for (const [name, file] of programFiles(options, secrets, deployment, {
    natsAccountSeed: authority.account,
    accountsKey: await loadAccountsKey(folder.root),
    databaseUrl,
  }))
    await writeFileAtomic(join(folder.run, `${name}.json`), JSON.stringify(file));
  return folder;
}

/** By name of the program: `coordinator`, and each verifier and node. */
function programFiles(
  options: SetupOptions,
  secrets: FarmSecrets,
  { chainId: _embedded, ...contracts }: StoredDeployment,
  more: Pick<CoordinatorSecrets, 'natsAccountSeed' | 'databaseUrl' | 'accountsKey'>,
): [string, object][] {
  const { apiUrl, natsUrl, chainUrl } = options;
  const [nodes, verifiers] = [options.nodes, options.verifiers].map((ids) => ids.map((id) => ({ id }))) as [
    { id: string }[],
    { id: string }[],
  ];
  const shared = {
    natsUrl,
    dataFolder: APART.dataFolder,
    runtime: options.runtime,
    threads: Math.max(1, Math.floor(availableParallelism() / Math.max(1, nodes.length))),
    logLevel: 'info',
  };
  const coordinator: { config: CoordinatorConfig; secrets: CoordinatorSecrets } = {
    config: {
      ...{ ...shared, ...contracts, ...FARM_DEFAULTS },
      ...{ httpPort: APART.httpPort, httpHost: APART.everywhere, publicUrl: new URL(apiUrl).origin },
      ...{ chainUrl, chainStateFile: APART.chainStateFile, allowSynthetic: false },
      join: { who: 'known', known: ownMembers(secrets, nodes, verifiers) },
      verifiers: verifiers.map(({ id }) => ({
        id: id as VerifierId,
        address: addressOf(verifierSecrets(secrets, id).key as string as PrivateKey),
      })),
    },
    secrets: {
      coordinatorKey: secrets.coordinatorKey,
      requesterKey: secrets.requesterKey,
      apiKey: secrets.apiKey,
      blobsUrl: options.blobsUrl,
      ...more,
    },
  };
  const ofVerifiers = verifiers.map(({ id }): [string, object] => {
    const { key: verifierKey, rootSecret } = verifierSecrets(secrets, id);
    const config: VerifierConfig = {
      ...{ ...shared, ...contracts, apiUrl, chainUrl, niceness: VERIFIER_NICENESS },
      verifierId: id as VerifierId,
    };
    const own: VerifierSecrets = { verifierKey, rootSecret };
    return [id, { config, secrets: own }];
  });
  const ofNodes = nodes.map(({ id }): [string, object] => {
    const config: WorkerConfig = { ...shared, apiUrl, nodeId: id as NodeId };
    const own: WorkerSecrets = { nodeKey: requireKey(secrets, id) };
    return [id, { config, secrets: own }];
  });
  return [['coordinator', coordinator], ...ofVerifiers, ...ofNodes];
}

/** The chain runs for as long as it takes to put the contracts there, and is left with them in its state file. */
async function deployOnce(
  folder: FarmFolder,
  secrets: FarmSecrets,
  signal: AbortSignal,
): Promise<StoredDeployment> {
  const chain = await startAnvil({ stateFile: folder.chainState, signal });
  try {
    return await ensureDeployed(folder, chain.url, secrets, undefined, signal);
  } finally {
    await chain.stop();
  }
}

/** Of a server that is started with this password, which lies in a file of its own for it. */
async function ownDatabaseUrl(folder: FarmFolder, host: string): Promise<string> {
  const path = join(folder.root, 'postgres-password');
  const password = (await readTextIfThere(path)) ?? randomBytes(24).toString('base64url');
  await writeFileAtomic(path, password);
  return `postgres://tessera:${password}@${host}:5432/tessera`;
}
