/** A node: asks for a task, does it, delivers, asks again. */
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { HttpBlobs } from '../platform/blobs/http-blobs.ts';
import { addressOf, type PrivateKey } from '../platform/chain/signing.ts';
import { createLog } from '../platform/log.ts';
import { Mutex } from '../platform/mutex.ts';
import { connectNats } from '../platform/nats/connection.ts';
import { ask } from '../platform/nats/exchange.ts';
import { inboxPrefix } from '../platform/nats/server.ts';
import type { ProgramLife } from '../platform/process/run-program.ts';
import { findEngines } from '../platform/render/engines.ts';
import type { RenderRuntime } from '../platform/render/runtime.ts';
import { SessionPool } from '../platform/render/session-pool.ts';
import { SceneCache } from '../platform/scenes/scene-cache.ts';
import { backoffMs, pause, stoppable } from '../platform/wait.ts';
import { isFarmError } from '../protocol/errors.ts';
import { NODE_EXCHANGES, nodeSubject, PROTOCOL_VERSION, type Welcome } from '../protocol/messages.ts';
import type { WorkerConfig, WorkerSecrets } from './config.ts';
import { handOverUntilStopped } from './hand-over.ts';
import { KeptFiles } from './kept-files.ts';
import { type Node, REQUEST_TIMEOUT_MS } from './node.ts';
import { ReceiptJournal } from './receipt-journal.ts';
import { workOn } from './work-on-lease.ts';

/** One that renders, one before it and one after it. */
const IN_FLIGHT = 3;

/** The coordinator answers a lease request within 15 s even when there is nothing. */
const LEASE_TIMEOUT_MS = 30_000;

/**
 * Runs a node until told to stop. `wrapRuntime` lets somebody put another renderer in place of the honest one: that
 * is all it takes to cheat, and what the verifier has to catch.
 */
export async function runWorker(
  config: WorkerConfig,
  secrets: WorkerSecrets,
  life: ProgramLife,
  wrapRuntime: (runtime: RenderRuntime) => RenderRuntime = (runtime) => runtime,
): Promise<void> {
  const { signal } = life;
  const log = createLog(config.nodeId, config.logLevel);
  const workFolder = join(config.dataFolder, 'work');
  // What a node that died left half-done, its renderer's exchange folder included, is of no use to anybody.
  await rm(workFolder, { recursive: true, force: true });
  await mkdir(workFolder, { recursive: true, mode: 0o700 });
  const found = await findEngines({
    signal,
    choice: config.runtime,
    blenderPath: config.blenderPath,
    tempFolder: workFolder,
    memoryLimitBytes: config.memoryLimitBytes,
  });
  const engines = found.map(wrapRuntime);
  const blobs = new HttpBlobs({ apiUrl: config.apiUrl, credential: secrets.blobToken });
  const nats = await connectNats(
    { url: config.natsUrl, user: config.nodeId, password: secrets.natsPassword },
    config.nodeId,
    inboxPrefix(config.nodeId),
  );
  await using sessions = new SessionPool();
  const node: Node = {
    config,
    key: secrets.nodeKey as string as PrivateKey,
    nats,
    blobs,
    scenes: await SceneCache.open(join(config.dataFolder, 'scenes'), (digest, path, stop) =>
      blobs.fetchTo(digest, path, stop),
    ),
    engines,
    sessions,
    turn: new Mutex(),
    lastRenderMs: null,
    signing: new Mutex(),
    batches: new Map(),
    kept: await KeptFiles.open(join(config.dataFolder, 'kept'), config.keptBudgetBytes),
    journal: await ReceiptJournal.open(join(config.dataFolder, 'receipts.log')),
    log,
  };
  try {
    const welcome = await sayHello(node, signal);
    if (welcome === null) return;
    log.info(
      { address: addressOf(node.key), engines: engines.map((one) => one.engine.id) },
      'the node works',
    );
    life.ready();
    await Promise.all([workUntilStopped(node, welcome, signal), handOverUntilStopped(node, signal)]);
  } finally {
    await nats.close();
  }
}

async function sayHello(node: Node, signal: AbortSignal): Promise<Welcome | null> {
  const hello = {
    protocolVersion: PROTOCOL_VERSION,
    address: addressOf(node.key),
    engines: node.engines.map(({ engine: { id, deviceClass } }) => ({ id, deviceClass })),
  } as const;
  for (let attempt = 0; !signal.aborted; attempt++) {
    try {
      return await ask(
        node.nats,
        NODE_EXCHANGES.hello,
        nodeSubject(node.config.nodeId, 'hello'),
        hello,
        REQUEST_TIMEOUT_MS,
      );
    } catch (error) {
      if (!isFarmError(error, 'FARM_UNREACHABLE')) throw error;
      await pause(backoffMs(attempt), signal);
    }
  }
  return null;
}

/**
 * Asks for tasks and has up to {@link IN_FLIGHT} of them under way: while one renders, the next one's scene is fetched
 * and the last one's result travels. Rendering itself is one at a time ({@link Node.turn}).
 */
async function workUntilStopped(node: Node, welcome: Welcome, signal: AbortSignal): Promise<void> {
  const inFlight = new Set<Promise<void>>();
  let attempt = 0;
  while (!signal.aborted) {
    try {
      await roomToKeep(node, signal);
      if (signal.aborted) break;
      const request = { warmScene: node.sessions.warm[0]?.scene ?? null };
      const subject = nodeSubject(node.config.nodeId, 'lease');
      // Not to be waited for when the node stops: the lease, should one come, runs out by itself.
      const reply = await stoppable(
        ask(node.nats, NODE_EXCHANGES.lease, subject, request, LEASE_TIMEOUT_MS),
        signal,
      );
      attempt = 0;
      if (reply === null) break;
      if (reply.grant !== null) {
        const grant = reply.grant;
        const nearlyDone = new Promise<void>((resolve) => {
          const work = workOn(node, grant, welcome, resolve, signal).finally(() => {
            inFlight.delete(work);
            resolve();
          });
          inFlight.add(work);
        });
        await nearlyDone;
        while (inFlight.size >= IN_FLIGHT) await Promise.race(inFlight);
      } else if (reply.retryAfterMs > 0) {
        node.log.warn({ reason: reply.reason }, 'the farm gives this node no work');
        await pause(reply.retryAfterMs, signal);
      }
    } catch (error) {
      if (signal.aborted) break;
      node.log.warn({ err: error }, 'the farm could not be asked for work; trying again');
      await pause(backoffMs(attempt++), signal);
    }
  }
  await Promise.all(inFlight);
}

/** A node whose disk is full of what may still be drawn takes no more work until some of it is settled. */
async function roomToKeep({ kept, log }: Node, signal: AbortSignal): Promise<void> {
  if (kept.hasRoom) return;
  log.warn({ bytes: kept.bytes }, 'no more work until kept frames are settled: their folder is full');
  await kept.untilRoom(signal);
}
