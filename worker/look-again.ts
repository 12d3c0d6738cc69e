/** A node at its own batch as a verifier: it renders what was drawn once more and compares with what it delivered. */
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { digestBytes } from '../platform/blobs/digest-file.ts';
import { compareClaim } from '../platform/checking/compare-claim.ts';
import { channelsOf, findBroken } from '../platform/checking/find-broken.ts';
import { makeReference, type Reference } from '../platform/checking/reference.ts';
import { runtimeFor } from '../platform/checking/runtime-for.ts';
import type { VerifyTools } from '../platform/checking/tools.ts';
import type { Mutex } from '../platform/mutex.ts';
import type { RenderRuntime } from '../platform/render/runtime.ts';
import { sessionKey } from '../platform/render/session-pool.ts';
import { requireHonestDraw } from '../proof/check-draw.ts';
import { overall } from '../proof/overall.ts';
import { RECEIPTS_PER_CHALLENGE } from '../proof/policy.ts';
import { receiptLeaf, receiptRoot, sortByLeaf } from '../proof/receipts.ts';
import { FarmError } from '../protocol/errors.ts';
import type { FailedBatch } from '../protocol/messages.ts';
import type { Receipt } from '../protocol/receipt.ts';
import type { Comparison } from '../protocol/verdict.ts';
import type { LookedAgain } from './decide-appeal.ts';
import type { Node } from './node.ts';

export type LookNode = Pick<Node, 'blobs' | 'scenes' | 'sessions'> & {
  config: Pick<Node['config'], 'dataFolder' | 'threads'>;
  devices: readonly { engines: readonly RenderRuntime[]; turn: Mutex }[];
};

/**
 * Throws MESSAGE_INVALID where the farm shows something else than what the seed draws from these receipts,
 * VERIFIER_LACKS_DEVICE where this node has not the engine any more, and what a renderer or the network throws.
 */
export async function lookAgain(
  node: LookNode,
  { challenge, receipts }: Pick<FailedBatch, 'challenge' | 'receipts'>,
  signal: AbortSignal,
): Promise<LookedAgain> {
  const { blobs, scenes, sessions, config, devices } = node;
  const ordered = drawnFrom(challenge, receipts);
  const runtime = runtimeFor(
    devices.flatMap(({ engines }) => engines),
    challenge,
  );
  const device = devices.find(({ engines }) => engines.includes(runtime));
  if (device === undefined) throw new FarmError('INTERNAL', 'an engine is on no device');
  const scene = await scenes.folderOf(challenge.scene, challenge.manifest, signal);
  const folder = join(config.dataFolder, 'work', `appeal-${challenge.batchId}`);
  await rm(folder, { recursive: true, force: true });
  await mkdir(folder, { recursive: true, mode: 0o700 });
  try {
    // Between two tasks: rendering takes all of the device.
    return await device.turn.run(() =>
      sessions.use(
        sessionKey(runtime.engine, challenge.scene),
        (stop) => runtime.open(scene, { signal: stop, threads: config.threads }),
        signal,
        (session) => {
          const store: VerifyTools['blobs'] = {
            fetchTo: (...asked) => blobs.fetchTo(...asked),
            // Nobody reads the evidence of one's own eyes.
            putBytes: async (bytes: Uint8Array) => digestBytes(bytes),
          };
          const tools = { session, blobs: store, folder, signal };
          return compareAll(challenge, ordered, tools).catch(async (error: unknown) => {
            // A renderer that crashed takes a moment to end; the task that waits must not be given it.
            await session.close();
            throw error;
          });
        },
      ),
    );
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** In drawing order, if this is what the seed draws; that the root is the one on chain the node need not ask: it signed it. */
function drawnFrom(challenge: FailedBatch['challenge'], receipts: readonly Receipt[]): Receipt[] {
  const leaves = sortByLeaf(receipts).map(({ receipt }) => receiptLeaf(receipt));
  const committed = { root: receiptRoot(leaves), count: leaves.length, seed: challenge.seed };
  return requireHonestDraw(challenge, receipts, committed, RECEIPTS_PER_CHALLENGE);
}

async function compareAll(
  challenge: FailedBatch['challenge'],
  receipts: readonly Receipt[],
  tools: VerifyTools,
): Promise<LookedAgain> {
  const references: Reference[] = [];
  const comparisons: Comparison[] = [];
  for (const item of challenge.items) {
    const receipt = receipts[item.index];
    if (receipt === undefined) throw new FarmError('INTERNAL', 'a drawn receipt is missing');
    const reference = await makeReference(item, tools);
    references.push(reference);
    comparisons.push(await compareClaim(item, receipt, reference, challenge.exr, tools));
  }
  const rethrow = (error: unknown): never => {
    throw error;
  };
  comparisons.push(...(await findBroken(challenge, receipts, channelsOf(references), rethrow, tools)));
  const outcome = overall(comparisons);
  const reason = comparisons.find((comparison) => comparison.outcome === outcome)?.reason ?? '';
  return { outcome, reason };
}
