/**
 * A coordinator without sockets: real SQL, real blobs in a temporary folder, everything else a fake that a
 * test can look into. One per test file (the database takes seconds to create); every test makes jobs of its own.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Insertable, Selectable } from 'kysely';
import type { CoordinatorContext } from '../../coordinator/context.ts';
import type { FarmDb, FarmTables, TaskState } from '../../coordinator/database/schema.ts';
import { EventLog } from '../../coordinator/event-log.ts';
import { createMetrics } from '../../coordinator/observing/metrics.ts';
import { guardStates } from '../../coordinator/states/guard.ts';
import { FolderBlobStore } from '../../platform/blobs/folder-blob-store.ts';
import type { FarmChain } from '../../platform/chain/chain.ts';
import { addressOf, newPrivateKey, type PrivateKey } from '../../platform/chain/signing.ts';
import { type DatabasePlace, openDatabase } from '../../platform/database/open.ts';
import { createLog } from '../../platform/log.ts';
import { newAuthority } from '../../platform/nats/authority.ts';
import type { HeldPointer, TaskQueue } from '../../platform/nats/task-queue.ts';
import { packageRoot } from '../../platform/package-root.ts';
import type { RenderRuntime, SceneInspection } from '../../platform/render/runtime.ts';
import { sceneDigest } from '../../platform/scenes/manifest.ts';
import { SceneCache } from '../../platform/scenes/scene-cache.ts';
import type { FarmEvent } from '../../protocol/events.ts';
import {
  type Address,
  type Bytes32,
  bytes32Schema,
  digestSchema,
  type JobId,
  jobIdSchema,
  type NodeId,
  nodeIdSchema,
  type TaskId,
  taskIdSchema,
  verifierIdSchema,
} from '../../protocol/ids.ts';
import type { Admission, JobSpec, SceneManifest } from '../../protocol/job.ts';
import type { TaskPointer } from '../../protocol/messages.ts';

export const MIGRATIONS = join(packageRoot(), 'coordinator/database/migrations');
export const ENGINE = 'blender-3.4.1';
export const DEVICE_CLASS = 'cpu-avx2';

/** A clock that stands still until a test moves it. */
export class FakeClock {
  #now = Date.UTC(2030, 0, 1);
  now(): number {
    return this.#now;
  }
  advance(ms: number): void {
    this.#now += ms;
  }
}

/** A to-do list in memory. `onPublish` lets a test do something in the middle of a publication. */
export class FakeQueue implements TaskQueue {
  readonly published: TaskPointer[] = [];
  /** Pointers that were taken off the list for good. */
  readonly taken: TaskId[] = [];
  /** Pointers that were let go of for a while. */
  readonly letGo: TaskId[] = [];
  onPublish: (pointer: TaskPointer) => Promise<void> = async () => undefined;
  #deliver: ((pointer: HeldPointer) => void) | undefined;

  async publish(pointers: readonly TaskPointer[]): Promise<void> {
    for (const pointer of pointers) {
      this.published.push(pointer);
      await this.onPublish(pointer);
    }
  }
  async hold(_maxHeld: number, onPointer: (pointer: HeldPointer) => void): Promise<void> {
    this.#deliver = onPointer;
  }
  /** Hands a pointer to whoever holds. */
  deliver(pointer: TaskPointer): void {
    this.#deliver?.({
      ...pointer,
      done: () => void this.taken.push(pointer.taskId),
      later: () => void this.letGo.push(pointer.taskId),
    });
  }
  async depth(): Promise<number> {
    return this.published.length;
  }
  async [Symbol.asyncDispose](): Promise<void> {}
}

/** Only what the tested parts read; anything else is a mistake of the test and says so. */
function fakeChain(): FarmChain {
  const known: Partial<FarmChain> = {
    chainId: 31_337,
    escrowAddress: '0x00000000000000000000000000000000000e5c40' as Address,
    tokenAddress: '0x0000000000000000000000000000000000070ce0' as Address,
    registryAddress: '0x0000000000000000000000000000000000009e91' as Address,
  };
  return new Proxy(known as FarmChain, {
    get(target, property) {
      if (property in target) return target[property as keyof FarmChain];
      throw new Error(`the fake chain has no ${String(property)}`);
    },
  });
}

let counter = 0;
/** Letters and digits that no earlier call gave. */
function fresh(): string {
  counter += 1;
  return counter.toString(36);
}

export type TestNode = { id: NodeId; key: PrivateKey; address: Address };
export type TestJob = { id: JobId; tiles: TaskRow[]; finishes: TaskRow[]; wholes: TaskRow[] };
export type TaskRow = Selectable<FarmTables['tasks']>;
export type BatchRow = Selectable<FarmTables['batches']>;

export type JobOptions = {
  frames?: number[];
  tilesPerFrame?: number;
  /** One task a frame, rendered and finished by one node; `tilesPerFrame` says nothing then. */
  whole?: boolean;
  exr?: boolean;
  state?: FarmTables['jobs']['state'];
  admission?: Admission;
  engine?: string;
  /** A class of GPUs; left out: the CPU. */
  deviceClass?: string;
  price?: bigint;
  account?: string;
  priority?: number;
  maxNodes?: number;
  pool?: string;
};

export type TestCoordinator = AsyncDisposable & {
  context: CoordinatorContext;
  db: FarmDb;
  clock: FakeClock;
  queue: FakeQueue;
  addNode(options?: { engine?: string; online?: boolean }): Promise<TestNode>;
  addJob(options?: JobOptions): Promise<TestJob>;
  task(id: TaskId): Promise<TaskRow>;
  job(id: JobId): Promise<Selectable<FarmTables['jobs']>>;
  node(id: NodeId): Promise<Selectable<FarmTables['nodes']>>;
  frame(id: JobId, frame: number): Promise<Selectable<FarmTables['frames']>>;
  batchOf(id: JobId): Promise<BatchRow>;
  eventsOf(id: JobId): Promise<FarmEvent[]>;
  /** Everybody who was there before goes offline, so that a test is alone with its own nodes. */
  everybodyLeaves(): Promise<void>;
};

const MANIFEST: SceneManifest = {
  main: 'scene.blend',
  files: [{ path: 'scene.blend', digest: digestSchema.parse('ab'.repeat(32)), sizeBytes: 100 }],
};
export const SCENE = sceneDigest(MANIFEST);
export const TILE = { width: 32, height: 32 };

/** On a database of its own, or on a server. */
export async function testCoordinator(place?: DatabasePlace): Promise<TestCoordinator> {
  const folder = await mkdtemp(join(tmpdir(), 'tessera-coordinator-'));
  const database = await openDatabase<FarmTables>(place ?? join(folder, 'database'), MIGRATIONS);
  const { db } = database;
  await guardStates(db);
  const clock = new FakeClock();
  const queue = new FakeQueue();
  const blobs = await FolderBlobStore.open(join(folder, 'blobs'));
  const chain = fakeChain();
  const engine = { id: ENGINE, version: '3.4.1', deviceClass: DEVICE_CLASS, runtime: 'process' as const };
  const runtime: RenderRuntime = {
    engine,
    open: () => Promise.reject(new Error('nothing is rendered here')),
  };
  const context: CoordinatorContext = {
    config: {
      dataFolder: folder,
      httpPort: 0,
      publicUrl: 'http://127.0.0.1:1',
      join: { who: 'anyone', known: [] },
      passMs: 900_000,
      natsUrl: 'nats://127.0.0.1:1',
      chainUrl: 'http://127.0.0.1:1',
      chainStateFile: join(folder, 'state.json'),
      tokenAddress: chain.tokenAddress,
      escrowAddress: chain.escrowAddress,
      registryAddress: chain.registryAddress,
      deployedBlock: 0,
      verifiers: [
        {
          id: verifierIdSchema.parse('verifier'),
          address: '0x00000000000000000000000000000000000e41f1' as Address,
        },
      ],
      threads: 1,
      runtime: 'process',
      allowSynthetic: false,
      logLevel: 'silent',
      leaseMs: 10_000,
      batchMaxAgeMs: 15_000,
      handOverMs: 600_000,
      appealMs: 300_000,
      quarantineMs: 3_600_000,
      canaryShare: 0,
      trialGivesWayMs: 30_000,
    },
    secrets: {
      natsAccountSeed: newAuthority().account,
      coordinatorKey: someBytes32(),
      requesterKey: someBytes32(),
      apiKey: 'a-key-for-people-0001',
    },
    db,
    ownDatabase: place === null,
    events: new EventLog(db),
    blobs,
    scenes: await SceneCache.open(join(folder, 'scenes'), (digest, path) => blobs.copyTo(digest, path)),
    runtime,
    engines: [runtime],
    chain,
    queue,
    clock,
    log: createLog('test', 'silent'),
    metrics: createMetrics(),
  };
  await db
    .insertInto('scenes')
    .values({ digest: SCENE, manifest: JSON.stringify(MANIFEST), inspection: JSON.stringify(inspection()) })
    .execute();

  return {
    context,
    db,
    clock,
    queue,
    async addNode({ engine: nodeEngine = ENGINE, online = true } = {}) {
      const key = newPrivateKey();
      const node = { id: nodeIdSchema.parse(`node-${fresh()}`), key, address: addressOf(key) };
      await db
        .insertInto('nodes')
        .values({
          id: node.id,
          address: node.address,
          engine: nodeEngine,
          device_class: DEVICE_CLASS,
          operator: node.address,
          last_seen_at: new Date(online ? clock.now() : 0),
        })
        .execute();
      return node;
    },
    async addJob({
      frames = [1],
      whole = false,
      tilesPerFrame = whole ? 1 : 2,
      exr = true,
      state = 'active',
      admission = 'admitted',
      engine: jobEngine = ENGINE,
      deviceClass,
      price = 1_000n,
      account,
      priority,
      maxNodes,
      pool,
    } = {}) {
      const id = jobIdSchema.parse(`job_${fresh()}`);
      const region = { x: 0, y: 0, width: TILE.width * tilesPerFrame, height: TILE.height };
      const spec: JobSpec = {
        scene: SCENE,
        name: 'scene.blend',
        frames,
        tiles: { columns: tilesPerFrame, rows: 1 },
        samples: 16,
        engine: jobEngine,
        ...(deviceClass !== undefined && { deviceClass }),
        output: { format: 'png' },
        precision: 'float',
        region,
        picture: region,
        fullFrame: { width: region.width, height: region.height },
        exr,
      };
      const now = new Date(clock.now());
      await db
        .insertInto('jobs')
        .values({
          id,
          scene: SCENE,
          spec: JSON.stringify(spec),
          warnings: '[]',
          state,
          escrow: state === 'opening' ? 'none' : 'open',
          admission,
          quote: (price * BigInt(frames.length * (tilesPerFrame + 1))).toString(),
          max_task_price: price.toString(),
          deadline_at: new Date(clock.now() + 86_400_000),
          created_at: now,
          ...{ account, priority, max_nodes: maxNodes, pool },
          tasks_total: frames.length * (whole ? 1 : tilesPerFrame + 1),
          frames_total: frames.length,
          frames_begun: frames.length,
        })
        .execute();
      const pictures = frames.map((frame, position) => {
        return { job_id: id, frame, position, tiles_total: tilesPerFrame };
      });
      await db.insertInto('frames').values(pictures).execute();
      const rows: Insertable<FarmTables['tasks']>[] = [];
      for (const frame of frames) {
        for (let tile = 0; tile <= (whole ? 0 : tilesPerFrame); tile++) {
          const isFinish = tile === tilesPerFrame;
          rows.push({
            id: taskIdSchema.parse(`task_${fresh()}`),
            job_id: id,
            kind: whole ? 'frame' : isFinish ? 'finish' : 'render',
            frame,
            position: rows.length,
            tile: isFinish ? 0 : tile,
            x: isFinish ? 0 : tile * TILE.width,
            y: 0,
            width: isFinish ? region.width : TILE.width,
            height: TILE.height,
            samples: 16,
            price: price.toString(),
            state: (isFinish ? 'waiting' : 'queued') satisfies TaskState,
          });
        }
      }
      const tasks: TaskRow[] = [];
      // A statement takes 65,535 parameters.
      for (let start = 0; start < rows.length; start += 2_000) {
        const part = rows.slice(start, start + 2_000);
        tasks.push(...(await db.insertInto('tasks').values(part).returningAll().execute()));
      }
      tasks.sort((a, b) => a.position - b.position);
      return {
        id,
        tiles: tasks.filter((task) => task.kind === 'render'),
        finishes: tasks.filter((task) => task.kind === 'finish'),
        wholes: tasks.filter((task) => task.kind === 'frame'),
      };
    },
    task: (id) => db.selectFrom('tasks').selectAll().where('id', '=', id).executeTakeFirstOrThrow(),
    job: (id) => db.selectFrom('jobs').selectAll().where('id', '=', id).executeTakeFirstOrThrow(),
    node: (id) => db.selectFrom('nodes').selectAll().where('id', '=', id).executeTakeFirstOrThrow(),
    frame: (id, frame) =>
      db
        .selectFrom('frames')
        .selectAll()
        .where('job_id', '=', id)
        .where('frame', '=', frame)
        .executeTakeFirstOrThrow(),
    batchOf: (id) =>
      db
        .selectFrom('batches')
        .selectAll()
        .where('job_id', '=', id)
        .orderBy('seq', 'desc')
        .executeTakeFirstOrThrow(),
    async eventsOf(id) {
      return (await context.events.after(id, 0, 1_000)).map((logged) => logged.event);
    },
    async everybodyLeaves() {
      await db
        .updateTable('nodes')
        .set({ last_seen_at: new Date(0) })
        .execute();
    },
    async [Symbol.asyncDispose]() {
      await database[Symbol.asyncDispose]();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

export function someBytes32(): Bytes32 {
  return bytes32Schema.parse(newPrivateKey());
}

/** A scene that nothing is wrong with; each test changes what it is about. */
export function inspection(changes: Partial<SceneInspection> = {}): SceneInspection {
  return {
    frameStart: 1,
    frameEnd: 24,
    frameStep: 1,
    frameCurrent: 1,
    framesPerSecond: 24,
    resolution: { width: 1920, height: 1080 },
    region: { x: 0, y: 0, width: 1920, height: 1080 },
    picture: { x: 0, y: 0, width: 1920, height: 1080 },
    renderEngine: 'CYCLES',
    samples: 64,
    hasCamera: true,
    viewLayers: [{ name: 'ViewLayer', passes: ['Combined'] }],
    usesCompositor: false,
    usesSequencer: false,
    usesDenoising: false,
    canDenoise: false,
    usesMultiview: false,
    outputFormat: { fileFormat: 'PNG', colorMode: 'RGBA', colorDepth: '8' },
    writableFormats: ['png', 'jpeg', 'tiff', 'exr', 'exr-multilayer', 'webp'],
    files: [],
    missingFiles: [],
    unsupported: [],
    untileable: [],
    warnings: [],
    ...changes,
  };
}
