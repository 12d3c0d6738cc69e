/** A node: asks for a task, does it, delivers, asks again. */
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { HttpBlobs } from '../platform/blobs/http-blobs.ts';
import { addressOf, type PrivateKey } from '../platform/chain/signing.ts';
import { createLog } from '../platform/log.ts';
import { connectNats } from '../platform/nats/connection.ts';
import { ask } from '../platform/nats/exchange.ts';
import { inboxPrefix } from '../platform/nats/server.ts';
import type { ProgramLife } from '../platform/process/run-program.ts';
import { findEngines } from '../platform/render/engines.ts';
import type { RenderRuntime } from '../platform/render/runtime.ts';
import { WarmSession } from '../platform/render/warm-session.ts';
import { SceneCache } from '../platform/scenes/scene-cache.ts';
import { backoffMs, pause } from '../platform/wait.ts';
import { isFarmError } from '../protocol/errors.ts';
import { NODE_EXCHANGES, nodeSubject, PROTOCOL_VERSION, type Welcome } from '../protocol/messages.ts';
import type { WorkerConfig, WorkerSecrets } from './config.ts';
import { type Node, REQUEST_TIMEOUT_MS } from './node.ts';
import { ReceiptJournal } from './receipt-journal.ts';
import { workOn } from './work-on-lease.ts';

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
  });
  const engines = found.map(wrapRuntime);
  const blobs = new HttpBlobs({ apiUrl: config.apiUrl, credential: secrets.blobToken });
  const nats = await connectNats(
    { url: config.natsUrl, user: config.nodeId, password: secrets.natsPassword },
    config.nodeId,
    inboxPrefix(config.nodeId),
  );
  await using session = new WarmSession(engines, config.threads);
  const node: Node = {
    config,
    key: secrets.nodeKey as string as PrivateKey,
    nats,
    blobs,
    scenes: await SceneCache.open(join(config.dataFolder, 'scenes'), (digest, path, stop) =>
      blobs.fetchTo(digest, path, stop),
    ),
    engines,
    session,
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
    await workUntilStopped(node, welcome, signal);
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

async function workUntilStopped(node: Node, welcome: Welcome, signal: AbortSignal): Promise<void> {
  let attempt = 0;
  while (!signal.aborted) {
    try {
      const request = { warmScene: node.session.scene };
      const subject = nodeSubject(node.config.nodeId, 'lease');
      // Not to be waited for when the node stops: the lease, should one come, runs out by itself.
      const reply = await stoppable(
        ask(node.nats, NODE_EXCHANGES.lease, subject, request, LEASE_TIMEOUT_MS),
        signal,
      );
      attempt = 0;
      if (reply === null) return;
      if (reply.grant !== null) await workOn(node, reply.grant, welcome, signal);
      else if (reply.retryAfterMs > 0) {
        node.log.warn({ reason: reply.reason }, 'the farm gives this node no work');
        await pause(reply.retryAfterMs, signal);
      }
    } catch (error) {
      if (signal.aborted) return;
      node.log.warn({ err: error }, 'the farm could not be asked for work; trying again');
      await pause(backoffMs(attempt++), signal);
    }
  }
}

function stoppable<T>(work: Promise<T>, signal: AbortSignal): Promise<T | null> {
  return new Promise((resolve, reject) => {
    const stop = (): void => resolve(null);
    signal.addEventListener('abort', stop, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', stop));
  });
}
