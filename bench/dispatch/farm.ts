/** What the benchmark measures: a real message server, chain and coordinator, as `tessera up` starts them. */
import { copyFile, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { farmFolder, loadSecrets, makeFolders } from '../../cli/farm/data-folder.ts';
import { OWN_ORIGIN, ownEntry, startNatsServer } from '../../cli/farm/programs.ts';
import { FarmClient } from '../../cli/farm-client.ts';
import { submitScene } from '../../cli/render/submit-scene.ts';
import type { CoordinatorConfig, CoordinatorSecrets } from '../../coordinator/config.ts';
import { HttpBlobs } from '../../platform/blobs/http-blobs.ts';
import { freePort, startAnvil } from '../../platform/chain/embedded.ts';
import { addressOf } from '../../platform/chain/signing.ts';
import { writeFileAtomic } from '../../platform/files.ts';
import {
  coordinatorCredential,
  newAuthority,
  newNatsUser,
  serverTrust,
} from '../../platform/nats/authority.ts';
import { waitForNats } from '../../platform/nats/connection.ts';
import { signIn } from '../../platform/nats/join-farm.ts';
import { natsServerConfig } from '../../platform/nats/server.ts';
import { packageRoot } from '../../platform/package-root.ts';
import { type Child, startOwnProgram } from '../../platform/process/child.ts';
import type { SyntheticScene } from '../../platform/render/synthetic/scene.ts';
import { pause } from '../../platform/wait.ts';
import { FarmError } from '../../protocol/errors.ts';
import type { Digest, JobId, VerifierId } from '../../protocol/ids.ts';
import type { PreparedChain } from './prepare-chain.ts';

/** Ten times the usual: on a busy machine a lease must not run out in the middle of a measurement. */
const LEASE_MS = 150_000;

/** Longer than everything here takes: signing in is not what is measured. */
const PASS_MS = 3_600_000;

export type DispatchFarm = AsyncDisposable & {
  apiUrl: string;
  natsUrl: string;
  client: FarmClient;
  /** A file that every result names: it was uploaded once, as a node does, and the coordinator looks for it each time. */
  picture: Digest;
  /** What the coordinator had to say. */
  coordinatorLog: string;
  /** By what they are: coordinator, messages. */
  processes: { coordinator: number; messages: number };
  /** Ends the first coordinator as a power cut would; there has to be a second. */
  killCoordinator(): void;
  /** Hands in jobs of single frames and waits until their money is there. */
  submit(jobs: number, framesEach: number, signal: AbortSignal): Promise<JobId[]>;
};

export type DispatchFarmOptions = {
  prepared: PreparedChain;
  databaseUrl?: string | undefined;
  /** Two share one Postgres, one folder of blobs and the chain's state. */
  coordinators?: 1 | 2 | undefined;
  /** Writes the coordinator's processor profile there when it ends. */
  profileFolder?: string | undefined;
  signal: AbortSignal;
};

export async function startDispatchFarm(options: DispatchFarmOptions): Promise<DispatchFarm> {
  const { signal, prepared } = options;
  const root = await mkdtemp(join(tmpdir(), 'tessera-dispatch-'));
  const closers: (() => Promise<unknown>)[] = [() => rm(root, { recursive: true, force: true })];
  // Last started first.
  const close = async (): Promise<void> => {
    for (const one of closers.reverse()) await one();
  };
  try {
    const folder = farmFolder(root);
    await makeFolders(folder);
    const secrets = await loadSecrets(folder, [], []);
    const authority = newAuthority();
    const natsPort = await freePort();
    const natsUrl = `nats://127.0.0.1:${natsPort}`;
    const trust = await serverTrust(authority);
    const nats = await startNatsServer(
      folder,
      natsServerConfig({ port: natsPort, storeFolder: folder.nats, trust }),
    );
    closers.push(() => nats.stop());
    await waitForNats({ url: natsUrl }, await coordinatorCredential(authority.account), signal);
    await copyFile(prepared.stateFile, folder.chainState);
    const chain = await startAnvil({ stateFile: folder.chainState, port: await freePort(), signal });
    closers.push(() => chain.stop());
    const httpPort = await freePort();
    const apiUrl = `http://127.0.0.1:${httpPort}`;
    const { chainId: _same, ...contracts } = prepared.deployment;
    const config: CoordinatorConfig = {
      ...contracts,
      dataFolder: folder.coordinator,
      httpPort,
      publicUrl: apiUrl,
      natsUrl,
      join: { who: 'anyone', known: [] },
      passMs: PASS_MS,
      chainUrl: chain.url,
      chainStateFile: folder.chainState,
      verifiers: [{ id: 'verifier-1' as VerifierId, address: addressOf(prepared.verifierKey) }],
      runtime: 'synthetic',
      allowSynthetic: true,
      threads: 1,
      logLevel: 'error',
      leaseMs: LEASE_MS,
      batchMaxAgeMs: 3_600_000,
      handOverMs: 3_600_000,
      appealMs: 0,
      trialGivesWayMs: 0,
      quarantineMs: 1_000,
      canaryShare: 0,
    };
    const coordinatorSecrets: CoordinatorSecrets = {
      natsAccountSeed: authority.account,
      coordinatorKey: prepared.coordinatorKey as string as CoordinatorSecrets['coordinatorKey'],
      requesterKey: secrets.requesterKey,
      apiKey: secrets.apiKey,
      databaseUrl: options.databaseUrl,
    };
    const start = (name: string, own: Partial<CoordinatorConfig>): Promise<Child> =>
      startCoordinator(folder, name, options.profileFolder, {
        config: { ...config, ...own },
        secrets: coordinatorSecrets,
      });
    const coordinator = await start('coordinator', {});
    closers.push(() => coordinator.stop());
    if (options.coordinators === 2) {
      const dataFolder = join(root, 'second');
      await mkdir(dataFolder);
      // In the place of a bucket that both would have.
      await symlink(join(folder.coordinator, 'blobs'), join(dataFolder, 'blobs'));
      const second = await start('second', { dataFolder, httpPort: await freePort() });
      closers.push(() => second.stop());
    }
    const client = new FarmClient({ apiUrl, credential: secrets.apiKey });
    return {
      apiUrl,
      natsUrl,
      client,
      picture: await upload(apiUrl, prepared, signal),
      coordinatorLog: join(folder.log, 'coordinator.log'),
      processes: { coordinator: coordinator.pid, messages: nats.pid },
      killCoordinator: () => void process.kill(coordinator.pid, 'SIGKILL'),
      submit: (jobs, framesEach, until) => submitJobs(client, root, jobs, framesEach, until),
      [Symbol.asyncDispose]: close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

/** As a node that has rendered it. */
async function upload(apiUrl: string, { nodes }: PreparedChain, signal: AbortSignal): Promise<Digest> {
  const [node] = nodes;
  if (node === undefined) throw new Error('the farm has no node');
  const { natsUser } = newNatsUser();
  const applicant = { role: 'node' as const, id: node.id, address: addressOf(node.key), natsUser };
  const { blobToken } = await signIn(apiUrl, applicant, node.key, signal);
  const bytes = new TextEncoder().encode('a picture that took no time');
  return await new HttpBlobs({ apiUrl, credential: blobToken }).putBytes(bytes, signal);
}

async function startCoordinator(
  folder: ReturnType<typeof farmFolder>,
  name: string,
  profileFolder: string | undefined,
  file: object,
): Promise<Child> {
  const path = join(folder.run, `${name}.json`);
  await writeFileAtomic(path, JSON.stringify(file));
  const entry = ownEntry('coordinator', OWN_ORIGIN);
  return await startOwnProgram({
    name,
    command: process.execPath,
    args: [
      ...(entry.endsWith('.ts') ? ['--import', import.meta.resolve('tsx')] : []),
      ...(profileFolder === undefined ? [] : ['--cpu-prof', '--cpu-prof-dir', profileFolder]),
      '--enable-source-maps',
      entry,
      path,
    ],
    logFile: join(folder.log, `${name}.log`),
    cwd: packageRoot(),
  });
}

/** A job that waits for its escrow is looked at so often. */
const LOOK_MS = 100;

async function submitJobs(
  client: FarmClient,
  folder: string,
  jobs: number,
  framesEach: number,
  signal: AbortSignal,
): Promise<JobId[]> {
  await mkdir(join(folder, 'scenes'), { recursive: true });
  const path = join(folder, 'scenes', `frames-${framesEach}.json`);
  const scene: SyntheticScene = { resolution: { width: 64, height: 64 }, frameEnd: framesEach };
  await writeFile(path, JSON.stringify(scene));
  const submitted = await submitScene(client, path, undefined, signal);
  const ids: JobId[] = [];
  for (let job = 0; job < jobs; job++) {
    const request = { scene: submitted.scene, name: `job ${job}`, tiles: { columns: 1, rows: 1 } };
    ids.push((await client.submitJob(request, signal)).id);
  }
  for (const id of ids) {
    for (
      let { state } = await client.job(id, signal);
      state !== 'active';
      { state } = await client.job(id, signal)
    ) {
      if (state !== 'opening') throw new FarmError('INTERNAL', `job ${id} is ${state}`);
      await pause(LOOK_MS, signal);
    }
  }
  return ids;
}
