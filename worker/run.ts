/** A node: asks for a task, does it, delivers, asks again. */
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { addressOf, escrowDomain, type PrivateKey } from '../platform/chain/signing.ts';
import { createLog } from '../platform/log.ts';
import { ask } from '../platform/nats/exchange.ts';
import { joinFarm } from '../platform/nats/join-farm.ts';
import type { ProgramLife } from '../platform/process/run-program.ts';
import { classKey } from '../platform/render/device-choice.ts';
import { findEngines } from '../platform/render/engines.ts';
import type { RenderRuntime } from '../platform/render/runtime.ts';
import { SessionPool } from '../platform/render/session-pool.ts';
import { Spares } from '../platform/render/spares.ts';
import { SceneCache } from '../platform/scenes/scene-cache.ts';
import { backoffMs, pause } from '../platform/wait.ts';
import { isFarmError } from '../protocol/errors.ts';
import { NODE_EXCHANGES, nodeSubject, PROTOCOL_VERSION, type Welcome } from '../protocol/messages.ts';
import type { WorkerConfig, WorkerSecrets } from './config.ts';
import { Deliveries } from './deliveries.ts';
import { deviceName, devicesOf, workUntilStopped } from './devices.ts';
import { handOverUntilStopped } from './hand-over.ts';
import { HeldLeases } from './held-leases.ts';
import { KeptFiles } from './kept-files.ts';
import type { Node } from './node.ts';
import { ReceiptJournal } from './receipt-journal.ts';
import { REQUEST_TIMEOUT_MS } from './request-timeout.ts';

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
    gpus: true,
    onNote: (note) => log.warn(note),
  });
  await using spares = new Spares({
    threads: config.threads,
    busy: () => sessions.inUse,
    onError: (error) => log.warn({ err: error }, 'a renderer could not be started ahead'),
  });
  const engines = found.map((runtime) => wrapRuntime(spares.around(runtime)));
  const key = secrets.nodeKey as string as PrivateKey;
  const { nats, blobs } = await joinFarm(config, { role: 'node', id: config.nodeId, key }, log, signal);
  const devices = devicesOf(engines);
  await using sessions = new SessionPool({ devices: devices.length });
  const identity = { key, nats, config };
  try {
    const welcome = await sayHello(identity, engines, signal);
    if (welcome === null) return;
    const { nodeId } = config;
    const shared = {
      ...identity,
      blobs,
      scenes: await SceneCache.open(join(config.dataFolder, 'scenes'), (digest, path, stop) =>
        blobs.fetchTo(digest, path, stop),
      ),
      sessions,
      leases: new HeldLeases({ nodeId, nats, heartbeatMs: welcome.heartbeatMs, log }),
      deliveries: new Deliveries({
        nodeId,
        nats,
        key: identity.key,
        domain: escrowDomain(welcome.chainId, welcome.escrow),
        journal: await ReceiptJournal.open(join(config.dataFolder, 'receipts.log')),
        signal,
      }),
      kept: await KeptFiles.open(join(config.dataFolder, 'kept'), config.keptBudgetBytes),
      log,
    };
    const nodes = devices.map((device): Node => ({ ...shared, ...device }));
    log.info(
      {
        address: addressOf(identity.key),
        engines: engines.map(({ engine }) => classKey(engine.id, engine.deviceClass)),
      },
      'the node works',
    );
    life.ready();
    const [first] = found;
    if (first !== undefined) spares.prepare(first);
    await Promise.all([
      ...nodes.map((node) => workUntilStopped(node, signal)),
      handOverUntilStopped(shared, signal),
    ]);
  } finally {
    await nats.close();
  }
}

async function sayHello(
  node: Pick<Node, 'key' | 'nats' | 'config'>,
  engines: readonly RenderRuntime[],
  signal: AbortSignal,
): Promise<Welcome | null> {
  const hello = {
    protocolVersion: PROTOCOL_VERSION,
    address: addressOf(node.key),
    engines: engines.map(({ engine: { id, deviceClass, device } }) => ({
      ...{ id, deviceClass },
      ...(device && { device: deviceName(device) }),
    })),
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
