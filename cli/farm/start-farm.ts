/** A whole farm on one machine: message server, chain, coordinator, verifier, nodes; one process tree, one folder. */
import { cpus } from 'node:os';
import { join } from 'node:path';
import { deployEmbedded, isDeployed } from '../../platform/chain/deploy.ts';
import { freePort, startAnvil } from '../../platform/chain/embedded.ts';
import { addressOf, type PrivateKey } from '../../platform/chain/signing.ts';
import { waitForNats } from '../../platform/nats/connection.ts';
import { natsServerConfig } from '../../platform/nats/server.ts';
import type { Child } from '../../platform/process/child.ts';
import { portIsFree } from '../../platform/process/ports.ts';
import { ProcessRecord } from '../../platform/process/process-record.ts';
import { findEngines, type RuntimeChoice } from '../../platform/render/engines.ts';
import { FarmError } from '../../protocol/errors.ts';
import type { NodeId, VerifierId } from '../../protocol/ids.ts';
import type { VerifierConfig } from '../../verifier/config.ts';
import type { WorkerConfig } from '../../worker/config.ts';
import {
  type FarmFolder,
  type FarmSecrets,
  farmFolder,
  leaveFolder,
  loadSecrets,
  makeFolders,
  readDeployment,
  type StoredDeployment,
  takeFolder,
  writeDeployment,
} from './data-folder.ts';
import { OWN_ORIGIN, ownEntry, type ProgramOrigin, startNatsServer, startOwn } from './programs.ts';
import { type Supervised, supervise } from './supervised.ts';

/** A node to start. `entry` puts another program in the place of the honest worker, which may take arguments. */
export type NodeSpec = { id: string; entry?: string; arguments?: readonly string[] };

export type FarmOptions = {
  dataFolder: string;
  nodes: NodeSpec[];
  /** Puts another program in the place of the honest verifier. */
  verifierEntry?: string;
  /** 0 takes any free port. */
  httpPort: number;
  blenderPath?: string | undefined;
  /** A Postgres server in place of the database in the data folder. */
  databaseUrl?: string | undefined;
  /** Which of the machine's engines are used; both kinds when left out. */
  runtime?: RuntimeChoice | undefined;
  /** Lets `runtime: 'synthetic'` work, for load tests; a farm of people never sets it. */
  allowSynthetic?: boolean;
  programs?: ProgramOrigin;
  logLevel?: string;
  /** Whether processes that die are started again. */
  restart?: boolean;
  leaseMs?: number;
  batchMaxAgeMs?: number;
  handOverMs?: number;
  quarantineMs?: number;
  signal: AbortSignal;
  onNote: (note: string) => void;
};

export type Farm = {
  readonly apiUrl: string;
  readonly apiKey: string;
  readonly folder: FarmFolder;
  /** By name: nats-server, chain, coordinator, verifier and the nodes. */
  readonly processes: ReadonlyMap<string, Supervised>;
} & AsyncDisposable;

/** A render task without a sign of life for this long goes to another node. */
const DEFAULT_LEASE_MS = 15_000;
/**
 * How long a node may wait for its batch to be closed while others still work on the job. A check costs as much for a
 * small batch as for a full one: at 15 s an animation of half-second frames was checked three times, in place of once.
 */
const DEFAULT_BATCH_MAX_AGE_MS = 60_000;
/** A node behind a slow line sends a large frame in this time; a node that was restarted is back in it. */
const DEFAULT_HAND_OVER_MS = 600_000;
/** Out for an hour after a failed verdict: long enough to hurt, short enough to come back after a mended driver. */
const DEFAULT_QUARANTINE_MS = 3_600_000;

/** Checks share this machine with rendering, which they may not slow down; alone they get all of it. */
const VERIFIER_NICENESS = 19;

const VERIFIER: VerifierId = 'verifier' as VerifierId;

/**
 * Starts everything, or nothing: when a part fails to start, what runs already is ended and the error goes on.
 * Throws BLENDER_NOT_FOUND, SANDBOX_NOT_FOUND, PROGRAM_NOT_FOUND, DATA_FOLDER_IN_USE, PORT_TAKEN, DISK_FULL.
 */
export async function startFarm(options: FarmOptions): Promise<Farm> {
  const folder = farmFolder(options.dataFolder);
  // Before anything is touched: without a renderer in a sandbox there is no farm.
  const { signal, blenderPath, runtime: choice = 'auto' } = options;
  await findEngines({ signal, choice, blenderPath, tempFolder: options.dataFolder });
  if (options.httpPort !== 0 && !(await portIsFree(options.httpPort))) {
    throw new FarmError('PORT_TAKEN', `port ${options.httpPort} is taken by another program`, {
      kept: 'nothing was started',
    });
  }
  await makeFolders(folder);
  await takeFolder(folder, null);
  const record = new ProcessRecord(join(folder.run, 'processes.json'));
  const processes = new Map<string, Supervised>();
  const stopAll = async (): Promise<void> => {
    // Last started first: nodes let go before the coordinator, everybody before chain and messages.
    const names = [...processes.keys()].reverse();
    const servers = new Set(['nats-server', 'chain', 'coordinator']);
    await Promise.all(names.filter((name) => !servers.has(name)).map((name) => processes.get(name)?.stop()));
    for (const name of names.filter((one) => servers.has(one))) await processes.get(name)?.stop();
    await leaveFolder(folder);
  };
  try {
    const swept = await record.sweep();
    if (swept.length > 0) options.onNote(`ended what an earlier farm left running: ${swept.join(', ')}`);
    const apiUrl = await startParts(options, folder, record, processes);
    await takeFolder(folder, apiUrl);
    const { apiKey } = await loadSecrets(folder, []);
    return { apiUrl, apiKey, folder, processes, [Symbol.asyncDispose]: stopAll };
  } catch (error) {
    await stopAll();
    throw error;
  }
}

async function startParts(
  options: FarmOptions,
  folder: FarmFolder,
  record: ProcessRecord,
  processes: Map<string, Supervised>,
): Promise<string> {
  const { signal, onNote, restart = true, nodes, programs = OWN_ORIGIN } = options;
  const secrets = await loadSecrets(
    folder,
    nodes.map((node) => node.id),
  );
  const keep = async (name: string, start: () => Promise<Child>): Promise<void> => {
    signal.throwIfAborted();
    processes.set(name, await supervise({ name, start, record, restart, onNote }));
  };

  const natsPort = await freePort();
  const natsUrl = `nats://127.0.0.1:${natsPort}`;
  const config = natsServerConfig({
    port: natsPort,
    storeFolder: folder.nats,
    users: natsUsers(secrets, nodes),
  });
  await keep('nats-server', () => startNatsServer(folder, config));

  const chainPort = await freePort();
  const chainUrl = `http://127.0.0.1:${chainPort}`;
  const neverStopped = new AbortController().signal;
  await keep('chain', async () => {
    const chain = await startAnvil({ stateFile: folder.chainState, port: chainPort, signal: neverStopped });
    if (chain.state === 'lost') onNote('the chain state could not be read; the chain starts empty');
    return { pid: chain.pid, exited: chain.exited.then(() => 'ended'), stop: () => chain.stop() };
  });
  const deployment = await ensureDeployed(folder, chainUrl, secrets, signal);
  await waitForNats(natsUrl, 'coordinator', secrets.natsPasswords['coordinator'] ?? '', signal);

  // Chosen here, not by the coordinator: started again it must answer where everybody knows it.
  const httpPort = options.httpPort === 0 ? await freePort() : options.httpPort;
  const apiUrl = `http://127.0.0.1:${httpPort}`;
  const shared = {
    natsUrl,
    blenderPath: options.blenderPath,
    runtime: options.runtime ?? ('auto' as const),
    threads: Math.max(1, Math.floor(cpus().length / Math.max(1, nodes.length))),
    logLevel: options.logLevel ?? 'info',
  };
  const contracts = { tokenAddress: deployment.tokenAddress, escrowAddress: deployment.escrowAddress };
  await keep('coordinator', () =>
    startOwn(folder, 'coordinator', ownEntry('coordinator', programs), {
      config: {
        ...shared,
        ...contracts,
        allowSynthetic: options.allowSynthetic ?? false,
        dataFolder: folder.coordinator,
        httpPort,
        chainUrl,
        chainStateFile: folder.chainState,
        verifierAddress: addressOf(secrets.verifierKey as string as PrivateKey),
        leaseMs: options.leaseMs ?? DEFAULT_LEASE_MS,
        batchMaxAgeMs: options.batchMaxAgeMs ?? DEFAULT_BATCH_MAX_AGE_MS,
        handOverMs: options.handOverMs ?? DEFAULT_HAND_OVER_MS,
        quarantineMs: options.quarantineMs ?? DEFAULT_QUARANTINE_MS,
      },
      secrets: {
        natsPassword: secrets.natsPasswords['coordinator'] ?? '',
        coordinatorKey: secrets.coordinatorKey,
        requesterKey: secrets.requesterKey,
        apiKey: secrets.apiKey,
        blobToken: secrets.blobToken,
        databaseUrl: options.databaseUrl,
      },
    }),
  );
  // Nobody of these waits for another: on a busy machine starting them one by one takes most of the time.
  await Promise.all([
    keep('verifier', () =>
      startVerifier(folder, secrets, options.verifierEntry ?? ownEntry('verifier', programs), {
        ...shared,
        niceness: VERIFIER_NICENESS,
        ...contracts,
        apiUrl,
        chainUrl,
      }),
    ),
    ...nodes.map((node) =>
      keep(node.id, () =>
        startNode(folder, secrets, { entry: ownEntry('worker', programs), ...node }, { ...shared, apiUrl }),
      ),
    ),
  ]);
  return apiUrl;
}

function startVerifier(
  folder: FarmFolder,
  secrets: FarmSecrets,
  entry: string,
  config: Omit<VerifierConfig, 'verifierId' | 'dataFolder'>,
): Promise<Child> {
  return startOwn(folder, VERIFIER, entry, {
    config: { ...config, verifierId: VERIFIER, dataFolder: folder.verifier },
    secrets: {
      natsPassword: secrets.natsPasswords[VERIFIER] ?? '',
      verifierKey: secrets.verifierKey,
      rootSecret: secrets.verifierRootSecret,
      blobToken: secrets.blobToken,
    },
  });
}

function startNode(
  folder: FarmFolder,
  secrets: FarmSecrets,
  node: NodeSpec & { entry: string },
  config: Omit<WorkerConfig, 'nodeId' | 'dataFolder'>,
): Promise<Child> {
  const file = {
    config: { ...config, nodeId: node.id as NodeId, dataFolder: join(folder.nodes, node.id) },
    secrets: {
      natsPassword: secrets.natsPasswords[node.id] ?? '',
      nodeKey: requireKey(secrets, node.id),
      blobToken: secrets.blobToken,
    },
  };
  return startOwn(folder, node.id, node.entry, file, node.arguments);
}

function natsUsers(secrets: FarmSecrets, nodes: NodeSpec[]) {
  const password = (user: string): string => secrets.natsPasswords[user] ?? '';
  return [
    { user: 'coordinator', password: password('coordinator'), role: 'coordinator' as const },
    { user: VERIFIER, password: password(VERIFIER), role: 'verifier' as const },
    ...nodes.map((node) => ({ user: node.id, password: password(node.id), role: 'node' as const })),
  ];
}

function requireKey(secrets: FarmSecrets, nodeId: string) {
  const key = secrets.nodeKeys[nodeId];
  if (key === undefined) throw new Error(`no key was made for ${nodeId}`);
  return key;
}

/** The contracts of this folder; deployed where the chain does not have them (first start, or a chain that is lost). */
async function ensureDeployed(
  folder: FarmFolder,
  chainUrl: string,
  secrets: FarmSecrets,
  signal: AbortSignal,
): Promise<StoredDeployment> {
  const stored = await readDeployment(folder);
  if (stored !== null && (await isDeployed(chainUrl, stored, signal))) return stored;
  const deployment = await deployEmbedded(chainUrl, {
    coordinatorKey: secrets.coordinatorKey as string as PrivateKey,
    verifierAddress: addressOf(secrets.verifierKey as string as PrivateKey),
    verifierHead: secrets.verifierHead,
    signal,
  });
  await writeDeployment(folder, deployment);
  return deployment;
}
