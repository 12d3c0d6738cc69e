/** A verifier: asks what is next, reveals its secrets one by one, renders what is drawn, signs what it finds. */
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { HttpBlobs } from '../platform/blobs/http-blobs.ts';
import type { FarmChain } from '../platform/chain/chain.ts';
import { EMBEDDED_CHAIN_ID } from '../platform/chain/embedded.ts';
import { ethersChain } from '../platform/chain/ethers-chain.ts';
import { eventsFileIn } from '../platform/chain/public-chain.ts';
import { type SecretChain, secretChain } from '../platform/chain/secret-chain.ts';
import { addressOf, escrowDomain, type PrivateKey, signVerdict } from '../platform/chain/signing.ts';
import { createLog, type Log } from '../platform/log.ts';
import { ask } from '../platform/nats/exchange.ts';
import { joinFarm } from '../platform/nats/join-farm.ts';
import type { Asker } from '../platform/nats/member-connection.ts';
import { giveWay } from '../platform/process/priority.ts';
import type { ProgramLife } from '../platform/process/run-program.ts';
import { findEngines } from '../platform/render/engines.ts';
import type { RenderRuntime } from '../platform/render/runtime.ts';
import { SessionPool } from '../platform/render/session-pool.ts';
import { whileUnreachable } from '../platform/retry.ts';
import { SceneCache } from '../platform/scenes/scene-cache.ts';
import { backoffMs, pause } from '../platform/wait.ts';
import { RECEIPTS_PER_CHALLENGE } from '../proof/policy.ts';
import { assertNever, FarmError, toFarmError } from '../protocol/errors.ts';
import type { Address, BatchId, Bytes32, Digest } from '../protocol/ids.ts';
import { type Secrets, VERIFIER_EXCHANGES, verifierSubject } from '../protocol/messages.ts';
import type { Challenge } from '../protocol/verdict.ts';
import { checkChallenge } from './check-challenge.ts';
import type { VerifierConfig, VerifierSecrets } from './config.ts';

/** The coordinator answers within 15 s even when there is nothing. */
const NEXT_TIMEOUT_MS = 30_000;
/**
 * Drawing waits for blocks of the chain, perhaps for minutes; a coordinator that is asked again meanwhile goes on with what it
 * does. One that died in the middle must not keep a verifier waiting as long.
 */
const SECRET_TIMEOUT_MS = 20_000;
const REQUEST_TIMEOUT_MS = 10_000;
/** Longer than a restart of the farm takes. */
const PATIENCE_MS = 120_000;

/** After so many failed tries the next one ends without a clear outcome, so that nothing waits for ever. */
const MAX_FAILURES = 2;

type Verifier = {
  config: VerifierConfig;
  key: PrivateKey;
  address: Address;
  /** Grown when the first draw is asked for: half a second that a verifier without work does not take. */
  secrets: () => SecretChain;
  chain: FarmChain;
  nats: Asker;
  blobs: HttpBlobs;
  scenes: SceneCache;
  /** Looked for when the first batch comes, for the same reason. */
  engines: () => Promise<readonly RenderRuntime[]>;
  sessions: SessionPool;
  /** How a challenge is checked: the tests have verifiers that cheat here. */
  check: typeof checkChallenge;
  /** Failed tries per batch. */
  failures: Map<BatchId, number>;
  log: Log;
};

export async function runVerifier(
  config: VerifierConfig,
  secrets: VerifierSecrets,
  life: ProgramLife,
  check: typeof checkChallenge = checkChallenge,
): Promise<void> {
  const { signal } = life;
  const log = createLog(config.verifierId, config.logLevel);
  giveWay(config.niceness);
  const workFolder = join(config.dataFolder, 'work');
  await rm(workFolder, { recursive: true, force: true });
  await mkdir(workFolder, { recursive: true, mode: 0o700 });
  const engines = async (): Promise<readonly RenderRuntime[]> => {
    const found = await findEngines({
      signal,
      choice: config.runtime,
      blenderPath: config.blenderPath,
      knownBlender: config.knownBlender,
      tempFolder: workFolder,
      niceness: config.niceness,
      gpus: true,
      onNote: (note) => log.warn(note),
    });
    log.info({ engines: found.map((one) => one.engine.id) }, 'what this verifier renders with');
    return found;
  };
  const key = secrets.verifierKey as string as PrivateKey;
  await using sessions = new SessionPool();
  const joining = { role: 'verifier', id: config.verifierId, key } as const;
  const { nats, blobs } = await joinFarm(config, joining, log, signal);
  const verifier: Verifier = {
    config,
    key,
    address: addressOf(key),
    secrets: onceDone(() => secretChain(secrets.rootSecret)),
    // Reads only: whether the root is on chain and which seed was drawn is not taken from the coordinator.
    chain: ethersChain({
      url: secrets.chainUrl ?? config.chainUrl,
      chainId: config.publicChain?.chainId ?? EMBEDDED_CHAIN_ID,
      tokenAddress: config.tokenAddress,
      escrowAddress: config.escrowAddress,
      registryAddress: config.registryAddress,
      deployedBlock: config.deployedBlock,
      coordinatorKey: key,
      embedded: null,
      ...(config.publicChain !== undefined && {
        confirmations: config.publicChain.confirmations,
        eventsFile: eventsFileIn(config.dataFolder),
        onNotice: (notice: string) => log.warn(notice),
      }),
    }),
    nats,
    blobs,
    scenes: await SceneCache.open(join(config.dataFolder, 'scenes'), (digest, path, stop) =>
      blobs.fetchTo(digest, path, stop),
    ),
    engines: onceFound(engines),
    sessions,
    check,
    failures: new Map(),
    log,
  };
  log.info({ address: verifier.address }, 'the verifier works');
  life.ready();
  try {
    await verifyUntilStopped(verifier, signal);
  } finally {
    await nats.close();
  }
}

async function verifyUntilStopped(verifier: Verifier, signal: AbortSignal): Promise<void> {
  const subject = verifierSubject(verifier.config.verifierId, 'next');
  const stopped = new Promise<null>((resolve) =>
    signal.addEventListener('abort', () => resolve(null), { once: true }),
  );
  let attempt = 0;
  while (!signal.aborted) {
    try {
      const work = await Promise.race([
        ask(verifier.nats, VERIFIER_EXCHANGES.next, subject, {}, NEXT_TIMEOUT_MS),
        stopped,
      ]);
      attempt = 0;
      if (work === null) return;
      switch (work.kind) {
        case 'none':
          break;
        case 'secrets':
          await reveal(verifier, work.batches, signal);
          break;
        case 'challenge':
          await answer(verifier, work.challenge, signal);
          break;
        default:
          assertNever(work);
      }
    } catch (error) {
      if (signal.aborted) return;
      verifier.log.warn({ err: error }, 'the farm could not be asked; trying again');
      await pause(backoffMs(attempt++), signal);
    }
  }
}

/**
 * The next secrets, but only for batches that are on chain, and of which the chain wants this verifier's: before that it
 * would let somebody choose a root to suit.
 */
async function reveal(
  verifier: Verifier,
  asked: readonly { batchId: BatchId; batchKey: Bytes32 }[],
  signal: AbortSignal,
): Promise<void> {
  const { chain, nats, config, address } = verifier;
  const keys = asked.map(({ batchKey }) => batchKey);
  const [onChain, drawers] = [await chain.batches(keys, signal), await chain.drawersOf(keys, signal)];
  const secrets: Secrets['secrets'] = [];
  let head: Bytes32 | undefined;
  for (const [index, { batchId }] of asked.entries()) {
    const state = onChain[index]?.state ?? 'none';
    if (state === 'none') throw new FarmError('MESSAGE_INVALID', `batch ${batchId} is not on chain`);
    if (state !== 'committed') continue;
    if (drawers[index] !== address) {
      const message = 'MESSAGE_INVALID: the chain does not want this secret';
      const failed = verifierSubject(config.verifierId, 'fail');
      await ask(nats, VERIFIER_EXCHANGES.fail, failed, { batchId, message }, REQUEST_TIMEOUT_MS);
      continue;
    }
    head = verifier.secrets().nextPreimage(head ?? (await chain.verifierHead(address, signal)));
    secrets.push({ batchId, preimage: head });
  }
  if (secrets.length === 0) return;
  const subject = verifierSubject(config.verifierId, 'secrets');
  await ask(nats, VERIFIER_EXCHANGES.secrets, subject, { secrets }, SECRET_TIMEOUT_MS);
}

async function answer(verifier: Verifier, challenge: Challenge, signal: AbortSignal): Promise<void> {
  const { chain, nats, config, log, blobs, scenes, sessions } = verifier;
  const { batchId, batchKey, seed } = challenge;
  try {
    const onChain = await chain.batch(batchKey, signal);
    if (!onChain.asked.includes(verifier.address))
      throw new FarmError('MESSAGE_INVALID', `the chain does not ask this verifier about ${batchId}`);
    const engines = await verifier.engines();
    const lastTry = (verifier.failures.get(batchId) ?? 0) >= MAX_FAILURES;
    const commit = (cropDigests: Digest[]) => {
      const rendered = verifierSubject(config.verifierId, 'rendered');
      return ask(
        nats,
        VERIFIER_EXCHANGES.rendered,
        rendered,
        { batchId, seed, cropDigests },
        REQUEST_TIMEOUT_MS,
      );
    };
    const { outcome, evidence } = await verifier.check(challenge, {
      ...{ blobs, signal, onChain, commit, engines, scenes, sessions, lastTry, log },
      challengeCount: RECEIPTS_PER_CHALLENGE,
      threads: config.threads,
      workFolder: join(config.dataFolder, 'work'),
    });
    const terms = { batchKey, seed, outcome, evidence: `0x${evidence}` as Bytes32 };
    const signature = signVerdict(escrowDomain(chain.chainId, chain.escrowAddress), terms, verifier.key);
    const subject = verifierSubject(config.verifierId, 'verdict');
    const verdict = { batchId, seed, outcome, evidence, signature };
    await whileUnreachable(
      () => ask(nats, VERIFIER_EXCHANGES.verdict, subject, verdict, REQUEST_TIMEOUT_MS),
      signal,
      PATIENCE_MS,
    );
    verifier.failures.delete(batchId);
    log.info({ batchId, outcome }, 'verified');
  } catch (error) {
    if (signal.aborted) return;
    const failure = toFarmError(error);
    verifier.failures.set(batchId, (verifier.failures.get(batchId) ?? 0) + 1);
    log.warn({ err: failure, batchId }, 'a batch could not be verified');
    const message = `${failure.code}: ${failure.message}`.slice(0, 4_000);
    await ask(
      nats,
      VERIFIER_EXCHANGES.fail,
      verifierSubject(config.verifierId, 'fail'),
      { batchId, message },
      REQUEST_TIMEOUT_MS,
    );
  }
}

function onceDone<T>(work: () => T): () => T {
  let done: { value: T } | undefined;
  return () => {
    done ??= { value: work() };
    return done.value;
  };
}

/** The same, but what failed is tried again. */
function onceFound<T>(find: () => Promise<T>): () => Promise<T> {
  let found: Promise<T> | undefined;
  return () => {
    found ??= find().catch((error: unknown) => {
      found = undefined;
      throw error;
    });
    return found;
  };
}
