/** Puts a coordinator together and runs it until told to stop. */
import { setMaxListeners } from 'node:events';
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Kysely } from 'kysely';
import { collectDefaultMetrics } from 'prom-client';
import type { BlobStore } from '../platform/blobs/blob-store.ts';
import { FolderBlobStore } from '../platform/blobs/folder-blob-store.ts';
import { S3BlobStore } from '../platform/blobs/s3-blob-store.ts';
import { systemClock } from '../platform/clock.ts';
import { lead } from '../platform/database/lead.ts';
import { openDatabase } from '../platform/database/open.ts';
import { turnsOn } from '../platform/database/turns.ts';
import { listen } from '../platform/http/listen.ts';
import { createLog } from '../platform/log.ts';
import { coordinatorCredential } from '../platform/nats/authority.ts';
import { connectNats } from '../platform/nats/connection.ts';
import { spokenOn } from '../platform/nats/spoken.ts';
import { openTaskQueue } from '../platform/nats/task-queue.ts';
import { packageRoot } from '../platform/package-root.ts';
import type { ProgramLife } from '../platform/process/run-program.ts';
import { findEngines } from '../platform/render/engines.ts';
import { Spares } from '../platform/render/spares.ts';
import { SceneCache } from '../platform/scenes/scene-cache.ts';
import { FarmError } from '../protocol/errors.ts';
import type { JobId } from '../protocol/ids.ts';
import type { JobState } from '../protocol/job.ts';
import { AdmissionLoop } from './admission/admission-loop.ts';
import { createApp } from './api/app.ts';
import { CanaryLoop } from './canaries/canary-loop.ts';
import { COLLEAGUES_SUBJECT, Colleagues, type Word } from './colleagues.ts';
import type { CoordinatorConfig, CoordinatorSecrets } from './config.ts';
import type { CoordinatorContext } from './context.ts';
import type { FarmDb, FarmTables } from './database/schema.ts';
import { EventLog } from './event-log.ts';
import { Housekeeping } from './housekeeping.ts';
import { createMetrics } from './observing/metrics.ts';
import { observeEvents } from './observing/observe-events.ts';
import { readinessOf } from './observing/routes.ts';
import { chainIdOf, openChain } from './open-chain.ts';
import { watchForLate } from './scheduling/copies/watch.ts';
import { Dispatcher } from './scheduling/dispatcher.ts';
import { graceLeases } from './scheduling/lost-leases.ts';
import { forgetPublished } from './scheduling/publish-queued.ts';
import { serveNodes } from './scheduling/serve-nodes.ts';
import { graceAppeals } from './settlement/appeals.ts';
import { SettlementLoop } from './settlement/settlement-loop.ts';
import { guardStates } from './states/guard.ts';
import { Scenes } from './submission/scenes.ts';
import { requireNoSynthetic } from './synthetic-engines.ts';
import { AppealDesk } from './verification/appeal-desk.ts';
import { graceHandOvers, HandOver } from './verification/hand-over.ts';
import { serveVerifiers } from './verification/serve-verifiers.ts';
import { VerifierDesk } from './verification/verifier-desk.ts';

export async function runCoordinator(
  config: CoordinatorConfig,
  secrets: CoordinatorSecrets,
  life: ProgramLife,
): Promise<void> {
  const { signal } = life;
  const log = createLog('coordinator', config.logLevel);
  const migrations = join(packageRoot(), 'coordinator/database/migrations');
  const workFolder = join(config.dataFolder, 'work');
  await rm(workFolder, { recursive: true, force: true });
  await mkdir(workFolder, { recursive: true, mode: 0o700 });
  await using database = await openDatabase<FarmTables>(
    secrets.databaseUrl === undefined ? join(config.dataFolder, 'db') : { url: secrets.databaseUrl },
    migrations,
  );
  await guardStates(database.db);
  const credential = await coordinatorCredential(secrets.natsAccountSeed);
  const server = { url: config.natsUrl, caFile: config.natsCaFile };
  const nats = await connectNats(server, 'coordinator', () => credential);
  // Whatever fails from here on, an open connection would keep the process from ending.
  await using _connection = { [Symbol.asyncDispose]: () => nats.close() };
  await using queue = await openTaskQueue(nats, { replicas: config.natsReplicas });
  const found = await findEngines({
    signal,
    choice: config.runtime,
    blenderPath: config.blenderPath,
    knownBlender: config.knownBlender,
    tempFolder: workFolder,
    gpus: true,
    onNote: (note) => log.warn(note),
  });
  await using spares = new Spares({
    threads: config.threads,
    busy: () => hasJobs(database.db),
    onError: (error) => log.warn({ err: error }, 'a renderer could not be started ahead'),
  });
  const engines = found.map((one) => spares.around(one));
  const [runtime] = engines;
  if (runtime === undefined) throw new FarmError('ENGINE_NOT_FOUND', 'this machine has no engine');
  requireNoSynthetic(
    'this farm',
    engines.map((one) => one.engine),
    { allowSynthetic: config.allowSynthetic, chainId: chainIdOf(config) },
  );
  const metrics = createMetrics();
  collectDefaultMetrics({ register: metrics.registry });
  const blobs: BlobStore =
    secrets.blobsUrl === undefined
      ? await FolderBlobStore.open(join(config.dataFolder, 'blobs'))
      : await S3BlobStore.open(secrets.blobsUrl, join(config.dataFolder, 'incoming'));
  const context: CoordinatorContext = {
    config,
    secrets,
    db: database.db,
    ownDatabase: secrets.databaseUrl === undefined,
    events: new EventLog(database.db, observeEvents(metrics, log), {
      shared: secrets.databaseUrl !== undefined,
    }),
    blobs,
    scenes: await SceneCache.open(join(config.dataFolder, 'scenes'), (digest, path) =>
      blobs.copyTo(digest, path),
    ),
    runtime,
    engines,
    chain: openChain(config, secrets, {
      log,
      turns:
        secrets.databaseUrl === undefined
          ? undefined
          : turnsOn(database.db as unknown as Kysely<never>, SENDING_LOCK),
    }),
    queue,
    clock: systemClock,
    log,
    metrics,
  };

  if (config.publicChain !== undefined && secrets.databaseUrl !== undefined)
    log.warn(
      { dataFolder: config.dataFolder },
      'what this coordinator sends to the chain is noted in its own folder: no other one may work on this database, nor send with its key',
    );
  const scenes = new Scenes(context);
  const onTaken = (jobs: ReadonlySet<JobId>): void => {
    housekeeping.taken(jobs);
    tell('taken');
  };
  const dispatcher = new Dispatcher(context, onTaken, {
    waiting: () => tell('waiting'),
    offer: (pointers) => colleagues?.offer(pointers),
  });
  const onArrival = (): void => {
    desk.wake();
    tell('arrived');
  };
  const handOver = new HandOver(context, onArrival, await graceHandOvers(context));
  const desk = new VerifierDesk(context, handOver, () => wakeAll());
  const appeals = new AppealDesk(context);
  const settlement = new SettlementLoop(context, () => wakeAll());
  const admissions = new AdmissionLoop(context, () => wakeAll());
  const canaries = new CanaryLoop(context, () => wakeAll());
  const housekeeping = new Housekeeping(context, {
    // They were freed on the way, which may be room for a node that waits elsewhere.
    onTasks: () => {
      dispatcher.wake();
      tell('room');
    },
    onMoney: () => {
      settlement.wake();
      tell('money');
    },
  });
  const wakeHere = (): void => {
    housekeeping.wake();
    settlement.wake();
    admissions.wake();
    canaries.wake();
    desk.wake();
    handOver.wake();
    appeals.wake();
    dispatcher.wake();
  };
  // On a database of its own a coordinator is the only one.
  using colleagues =
    secrets.databaseUrl === undefined
      ? null
      : new Colleagues(
          spokenOn(nats, COLLEAGUES_SUBJECT),
          {
            anything: wakeHere,
            room: () => {
              dispatcher.wake();
              housekeeping.delivered();
            },
            taken: () => housekeeping.taken(),
            waiting: () => dispatcher.othersWait(),
            arrived: () => desk.wake(),
            money: () => settlement.wake(),
          },
          (pointers) => dispatcher.borrow(pointers),
        );
  const tell = (word: Word): void => colleagues?.tell(word);
  const wakeAll = (): void => {
    wakeHere();
    tell('anything');
  };
  const delivering = {
    delivered(tasks: number): void {
      housekeeping.delivered(tasks);
      tell('room');
    },
    wake(): void {
      housekeeping.wake();
      tell('anything');
    },
  };

  await graceLeases(context);
  await graceAppeals(context);
  await forgetPublished(context.db);
  await dispatcher.start();
  await using http = await listen(
    createApp(context, scenes, admissions, readinessOf(context, nats), wakeAll, signal),
    config.httpPort,
    config.httpHost,
  );
  log.info({ url: http.url, engines: engines.map((one) => one.engine.id) }, 'the coordinator works');
  life.ready({ url: http.url });
  const [first] = found;
  if (first !== undefined) spares.prepare(first);
  await untilOneEnds(signal, [
    (stop) => leadWhereShared(context, HOUSEKEEPING_LOCK, (signal) => housekeeping.run(signal), stop),
    (stop) => leadWhereShared(context, SETTLEMENT_LOCK, (signal) => settlement.run(signal), stop),
    (stop) => admissions.run(stop),
    (stop) => leadWhereShared(context, CANARIES_LOCK, (signal) => canaries.run(signal), stop),
    (stop) => watchForLate(context, dispatcher, stop),
    (stop) => serveNodes(context, nats, dispatcher, { handOver, appeals }, delivering, wakeAll, stop),
    (stop) => serveVerifiers(context, nats, desk, stop),
  ]);
}

/** Any numbers, as long as they differ and stay: coordinators of one farm mean the same by them. */
const HOUSEKEEPING_LOCK = 0x74650001;
const SETTLEMENT_LOCK = 0x74650002;
const CANARIES_LOCK = 0x74650003;
const SENDING_LOCK = 0x74650004;

/** On a server that other coordinators share one of them does it, and another one when that one is gone. */
async function leadWhereShared(
  { db, ownDatabase, log }: CoordinatorContext,
  lock: number,
  work: (signal: AbortSignal) => Promise<void>,
  signal: AbortSignal,
): Promise<void> {
  if (ownDatabase) return await work(signal);
  const onError = (error: unknown): void => log.warn({ err: error }, 'the lead was lost; trying again');
  await lead(db as unknown as Kysely<never>, lock, work, { signal, onError });
}

/** Whether some job is under way: its frames may be rendered on this machine. */
async function hasJobs(db: FarmDb): Promise<boolean> {
  const states: JobState[] = ['opening', 'active'];
  const job = await db.selectFrom('jobs').select('id').where('state', 'in', states).executeTakeFirst();
  return job !== undefined;
}

/** Runs parts side by side; when one ends, however it does, the others are stopped too: half a coordinator is none. */
async function untilOneEnds(
  signal: AbortSignal,
  parts: ((stop: AbortSignal) => Promise<void>)[],
): Promise<void> {
  const ending = new AbortController();
  const stop = AbortSignal.any([signal, ending.signal]);
  // Every question that waits listens to it, and there are as many as members; Node.js warns of a leak from eleven on.
  setMaxListeners(0, stop);
  const results = await Promise.allSettled(parts.map((part) => part(stop).finally(() => ending.abort())));
  const failed = results.find((result) => result.status === 'rejected');
  if (failed !== undefined) throw failed.reason;
  if (!signal.aborted)
    throw new FarmError('FARM_UNREACHABLE', 'the connection to the message server was closed');
}
