/** A batch as a node delivers it and a coordinator draws from it; pixels are made up, files are canonical bytes. */
import { readFile, writeFile } from 'node:fs/promises';
import { digestBytes } from '../../platform/blobs/digest-file.ts';
import type { ChainBatch } from '../../platform/chain/chain.ts';
import { newPrivateKey } from '../../platform/chain/signing.ts';
import type { VerifyTools } from '../../platform/checking/tools.ts';
import type { RenderSession } from '../../platform/render/runtime.ts';
import { sceneDigest } from '../../platform/scenes/manifest.ts';
import { drawChallenge } from '../../proof/draw.ts';
import { canonicalBytes, crop, type PixelImage, pixelDigest, readRawPixels } from '../../proof/pixels.ts';
import { receiptLeaf, receiptRoot, sortByLeaf } from '../../proof/receipts.ts';
import { FarmError } from '../../protocol/errors.ts';
import {
  addressSchema,
  batchIdSchema,
  bytes32Schema,
  type Digest,
  digestSchema,
  jobIdSchema,
  taskIdSchema,
} from '../../protocol/ids.ts';
import { type SceneManifest, sceneManifestSchema } from '../../protocol/job.ts';
import type { Receipt } from '../../protocol/receipt.ts';
import type { Challenge } from '../../protocol/verdict.ts';
import { render } from '../proof/synthetic.ts';

export const SIDE = 96;
const TILE = 48;
export const ENGINE = { id: 'blender-3.4.1', version: '3.4.1', deviceClass: 'cpu-avx2' };
/** The frame as the verifier renders it. */
export const FRAME = render({ side: SIDE, samples: 64, seed: 1 });
/** A quarter of the samples, in a run of its own. */
export const QUARTER = render({ side: SIDE, samples: 16, seed: 2 });

const MANIFEST: SceneManifest = sceneManifestSchema.parse({
  main: 'a.blend',
  files: [{ path: 'a.blend', digest: 'ab'.repeat(32), sizeBytes: 1 }],
});

/** The farm's blobs, in memory. */
export class FakeBlobs {
  readonly stored = new Map<Digest, Uint8Array>();
  readonly fetched: Digest[] = [];
  keep(bytes: Uint8Array): Digest {
    const digest = digestBytes(bytes);
    this.stored.set(digest, bytes);
    return digest;
  }
  async putBytes(bytes: Uint8Array): Promise<Digest> {
    return this.keep(bytes);
  }
  async fetchTo(
    digest: Digest,
    path: string,
    _signal: AbortSignal,
    maxBytes = Number.MAX_SAFE_INTEGER,
  ): Promise<void> {
    this.fetched.push(digest);
    const bytes = this.stored.get(digest);
    if (bytes === undefined) throw new FarmError('NOT_FOUND', `no blob ${digest}`);
    if (bytes.length > maxBytes) throw new FarmError('TOO_LARGE', `more than ${maxBytes} bytes`);
    await writeFile(path, bytes);
  }
}

/** A renderer whose picture is {@link FRAME} and whose EXR files are canonical bytes. */
export class FakeSession {
  readonly rendered: Digest[] = [];
  onRender: () => void = () => undefined;
  onRead: (exr: string) => void = () => undefined;
  async render({ rect, output }: Parameters<RenderSession['render']>[0]) {
    this.onRender();
    const part = crop(FRAME, rect);
    await writeFile(output, canonicalBytes(part));
    this.rendered.push(pixelDigest(part));
    return { exrPath: output, pixelDigest: pixelDigest(part), renderMs: 5, peakMemoryBytes: 1, samples: 64 };
  }
  async readPixels({ exr, output }: Parameters<RenderSession['readPixels']>[0]) {
    this.onRead(exr);
    let image: PixelImage;
    try {
      image = readRawPixels(await readFile(exr));
    } catch {
      throw new FarmError('RENDER_FAILED', 'not an EXR', { details: { invalidExr: true } });
    }
    await writeFile(output, canonicalBytes(image));
    const { width, height, channels } = image;
    return { width, height, channels: [...channels], pixelDigest: pixelDigest(image), rawPath: output };
  }
  async digestPixels(exrs: readonly string[]): ReturnType<RenderSession['digestPixels']> {
    const read = exrs.map(async (exr) => {
      const { rawPath: _none, ...pixels } = await this.readPixels({ exr, output: `${exr}.read` });
      return pixels;
    });
    return await Promise.all(read.map((one) => one.catch((error: unknown) => error as FarmError)));
  }
}

export function toolsOf(session: FakeSession, blobs: FakeBlobs): Pick<VerifyTools, 'session' | 'blobs'> {
  return {
    session: session as unknown as VerifyTools['session'],
    blobs: blobs as unknown as VerifyTools['blobs'],
  };
}

/** A delivered file in place of the honest one, with what the receipt says of it. */
export type Delivery = { bytes: Uint8Array; pixelDigest: Digest };
export const delivery = (image: PixelImage): Delivery => ({
  bytes: canonicalBytes(image),
  pixelDigest: pixelDigest(image),
});

/** Four tiles of one frame; `deliver` says what the node delivers for each. */
export function makeReceipts(
  blobs: FakeBlobs,
  deliver: (honest: PixelImage, tile: number) => Delivery,
): Receipt[] {
  return [0, 1, 2, 3].map((tile) => {
    const rect = { x: (tile % 2) * TILE, y: Math.floor(tile / 2) * TILE, width: TILE, height: TILE };
    const delivered = deliver(crop(FRAME, rect), tile);
    return {
      jobId: jobIdSchema.parse('job_a'),
      taskId: taskIdSchema.parse(`task_${tile}`),
      kind: 'render',
      node: addressSchema.parse(`0x${'a1'.repeat(20)}`),
      frame: 1,
      rect,
      samples: 64,
      exrDigest: blobs.keep(delivered.bytes),
      pixelDigest: delivered.pixelDigest,
      pictureDigest: null,
      engine: ENGINE.id,
      deviceClass: ENGINE.deviceClass,
      price: 1_000n,
    };
  });
}

/** What an honest coordinator draws from these receipts, and what the chain says. */
export function drawFrom(
  receipts: readonly Receipt[],
  challengeCount = 2,
  seed = bytes32Schema.parse(newPrivateKey()),
): { challenge: Challenge; onChain: ChainBatch; ordered: Receipt[] } {
  const ordered = sortByLeaf(receipts).map((entry) => entry.receipt);
  const picture = { x: 0, y: 0, width: SIDE, height: SIDE };
  const [output, precision] = [{ format: 'png' as const }, 'float' as const];
  const items = drawChallenge({ seed, count: ordered.length, receipts: ordered, challengeCount }).map(
    ({ index, crop: drawn }) => {
      const { kind, frame, rect, samples } = ordered[index] as Receipt;
      return { index, kind, frame, rect, crop: drawn, samples, picture, inputs: [], output, precision };
    },
  );
  const challenge: Challenge = {
    batchId: batchIdSchema.parse('batch_a'),
    batchKey: bytes32Schema.parse(`0x${'b1'.repeat(32)}`),
    jobId: jobIdSchema.parse('job_a'),
    scene: sceneDigest(MANIFEST),
    manifest: MANIFEST,
    engine: ENGINE.id,
    deviceClass: ENGINE.deviceClass,
    exr: true,
    seed,
    items,
  };
  const onChain = {
    state: 'drawn',
    root: receiptRoot(ordered.map(receiptLeaf)),
    count: ordered.length,
    seed,
  } as ChainBatch;
  return { challenge, onChain, ordered };
}

export const OTHER_DIGEST = digestSchema.parse('0d'.repeat(32));
