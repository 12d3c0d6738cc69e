import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import sharp from 'sharp';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { RenderSession } from '../../platform/render/runtime.ts';
import { type PixelImage, plane, readRawPixels } from '../../proof/pixels.ts';
import type { Receipt } from '../../protocol/receipt.ts';
import { verifyBatch } from '../../verifier/verify-batch.ts';
import {
  delivery,
  drawFrom,
  ENGINE,
  FakeBlobs,
  FakeSession,
  FRAME,
  makeReceipts,
  QUARTER,
  SIDE,
  toolsOf,
} from './batch.ts';

vi.setConfig({ testTimeout: 60_000 });

/** What the made-up scene's compositor makes of pixels. */
async function pictureOf(image: PixelImage): Promise<Buffer> {
  const name = image.channels.find((channel) => channel.endsWith('R'));
  const red = name === undefined ? undefined : plane(image, name);
  if (red === undefined) throw new Error('an image without red');
  const grey = Uint8Array.from(red, (value) => Math.round(255 * Math.min(1, Math.max(0, value))));
  const raw = { width: image.width, height: image.height, channels: 1 as const };
  return await sharp(grey, { raw }).png().toBuffer();
}

class FinishingSession extends FakeSession {
  finished = 0;
  /** What the scene's File Output nodes write, by name. */
  writes: Record<string, Buffer> = {};
  async finish({ tiles, pictureOutput, extraFolder = '' }: Parameters<RenderSession['finish']>[0]) {
    this.finished += 1;
    const [tile] = tiles;
    if (tile === undefined || tiles.length !== 1) throw new Error('a whole frame is one tile');
    const image = readRawPixels(await readFile(tile.path));
    await writeFile(pictureOutput, await pictureOf(image));
    const { width, height } = image;
    const extraFiles = Object.keys(this.writes).map((name, index) => ({
      name,
      path: join(extraFolder, String(index)),
    }));
    for (const { name, path } of extraFiles) await writeFile(path, this.writes[name] ?? '');
    return {
      exrPath: '',
      picturePath: pictureOutput,
      pixelDigest: delivery(image).pixelDigest,
      width,
      height,
      finishMs: 1,
      extraFiles,
    };
  }
}

let folder: string;
let blobs: FakeBlobs;
let session: FinishingSession;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tessera-verify-'));
  blobs = new FakeBlobs();
  session = new FinishingSession();
});
afterEach(() => rm(folder, { recursive: true, force: true }));

type Node = {
  /** What the node says it has rendered. */
  pixels?: PixelImage;
  /** What its picture was made from. */
  pictured?: PixelImage;
  /** Whether the EXRs are where the verifier looks for them. */
  handsOver?: boolean;
  /** Bytes in place of the EXR, under a digest of their own. */
  bytes?: Uint8Array;
  /** The files of File Output nodes that it delivers, by name. */
  extra?: Record<string, Buffer>;
};

const COUNT = 3;

function listOf(extra: Record<string, Buffer>) {
  const files = Object.entries(extra).map(([name, content]) => ({
    name,
    digest: blobs.keep(content),
    sizeBytes: content.length,
  }));
  return blobs.keep(Buffer.from(JSON.stringify({ version: 1, files })));
}

/** Whole frames of one node; the made-up scene looks the same in each. */
async function batchOf(node: (frame: number) => Node, challengeCount: number, exr = false) {
  const [model] = makeReceipts(new FakeBlobs(), delivery) as [Receipt];
  const receipts: Receipt[] = [];
  for (let frame = 1; frame <= COUNT; frame++) {
    const { pixels = FRAME, pictured = pixels, handsOver = true, bytes, extra = {} } = node(frame);
    const made = delivery(pixels);
    const exrDigest = blobs.keep(bytes ?? made.bytes);
    receipts.push({
      ...model,
      kind: 'frame',
      taskId: `${model.taskId}${frame}` as Receipt['taskId'],
      frame,
      rect: { x: 0, y: 0, width: SIDE, height: SIDE },
      pixelDigest: made.pixelDigest,
      exrDigest,
      pictureDigest: blobs.keep(await pictureOf(pictured)),
      ...(Object.keys(extra).length === 0 ? {} : { extraFilesDigest: listOf(extra) }),
    });
    if (!handsOver) blobs.stored.delete(exrDigest);
  }
  const { challenge, onChain, ordered } = drawFrom(receipts, challengeCount);
  const verify = () =>
    verifyBatch(
      { ...challenge, exr },
      {
        ...toolsOf(session, blobs),
        signal: new AbortController().signal,
        workFolder: folder,
        engine: ENGINE,
        onChain,
        challengeCount,
        lastTry: false,
        commit: async () => ({ receipts, withheld: [] }),
      },
    );
  return { challenge, ordered, verify };
}

describe('a batch of whole frames', () => {
  it('passes when pixels and pictures are what they should be', async () => {
    const { verify } = await batchOf(() => ({}), 2);
    const { outcome, comparisons } = await verify();
    expect(outcome).toBe('pass');
    expect(comparisons.map((one) => [one.kind, one.outcome])).toEqual([
      ['frame', 'pass'],
      ['frame', 'pass'],
    ]);
    // Each drawn frame's picture was made again from the claimed pixels.
    expect(session.finished).toBe(2);
  });

  it('fails by its pixels when they have a quarter of the samples, though the picture comes from them', async () => {
    const { verify } = await batchOf(() => ({ pixels: QUARTER }), COUNT);
    const { outcome, comparisons } = await verify();
    expect(outcome).toBe('fail');
    const failed = comparisons.filter((one) => one.outcome === 'fail');
    expect(failed.length).toBeGreaterThan(0);
    // In a crop this small the coarse gate may notice, too; the pixels tell in any case.
    for (const one of failed) expect(['pixelMatch', 'perceptualHash']).toContain(one.decidedBy);
    for (const one of failed) expect(one.pixelMatchFraction).toBeLessThanOrEqual(0.98);
  });

  it('fails by the picture when the pixels are right and the picture does not come from them', async () => {
    const { verify } = await batchOf(() => ({ pictured: QUARTER }), 1);
    const { outcome, comparisons } = await verify();
    expect(outcome).toBe('fail');
    expect(comparisons[0]).toMatchObject({ outcome: 'fail', decidedBy: 'picture', kind: 'frame' });
  });

  it('fails when a drawn EXR was not handed over, and says so', async () => {
    const { verify } = await batchOf(() => ({ handsOver: false }), 1);
    const { outcome, comparisons } = await verify();
    expect(outcome).toBe('fail');
    expect(comparisons[0]).toMatchObject({
      outcome: 'fail',
      reason: 'the pixels that were committed were not handed over in time',
    });
  });

  it('fails when what was handed over does not hold the committed pixels', async () => {
    const { verify } = await batchOf(() => ({ bytes: delivery(QUARTER).bytes }), 1);
    const { outcome, comparisons } = await verify();
    expect(outcome).toBe('fail');
    expect(comparisons[0]?.reason).toBe('the file does not hold the pixels that were committed');
  });

  it('does not ask for the EXR of a frame that was not drawn, but looks at its picture', async () => {
    const { challenge, ordered, verify } = await batchOf(
      // Files of their own, so that it shows which of them were fetched.
      (frame) => ({ bytes: Buffer.concat([delivery(FRAME).bytes, Buffer.alloc(frame)]) }),
      1,
    );
    const drawn = challenge.items[0]?.index;
    await verify();
    const others = ordered.filter((_receipt, index) => index !== drawn);
    expect(others).toHaveLength(COUNT - 1);
    for (const receipt of others) {
      expect(blobs.fetched).not.toContain(receipt.exrDigest);
      expect(blobs.fetched).toContain(receipt.pictureDigest);
    }
  });

  it('fails for a broken EXR that was not drawn where the artist asked for EXRs', async () => {
    const broken = Buffer.from('not an EXR');
    const honest = await batchOf(() => ({}), 1, true);
    expect((await honest.verify()).outcome).toBe('pass');
    let batch: Awaited<ReturnType<typeof batchOf>>;
    do batch = await batchOf((frame) => (frame === 3 ? { bytes: broken } : {}), 1, true);
    while (batch.ordered[batch.challenge.items[0]?.index as number]?.frame === 3);
    const { outcome, comparisons } = await batch.verify();
    expect(outcome).toBe('fail');
    expect(comparisons.find((one) => one.outcome === 'fail')).toMatchObject({ frame: 3, kind: 'frame' });
  });
});

describe('files of File Output nodes', () => {
  const flat = (grey: number, format: 'png' | 'jpeg', side = SIDE) =>
    sharp({ create: { width: side, height: side, channels: 3, background: { r: grey, g: grey, b: grey } } })
      .toFormat(format)
      .toBuffer();
  const judge = async (extra: Record<string, Buffer>) => {
    const { verify } = await batchOf(() => ({ extra }), 1);
    const { outcome, comparisons } = await verify();
    return { outcome, first: comparisons[0] };
  };

  it('pass when they are what finishing the claim gives, and are not even fetched when they are the same', async () => {
    session.writes = { 'a/beauty0001.png': await flat(90, 'png'), 'raw0001.dpx': Buffer.from('a DPX') };
    expect(await judge(session.writes)).toMatchObject({ outcome: 'pass' });
    for (const content of Object.values(session.writes))
      expect(blobs.fetched).not.toContain(new FakeBlobs().keep(content));
  });

  it('pass with other bytes of the same pixels', async () => {
    session.writes = { 'beauty0001.png': await flat(90, 'png') };
    const packed = await sharp(session.writes['beauty0001.png'])
      .png({ compressionLevel: 0 })
      .withMetadata({ density: 300 })
      .toBuffer();
    expect(packed.equals(session.writes['beauty0001.png'] as Buffer)).toBe(false);
    expect(await judge({ 'beauty0001.png': packed })).toMatchObject({ outcome: 'pass' });
  });

  it.each([
    [
      'of other pixels',
      async () => ({ 'beauty0001.png': await flat(120, 'png') }),
      /beauty0001\.png: .*differ/,
    ],
    [
      'of another size',
      async () => ({ 'beauty0001.png': await flat(90, 'png', 8) }),
      /beauty0001\.png: it is 8x8/,
    ],
    ['of another format', async () => ({ 'beauty0001.png': await flat(90, 'jpeg') }), /it is no png/],
    ['that are no picture', async () => ({ 'beauty0001.png': Buffer.from('<svg/>') }), /it is no png/],
    ['far larger than they are', async () => ({ 'beauty0001.png': Buffer.alloc(2 ** 22) }), /bytes/],
    ['that are missing', async () => ({}), /beauty0001\.png of a File Output node was not delivered/],
    ['under other names', async () => ({ 'other0001.png': await flat(90, 'png') }), /was not delivered/],
    [
      'that the scene does not write',
      async () => ({ 'beauty0001.png': await flat(90, 'png'), 'more0001.png': await flat(90, 'png') }),
      /does not write/,
    ],
  ])('fail the frame when they are %s', async (_what, delivered, reason) => {
    session.writes = { 'beauty0001.png': await flat(90, 'png') };
    const { outcome, first } = await judge(await delivered());
    expect(outcome).toBe('fail');
    expect(first).toMatchObject({ outcome: 'fail', reason: expect.stringMatching(reason) });
  });

  it('in a format that nothing here decodes are never paid unseen, and never a failure', async () => {
    const dpx = Buffer.alloc(10_000, 7);
    session.writes = { 'raw0001.dpx': dpx };
    const stamped = Buffer.from(dpx);
    stamped.write('2030:01:01', 100);
    expect(await judge({ 'raw0001.dpx': stamped })).toMatchObject({ outcome: 'pass' });
    expect(await judge({ 'raw0001.dpx': Buffer.alloc(10_000, 8) })).toMatchObject({
      outcome: 'inconclusive',
      first: { decidedBy: 'extraFiles', reason: expect.stringContaining('not decoded here') },
    });
  });
});
