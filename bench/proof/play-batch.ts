/**
 * One batch without a farm around it: a node renders tiles, a seed is drawn, the verifier's own code renders, compares
 * and decides. Blender, files, Merkle root, draw and evidence are real; the coordinator, the chain and the network are
 * left out, since none of them has a say in what is caught.
 */
import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { FolderBlobStore } from '../../platform/blobs/folder-blob-store.ts';
import type { ChainBatch } from '../../platform/chain/chain.ts';
import { addressOf, newPrivateKey } from '../../platform/chain/signing.ts';
import { newIdBody } from '../../platform/new-id.ts';
import type { EngineInfo, RenderSession } from '../../platform/render/runtime.ts';
import { sceneDigest } from '../../platform/scenes/manifest.ts';
import { drawChallenge } from '../../proof/draw.ts';
import { type PixelImage, readRawPixels } from '../../proof/pixels.ts';
import { RECEIPTS_PER_CHALLENGE } from '../../proof/policy.ts';
import { receiptLeaf, receiptRoot, sortByLeaf } from '../../proof/receipts.ts';
import type { BatchId, Bytes32, JobId, TaskId } from '../../protocol/ids.ts';
import type { SceneManifest } from '../../protocol/job.ts';
import type { Receipt } from '../../protocol/receipt.ts';
import type { Rect } from '../../protocol/rect.ts';
import type { ChallengeItem, Comparison, Outcome } from '../../protocol/verdict.ts';
import { verifyBatch } from '../../verifier/verify-batch.ts';

export type BatchToPlay = {
  engine: EngineInfo;
  manifest: SceneManifest;
  frame: number;
  samples: number;
  tiles: readonly Rect[];
  /** Renders for the node, honestly or not. */
  node: RenderSession;
  verifier: RenderSession;
  folder: string;
  signal: AbortSignal;
  /** How often the same batch is drawn from and checked, each time with another seed. */
  draws: number;
  /** Up to how many while every one of them passed, given what was delivered; no more than `draws` when left out. */
  untilCaught?: (pixels: readonly PixelImage[]) => number;
};

export type Draw = {
  outcome: Outcome;
  /** Of the drawn receipts. */
  comparisons: Comparison[];
  /** All that the verifier did. */
  verifierMs: number;
};

export type PlayedBatch = {
  draws: Draw[];
  /** What was delivered, tile by tile. */
  pixels: PixelImage[];
  /** What the node rendered. */
  nodeMs: number;
};

export async function playBatch(batch: BatchToPlay): Promise<PlayedBatch> {
  const { engine, frame, samples, tiles, folder, signal } = batch;
  await mkdir(folder, { recursive: true });
  const store = await FolderBlobStore.open(join(folder, 'blobs'));
  const jobId = `job_${newIdBody(Date.now())}` as JobId;
  const address = addressOf(newPrivateKey());
  const receipts: Receipt[] = [];
  const pixels: PixelImage[] = [];
  let nodeMs = 0;
  for (const [index, rect] of tiles.entries()) {
    const output = join(folder, `tile-${index}.exr`);
    const tile = await batch.node.render({ frame, rect, samples, output }, { signal });
    nodeMs += tile.renderMs;
    const { rawPath } = await batch.node.readPixels(
      { exr: tile.exrPath, output: `${output}.raw` },
      { signal },
    );
    pixels.push(readRawPixels(await readFile(rawPath)));
    receipts.push({
      ...{ jobId, taskId: `task_${newIdBody(Date.now())}` as TaskId, kind: 'render', node: address },
      ...{ frame, rect, samples, pixelDigest: tile.pixelDigest, pictureDigest: null },
      exrDigest: (await store.putFile(tile.exrPath)).digest,
      ...{ engine: engine.id, deviceClass: engine.deviceClass, price: 1_000n },
    });
  }
  const ordered = sortByLeaf(receipts).map(({ receipt }) => receipt);
  const draws: Draw[] = [];
  const most = Math.max(batch.draws, batch.untilCaught?.(pixels) ?? 0);
  const passed = (): boolean => draws.every(({ outcome }) => outcome === 'pass');
  while (draws.length < batch.draws || (draws.length < most && passed())) {
    draws.push(await drawAndVerify(batch, ordered, store));
  }
  return { draws, pixels, nodeMs };
}

async function drawAndVerify(
  { engine, manifest, verifier, folder, signal }: BatchToPlay,
  ordered: readonly Receipt[],
  store: FolderBlobStore,
): Promise<Draw> {
  const seed = newPrivateKey() as string as Bytes32;
  const drawn = drawChallenge({
    ...{ seed, count: ordered.length, receipts: ordered, challengeCount: RECEIPTS_PER_CHALLENGE },
  });
  const items = drawn.map(({ index, crop }): ChallengeItem => {
    const { kind, frame, rect, samples } = ordered[index] as Receipt;
    const output = { format: 'png' as const };
    return { index, kind, frame, rect, crop, samples, picture: rect, inputs: [], output, precision: 'float' };
  });
  const root = receiptRoot(ordered.map(receiptLeaf));
  const { jobId } = ordered[0] as Receipt;
  const startedMs = performance.now();
  const { comparisons, outcome } = await verifyBatch(
    {
      ...{ batchId: `batch_${newIdBody(Date.now())}` as BatchId, jobId },
      batchKey: newPrivateKey() as string as Bytes32,
      ...{ scene: sceneDigest(manifest), manifest, engine: engine.id, deviceClass: engine.deviceClass },
      ...{ seed, exr: true, items },
    },
    {
      session: verifier,
      blobs: {
        fetchTo: (digest, path) => store.copyTo(digest, path),
        putBytes: (bytes) => store.putBytes(bytes),
      },
      ...{ signal, engine, workFolder: join(folder, 'work'), lastTry: false },
      onChain: { state: 'drawn', root, count: ordered.length, seed } as ChainBatch,
      challengeCount: RECEIPTS_PER_CHALLENGE,
      commit: async () => ({ receipts: [...ordered], withheld: [] }),
    },
  );
  return { outcome, comparisons, verifierMs: performance.now() - startedMs };
}
