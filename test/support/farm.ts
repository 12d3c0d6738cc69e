/** The whole farm as a fixture: real processes, real Blender, real NATS, real chain, in a folder that goes away. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { loadSecrets } from '../../cli/farm/data-folder.ts';
import { type Farm, type FarmOptions, startFarm } from '../../cli/farm/start-farm.ts';
import { FarmClient } from '../../cli/farm-client.ts';
import { ProgressLine } from '../../cli/progress-line.ts';
import { type FrameFiles, followJob } from '../../cli/render/follow-job.ts';
import { submitScene } from '../../cli/render/submit-scene.ts';
import { packageRoot } from '../../platform/package-root.ts';
import { isFarmError } from '../../protocol/errors.ts';
import type { LoggedEvent } from '../../protocol/events.ts';
import type { Bytes32, Digest, JobId } from '../../protocol/ids.ts';
import type { JobRequest, JobView } from '../../protocol/job.ts';

/** The entry of a cheating node. */
export const adversary = (name: string): string => join(packageRoot(), 'dist/test/adversaries', `${name}.js`);
export const sample = (name: string): string => join(packageRoot(), 'samples', name, `${name}.blend`);

export type TestFarm = Farm & {
  client: FarmClient;
  /** Notes of the supervisor: what died, what came back. */
  notes: string[];
  /** Everything that the scene needs, sent; its name for jobs. */
  submitScene(scene: string): Promise<Digest>;
  submit(scene: string, request?: Partial<Omit<JobRequest, 'scene'>>): Promise<JobView>;
  finish(id: JobId): Promise<{ job: JobView; files: FrameFiles[] }>;
  /** Resolves with the first event of the job that fits; waits for it where it has not happened yet. */
  event(id: JobId, fits: (event: LoggedEvent['event']) => boolean): Promise<LoggedEvent>;
  /** The keys of the accounts whose stake answers for the verifiers, by the verifiers' names. */
  operatorKeys(): Promise<Record<string, Bytes32>>;
  /** Everything that has happened to the job so far. */
  events(id: JobId): Promise<LoggedEvent[]>;
};

const never = new AbortController().signal;

/** Starts a farm with short timers. Two honest nodes unless `nodes` says otherwise. */
export async function startTestFarm(options: Partial<FarmOptions> = {}): Promise<TestFarm> {
  const ownFolder = options.dataFolder === undefined;
  const dataFolder = options.dataFolder ?? (await mkdtemp(join(tmpdir(), 'tessera-test-')));
  const notes: string[] = [];
  const all: FarmOptions = {
    nodes: [{ id: 'node-1' }, { id: 'node-2' }],
    httpPort: 0,
    programs: 'dist',
    // Tests count on the pixels of one engine, whatever images this machine has.
    runtime: 'process',
    restart: false,
    leaseMs: 3_000,
    batchMaxAgeMs: 2_000,
    // Beside other tests there is no idle moment to wait for.
    trialGivesWayMs: 0,
    verifierNiceness: 0,
    // None by chance: the tests that are about them say so.
    canaryShare: 0,
    signal: never,
    onNote: (note) => notes.push(note),
    ...options,
    dataFolder,
  };
  const farm = await startFarm(all).catch((error: unknown) => {
    // What was free when it was chosen may be taken by the tests beside these.
    if (options.httpPort === undefined && isFarmError(error, 'PORT_TAKEN')) return startFarm(all);
    throw error;
  });
  const client = new FarmClient({ apiUrl: farm.apiUrl, credential: farm.apiKey });
  const outFolder = join(dataFolder, 'out');
  const testFarm: TestFarm = {
    apiUrl: farm.apiUrl,
    apiKey: farm.apiKey,
    folder: farm.folder,
    processes: farm.processes,
    client,
    notes,
    async submitScene(scene) {
      return (await submitScene(client, scene, undefined, never)).scene;
    },
    async submit(scene, request = {}) {
      return await client.submitJob(
        { name: 'test', tiles: 'auto', ...request, scene: await testFarm.submitScene(scene) },
        never,
      );
    },
    finish: (id) =>
      followJob(id, {
        client,
        outFolder: join(outFolder, id),
        progress: new ProgressLine({ write: () => true }, Date.now),
        now: Date.now,
        signal: never,
      }),
    async event(id, fits) {
      const closing = new AbortController();
      try {
        for await (const logged of client.events(id, 0, closing.signal))
          if (fits(logged.event)) return logged;
      } finally {
        closing.abort();
      }
      throw new Error(`the events of ${id} ended without the one that was waited for`);
    },
    async operatorKeys() {
      const { verifiers } = await loadSecrets(farm.folder, [], []);
      return Object.fromEntries(Object.entries(verifiers).map(([id, { operatorKey }]) => [id, operatorKey]));
    },
    async events(id) {
      const { seq } = await testFarm.event(id, (event) => event.type === 'job.closed');
      const all: LoggedEvent[] = [];
      const closing = new AbortController();
      try {
        for await (const logged of client.events(id, 0, closing.signal)) {
          all.push(logged);
          if (logged.seq >= seq) break;
        }
      } finally {
        closing.abort();
      }
      return all;
    },
    async [Symbol.asyncDispose]() {
      await farm[Symbol.asyncDispose]();
      if (ownFolder) await rm(dataFolder, { recursive: true, force: true });
    },
  };
  return testFarm;
}
