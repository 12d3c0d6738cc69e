/** A node: asks for a task, does it, delivers, asks again. */
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { signEnrolment } from '../platform/chain/sign-enrolment.ts';
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
import { isChainTrouble, isFarmError } from '../protocol/errors.ts';
import { NODE_EXCHANGES, nodeSubject, PROTOCOL_VERSION, type Welcome } from '../protocol/messages.ts';
import { appealUntilStopped, mayAppeal } from './appeals.ts';
import type { WorkerConfig, WorkerSecrets } from './config.ts';
import { Deliveries } from './deliveries.ts';
import { deviceName, devicesOf, workUntilStopped } from './devices.ts';
import { handOverUntilStopped } from './hand-over.ts';
import { HeldLeases } from './held-leases.ts';
import { KeptFiles } from './kept-files.ts';
import type { Node } from './node.ts';
import { ReceiptJournal } from './receipt-journal.ts';
import { REQUEST_TIMEOUT_MS } from './request-timeout.ts';

/** Registering waits for transactions, and for those of other nodes before it. */
const REGISTER_TIMEOUT_MS = 120_000;

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
    knownBlender: config.knownBlender,
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
  const operatorKey = (secrets.operatorKey ?? secrets.nodeKey) as string as PrivateKey;
  try {
    const welcome = await enrol(identity, operatorKey, engines, signal);
    if (welcome === null) return;
    const { nodeId } = config;
    const journal = await ReceiptJournal.open(join(config.dataFolder, 'receipts.log'));
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
        journal,
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
      appealUntilStopped({ ...shared, devices: nodes, journal, welcome, operatorKey }, signal),
    ]);
  } finally {
    await nats.close();
  }
}

/** Says hello, and signs what the farm's escrow needs of this node; null when told to stop meanwhile. */
async function enrol(
  node: Pick<Node, 'key' | 'nats' | 'config'>,
  operatorKey: PrivateKey,
  engines: readonly RenderRuntime[],
  signal: AbortSignal,
): Promise<Welcome | null> {
  const { nats, config } = node;
  const hello = {
    protocolVersion: PROTOCOL_VERSION,
    address: addressOf(node.key),
    operator: addressOf(operatorKey),
    ...(mayAppeal(config) && { appeals: true }),
    engines: engines.map(({ engine: { id, deviceClass, device } }) => ({
      ...{ id, deviceClass },
      ...(device && { device: deviceName(device) }),
    })),
  } as const;
  const classes = engines.map(({ engine }) => engine.deviceClass);
  const keys = { nodeKey: node.key, operatorKey };
  for (let attempt = 0; !signal.aborted; attempt++) {
    try {
      const subject = nodeSubject(config.nodeId, 'hello');
      const welcome = await ask(nats, NODE_EXCHANGES.hello, subject, hello, REQUEST_TIMEOUT_MS);
      if (welcome.enrol === null) return welcome;
      const nowS = Math.floor(Date.now() / 1_000);
      const signed = signEnrolment(welcome, welcome.enrol, keys, { classes, nowS });
      const registering = nodeSubject(config.nodeId, 'register');
      await ask(nats, NODE_EXCHANGES.register, registering, signed, REGISTER_TIMEOUT_MS);
      return welcome;
    } catch (error) {
      // A chain that is away comes back, and an account gets its gas money; what was registered meanwhile is not asked for again.
      const away = isFarmError(error, 'FARM_UNREACHABLE') || isChainTrouble(error);
      if (!away) throw error;
      await pause(backoffMs(attempt), signal);
    }
  }
  return null;
}
