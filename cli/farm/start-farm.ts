/** A whole farm on one machine: message server, chain, coordinator, verifiers, nodes; one process tree, one folder. */
import { cpus } from 'node:os';
import { join } from 'node:path';
import type { ChainTerms } from '../../platform/chain/chain.ts';
import { freePort, startAnvil } from '../../platform/chain/embedded.ts';
import { originOf } from '../../platform/chain/json-rpc.ts';
import { addressOf, type PrivateKey } from '../../platform/chain/signing.ts';
import { coordinatorCredential, loadAuthority, serverTrust } from '../../platform/nats/authority.ts';
import { waitForNats } from '../../platform/nats/connection.ts';
import { type NatsTls, natsServerConfig } from '../../platform/nats/server.ts';
import type { Child } from '../../platform/process/child.ts';
import { portIsFree } from '../../platform/process/ports.ts';
import { ProcessRecord } from '../../platform/process/process-record.ts';
import { findEngines, type RuntimeChoice } from '../../platform/render/engines.ts';
import { type KnownBlender, knowBlender } from '../../platform/render/process/known-blender.ts';
import { FarmError } from '../../protocol/errors.ts';
import type { Bytes32, NodeId, VerifierId } from '../../protocol/ids.ts';
import type { VerifierConfig } from '../../verifier/config.ts';
import type { WorkerConfig } from '../../worker/config.ts';
import { loadAccountsKey } from './accounts-key.ts';
import {
  type FarmFolder,
  type FarmSecrets,
  farmFolder,
  leaveFolder,
  loadSecrets,
  makeFolders,
  natsKeysFile,
  type StoredDeployment,
  type StoredVerifier,
  takeFolder,
} from './data-folder.ts';
import { FARM_DEFAULTS } from './defaults.ts';
import { ensureDeployed } from './deployed.ts';
import { OWN_VERIFIERS, ownMembers, requireKey, verifierSecrets } from './members.ts';
import {
  OWN_ORIGIN,
  ownEntry,
  type ProgramOrigin,
  startNatsServer,
  startOwn,
  type Through,
} from './programs.ts';
import type { PublicFarmChain } from './public-chain.ts';
import { requireReadyChain, requireSameChain, sendingKey } from './require-chain.ts';
import { type Supervised, supervise } from './supervised.ts';

/** A node to start. `entry` puts another program in the place of the honest worker, which may take arguments. */
export type NodeSpec = { id: string; entry?: string; arguments?: readonly string[] };

/** A verifier to start, of an operator of its own. `entry` puts another program in the place of the honest one. */
export type VerifierSpec = { id: string; entry?: string; arguments?: readonly string[] };

export type FarmOptions = {
  dataFolder: string;
  nodes: NodeSpec[];
  /** Two honest ones when left out. */
  verifiers?: VerifierSpec[];
  /** 0 takes any free port. */
  httpPort: number;
  /** The address that coordinator and message server listen on, and that all programs know them by; this machine alone when left out. */
  host?: string;
  /** The message servers of somebody else, with commas between them, in place of one of the farm's own. */
  natsUrl?: string | undefined;
  /** On how many of them the to-do list is kept. */
  natsReplicas?: number | undefined;
  blenderPath?: string | undefined;
  /** A Postgres server in place of the database in the data folder. */
  databaseUrl?: string | undefined;
  /** A bucket with its key in place of the folder of blobs. */
  blobsUrl?: string | undefined;
  /** A chain that is there already, with the farm's contracts, in place of one of the farm's own. */
  publicChain?: PublicFarmChain | undefined;
  /** Encrypts the keys of accounts, in place of the one in the data folder. */
  accountsKey?: Bytes32 | undefined;
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
  appealMs?: number;
  /** The most that one of its nodes puts on an appeal, in units of the token; 0: none appeals. */
  appealBond?: number | undefined;
  quarantineMs?: number;
  /** What the contracts are deployed with where that is not the usual, for tests of their windows. */
  chainTerms?: Partial<ChainTerms>;
  /** 0 to 19; left out, checks give way to everything else on this machine. */
  verifierNiceness?: number | undefined;
  trialGivesWayMs?: number;
  /** Beside which share of the batches a canary is planted. */
  canaryShare?: number;
  /** Who may work for this farm: the nodes that it starts itself (when left out), or anyone with a key. */
  join?: 'known' | 'anyone';
  /** How long nodes and verifiers work with one sign-in. */
  passMs?: number;
  /** Encrypts the message server's connections. `caFile` is what the farm's own programs trust; all in PEM. */
  natsTls?: NatsTls & { caFile?: string };
  /** Where the message server listens for WebSockets; nowhere when left out. */
  natsWebsocketPort?: number;
  /** A command that starts this program in its turn (`ip netns exec NAME`, `env A=B`), for tests of what breaks. */
  through?: Through;
  signal: AbortSignal;
  onNote: (note: string) => void;
};

export type Farm = {
  readonly apiUrl: string;
  readonly apiKey: string;
  readonly folder: FarmFolder;
  /** By name: nats-server, chain, coordinator, the verifiers and the nodes. */
  readonly processes: ReadonlyMap<string, Supervised>;
} & AsyncDisposable;

/** Checks share this machine with rendering, which they may not slow down; alone they get all of it. */
const VERIFIER_NICENESS = 19;

/**
 * Starts everything, or nothing: when a part fails to start, what runs already is ended and the error goes on.
 * Throws BLENDER_NOT_FOUND, SANDBOX_NOT_FOUND, PROGRAM_NOT_FOUND, DATA_FOLDER_IN_USE, PORT_TAKEN, DISK_FULL; on a chain of
 * others CHAIN_WRONG, CHAIN_NOT_READY.
 */
export async function startFarm(options: FarmOptions): Promise<Farm> {
  const folder = farmFolder(options.dataFolder);
  // Before anything is touched: without a renderer in a sandbox there is no farm.
  const { signal, blenderPath, runtime: choice = 'auto' } = options;
  const isLocal = choice === 'auto' || choice === 'process';
  const knownBlender = isLocal ? await knowBlender(blenderPath, signal) : undefined;
  await findEngines({ signal, choice, blenderPath, knownBlender, tempFolder: options.dataFolder });
  if (options.httpPort !== 0 && !(await portIsFree(options.httpPort))) {
    throw new FarmError('PORT_TAKEN', `port ${options.httpPort} is taken by another program`, {
      kept: 'nothing was started',
    });
  }
  await requireSameChain(folder, options.publicChain?.deployment ?? null);
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
    const apiUrl = await startParts({ ...options, knownBlender }, folder, record, processes);
    await takeFolder(folder, apiUrl);
    const { apiKey } = await loadSecrets(folder, [], []);
    return { apiUrl, apiKey, folder, processes, [Symbol.asyncDispose]: stopAll };
  } catch (error) {
    await stopAll();
    throw error;
  }
}

async function startParts(
  options: FarmOptions & { knownBlender: KnownBlender | undefined },
  folder: FarmFolder,
  record: ProcessRecord,
  processes: Map<string, Supervised>,
): Promise<string> {
  const { signal, onNote, restart = true, nodes, programs = OWN_ORIGIN } = options;
  const { verifiers = OWN_VERIFIERS, through = () => [] } = options;
  const secrets = await loadSecrets(
    folder,
    nodes.map((node) => node.id),
    verifiers.map((verifier) => verifier.id),
  );
  const keep = async (name: string, start: () => Promise<Child>): Promise<void> => {
    signal.throwIfAborted();
    processes.set(name, await supervise({ name, start, record, restart, onNote }));
  };

  const { publicChain } = options;
  if (publicChain !== undefined) {
    const ids = verifiers.map(({ id }) => id);
    await requireReadyChain(folder, publicChain, secrets, ids, { onNote, signal });
  }
  const { natsTls, natsWebsocketPort, host = '127.0.0.1' } = options;
  const natsCaFile = natsTls?.caFile;
  const authority = await loadAuthority(natsKeysFile(folder));
  const natsPort = await freePort();
  const natsUrl = options.natsUrl ?? `nats://${host}:${natsPort}`;
  if (options.natsUrl === undefined) {
    const config = natsServerConfig({
      port: natsPort,
      storeFolder: folder.nats,
      trust: await serverTrust(authority),
      tls: natsTls,
      websocketPort: natsWebsocketPort,
      host,
    });
    await keep('nats-server', () => startNatsServer(folder, config));
  }

  const chain =
    publicChain === undefined
      ? await startOwnChain(options, folder, secrets, keep)
      : chainOfOthers(publicChain, sendingKey(secrets, publicChain));
  const server = { url: natsUrl, caFile: natsCaFile };
  await waitForNats(server, await coordinatorCredential(authority.account), signal);

  // Chosen here, not by the coordinator: started again it must answer where everybody knows it.
  const httpPort = options.httpPort === 0 ? await freePort() : options.httpPort;
  const apiUrl = `http://${host}:${httpPort}`;
  const shared = {
    natsUrl,
    natsCaFile,
    blenderPath: options.blenderPath,
    knownBlender: options.knownBlender,
    runtime: options.runtime ?? ('auto' as const),
    threads: Math.max(1, Math.floor(cpus().length / Math.max(1, nodes.length))),
    logLevel: options.logLevel ?? 'info',
  };
  const masterKey = options.accountsKey ?? (await loadAccountsKey(folder.root));
  await keep('coordinator', () =>
    startOwn(folder, { name: 'coordinator', entry: ownEntry('coordinator', programs) }, through, {
      config: {
        ...shared,
        ...chain.contracts,
        ...chain.config,
        chainStateFile: chain.stateFile,
        allowSynthetic: options.allowSynthetic ?? false,
        dataFolder: folder.coordinator,
        httpPort,
        httpHost: host,
        natsReplicas: options.natsReplicas,
        publicUrl: apiUrl,
        join: { who: options.join ?? 'known', known: ownMembers(secrets, nodes, verifiers) },
        passMs: options.passMs ?? FARM_DEFAULTS.passMs,
        verifiers: verifiers.map(({ id }) => ({
          id: id as VerifierId,
          address: addressOf(verifierSecrets(secrets, id).key as string as PrivateKey),
        })),
        leaseMs: options.leaseMs ?? FARM_DEFAULTS.leaseMs,
        batchMaxAgeMs: options.batchMaxAgeMs ?? FARM_DEFAULTS.batchMaxAgeMs,
        handOverMs: options.handOverMs ?? FARM_DEFAULTS.handOverMs,
        appealMs: options.appealMs ?? FARM_DEFAULTS.appealMs,
        quarantineMs: options.quarantineMs ?? FARM_DEFAULTS.quarantineMs,
        trialGivesWayMs: options.trialGivesWayMs ?? FARM_DEFAULTS.trialGivesWayMs,
        // Elsewhere they would cost real money, and none is planted.
        canaryShare: options.canaryShare ?? (publicChain === undefined ? FARM_DEFAULTS.canaryShare : 0),
      },
      secrets: {
        natsAccountSeed: authority.account,
        coordinatorKey: chain.coordinatorKey,
        chainUrl: chain.secretUrl,
        requesterKey: secrets.requesterKey,
        accountsKey: masterKey,
        apiKey: secrets.apiKey,
        databaseUrl: options.databaseUrl,
        blobsUrl: options.blobsUrl,
      },
    }),
  );
  // Nobody of these waits for another: on a busy machine starting them one by one takes most of the time.
  await Promise.all([
    ...verifiers.map((verifier) =>
      keep(verifier.id, () =>
        startVerifier(
          folder,
          { ...verifierSecrets(secrets, verifier.id), chainUrl: chain.secretUrl },
          { entry: ownEntry('verifier', programs), ...verifier },
          through,
          {
            ...shared,
            niceness: options.verifierNiceness ?? VERIFIER_NICENESS,
            ...chain.contracts,
            ...chain.config,
            apiUrl,
          },
        ),
      ),
    ),
    ...nodes.map((node) =>
      keep(node.id, () =>
        startNode(folder, secrets, { entry: ownEntry('worker', programs), ...node }, through, {
          ...shared,
          apiUrl,
          ...(options.appealBond !== undefined && { appealBond: options.appealBond }),
        }),
      ),
    ),
  ]);
  return apiUrl;
}

/** What the programs are told of the farm's chain. */
type ChainOfFarm = {
  contracts: Omit<StoredDeployment, 'chainId'>;
  /** For the coordinator and the verifiers alike. */
  config: Pick<VerifierConfig, 'chainUrl' | 'publicChain'>;
  /** For the coordinator alone. */
  stateFile: string | undefined;
  coordinatorKey: Bytes32;
  /** Where the address in the configuration is not all of it. */
  secretUrl: string | undefined;
};

async function startOwnChain(
  { chainTerms, signal, onNote }: FarmOptions,
  folder: FarmFolder,
  secrets: FarmSecrets,
  keep: (name: string, start: () => Promise<Child>) => Promise<void>,
): Promise<ChainOfFarm> {
  const chainPort = await freePort();
  const chainUrl = `http://127.0.0.1:${chainPort}`;
  const neverStopped = new AbortController().signal;
  await keep('chain', async () => {
    const chain = await startAnvil({ stateFile: folder.chainState, port: chainPort, signal: neverStopped });
    if (chain.state === 'lost') onNote('the chain state could not be read; the chain starts empty');
    return { pid: chain.pid, exited: chain.exited.then(() => 'ended'), stop: () => chain.stop() };
  });
  const deployment = await ensureDeployed(folder, chainUrl, secrets, chainTerms, signal);
  const { chainId: _ours, ...contracts } = deployment;
  return {
    ...{ contracts, config: { chainUrl }, stateFile: folder.chainState, secretUrl: undefined },
    coordinatorKey: secrets.coordinatorKey,
  };
}

function chainOfOthers(
  { url, deployment, confirmations }: PublicFarmChain,
  coordinatorKey: Bytes32,
): ChainOfFarm {
  const { chainId, ...contracts } = deployment;
  const config = { chainUrl: originOf(url), publicChain: { chainId, confirmations } };
  return { contracts, config, coordinatorKey, stateFile: undefined, secretUrl: url };
}

function startVerifier(
  folder: FarmFolder,
  { key, rootSecret, chainUrl }: StoredVerifier & { chainUrl: string | undefined },
  verifier: VerifierSpec & { entry: string },
  through: Through,
  config: Omit<VerifierConfig, 'verifierId' | 'dataFolder'>,
): Promise<Child> {
  const { id, entry } = verifier;
  const file = {
    config: { ...config, verifierId: id as VerifierId, dataFolder: join(folder.verifiers, id) },
    secrets: { verifierKey: key, rootSecret, chainUrl },
  };
  return startOwn(folder, { name: id, entry, arguments: verifier.arguments }, through, file);
}

function startNode(
  folder: FarmFolder,
  secrets: FarmSecrets,
  node: NodeSpec & { entry: string },
  through: Through,
  config: Omit<WorkerConfig, 'nodeId' | 'dataFolder'>,
): Promise<Child> {
  const file = {
    config: { ...config, nodeId: node.id as NodeId, dataFolder: join(folder.nodes, node.id) },
    secrets: { nodeKey: requireKey(secrets, node.id) },
  };
  return startOwn(folder, { name: node.id, entry: node.entry, arguments: node.arguments }, through, file);
}
