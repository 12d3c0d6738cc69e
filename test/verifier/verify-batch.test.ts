import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { overall } from '../../proof/overall.ts';
import { crop, imageFromPlanes, type PixelImage, plane } from '../../proof/pixels.ts';
import { FarmError } from '../../protocol/errors.ts';
import type { Digest } from '../../protocol/ids.ts';
import type { Receipt } from '../../protocol/receipt.ts';
import { type Comparison, evidenceSchema, type Outcome } from '../../protocol/verdict.ts';
import { type VerifyPorts, verifyBatch } from '../../verifier/verify-batch.ts';
import {
  type Delivery,
  delivery,
  drawFrom,
  ENGINE,
  FakeBlobs,
  FakeSession,
  makeReceipts,
  OTHER_DIGEST,
  QUARTER,
  toolsOf,
} from './batch.ts';

vi.setConfig({ testTimeout: 30_000 });

let folder: string;
let blobs: FakeBlobs;
let session: FakeSession;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tessera-verify-'));
  blobs = new FakeBlobs();
  session = new FakeSession();
});
afterEach(() => rm(folder, { recursive: true, force: true }));

type Deliver = (honest: PixelImage, tile: number) => Delivery;

/** Which tile each drawn and each other receipt is depends on the seed; both are told. */
function batchOf(deliver: Deliver, challengeCount: number) {
  return batchFrom(makeReceipts(blobs, deliver), challengeCount);
}

function batchFrom(receipts: Receipt[], challengeCount: number) {
  const drawn = drawFrom(receipts, challengeCount);
  const commit = vi.fn(async (_cropDigests: Digest[]) => ({ receipts, withheld: [] as Digest[] }));
  const verify = (ports: Partial<VerifyPorts> = {}) =>
    verifyBatch(drawn.challenge, {
      ...toolsOf(session, blobs),
      signal: new AbortController().signal,
      workFolder: folder,
      engine: ENGINE,
      onChain: drawn.onChain,
      challengeCount,
      lastTry: false,
      commit,
      ...ports,
    });
  return { ...drawn, commit, verify };
}

const failed = (reason: string | RegExp, decidedBy = 'sanity') =>
  expect.objectContaining({ outcome: 'fail', decidedBy, reason: expect.stringMatching(reason) });

describe('the outcome of a batch', () => {
  const of = (...outcomes: Outcome[]): Outcome => overall(outcomes.map((outcome) => ({ outcome })));
  it('is fail with one failed receipt, and pass only when all passed', () => {
    expect(of('pass', 'pass')).toBe('pass');
    expect(of('pass', 'fail', 'inconclusive')).toBe('fail');
    expect(of('inconclusive', 'fail')).toBe('fail');
    expect(of('pass', 'inconclusive')).toBe('inconclusive');
    expect(of('inconclusive')).toBe('inconclusive');
  });
});

describe('verifying a batch', () => {
  it('passes equal pixels, stores the evidence, and leaves no files', async () => {
    const { challenge, onChain, verify } = batchOf(delivery, 2);
    const { outcome, evidence, comparisons } = await verify();
    expect(outcome).toBe('pass');
    expect(comparisons.map((one) => [one.outcome, one.decidedBy, one.index])).toEqual(
      challenge.items.map((item) => ['pass', 'digest', item.index]),
    );
    const text = Buffer.from(blobs.stored.get(evidence) as Uint8Array).toString('utf8');
    expect(evidenceSchema.parse(JSON.parse(text))).toMatchObject({
      outcome: 'pass',
      batchId: challenge.batchId,
      seed: challenge.seed,
      root: onChain.root,
    });
    expect(await readdir(folder)).toEqual([]);
  });

  it('renders everything drawn and commits to it before it has seen or fetched anything of the claim', async () => {
    const { challenge, ordered, commit, verify } = batchOf(delivery, 3);
    commit.mockImplementationOnce(async () => {
      expect(session.rendered).toHaveLength(challenge.items.length);
      expect(blobs.fetched).toEqual([]);
      return { receipts: ordered, withheld: [] };
    });
    await verify();
    expect(commit).toHaveBeenCalledExactlyOnceWith(session.rendered);
    expect(new Set(blobs.fetched)).toEqual(new Set(ordered.map((receipt) => receipt.exrDigest)));
    expect(session.rendered).toHaveLength(challenge.items.length);
  });

  it('fails tiles with a quarter of the samples by their pixels, and shows where they differ', async () => {
    const rects = makeReceipts(new FakeBlobs(), delivery).map((receipt) => receipt.rect);
    const { verify } = batchOf((_honest, tile) => delivery(crop(QUARTER, rects[tile] as Receipt['rect'])), 4);
    const { outcome, comparisons } = await verify();
    expect(outcome).toBe('fail');
    const failed = comparisons.filter((one) => one.outcome === 'fail');
    // In a crop this small the coarse gate may notice, too; the pixels tell in any case.
    for (const one of failed) expect(['pixelMatch', 'perceptualHash']).toContain(one.decidedBy);
    for (const one of failed) expect(one.pixelMatchFraction).toBeLessThanOrEqual(0.98);
    const [worst] = failed.sort((a, b) => Number(a.pixelMatchFraction) - Number(b.pixelMatchFraction)) as [
      Comparison,
    ];
    expect(worst.pixelMatchFraction).toBeLessThan(0.9);
    const png = Buffer.from(blobs.stored.get(worst.heatMap as Digest) as Uint8Array);
    expect(png.subarray(1, 4).toString()).toBe('PNG');
  });

  const renamed = (image: PixelImage): PixelImage =>
    imageFromPlanes(
      image.width,
      image.height,
      Object.fromEntries(image.channels.map((name) => [`Other.${name}`, plane(image, name) as Float32Array])),
    );
  const broken: [string, Deliver, RegExp][] = [
    [
      'holds other pixels than were committed',
      (image) => ({ ...delivery(image), pixelDigest: OTHER_DIGEST }),
      /committed/,
    ],
    [
      'has another size',
      (image) => delivery(crop(image, { x: 0, y: 0, width: 47, height: 48 })),
      /47x48, not 48x48/,
    ],
    ['has other channels', (image) => delivery(renamed(image)), /other channels/],
    [
      'is larger than its pixels can be',
      (image) => ({ ...delivery(image), bytes: Buffer.alloc(3 * 1024 * 1024) }),
      /cannot be read: more than/,
    ],
    [
      'is no picture',
      (image) => ({ ...delivery(image), bytes: Buffer.from('not an EXR') }),
      /cannot be read: not an EXR/,
    ],
  ];

  it.each(broken)('fails a drawn file that %s', async (_what, deliver, reason) => {
    const { verify } = batchOf(deliver, 1);
    const { outcome, comparisons } = await verify();
    expect(outcome).toBe('fail');
    expect(comparisons[0]).toEqual(failed(reason));
  });

  it.each(broken)('fails the batch for a file that was not drawn and %s', async (_what, deliver, reason) => {
    // The draw takes one of four; the broken tile is one of the others, found by drawing again until it is.
    let batch = batchOf(delivery, 1);
    const isDrawn = (): boolean =>
      batch.ordered[batch.challenge.items[0]?.index as number]?.taskId === 'task_3';
    do batch = batchOf((image, tile) => (tile === 3 ? deliver(image, tile) : delivery(image)), 1);
    while (isDrawn());
    const { outcome, comparisons } = await batch.verify();
    expect(outcome).toBe('fail');
    expect(comparisons).toHaveLength(2);
    expect(comparisons[0]?.outcome).toBe('pass');
    expect(comparisons[1]).toEqual(failed(reason));
    expect(batch.ordered[comparisons[1]?.index as number]?.taskId).toBe('task_3');
  });

  it('refuses a claim that is not under the committed root, and gives no verdict', async () => {
    const { ordered, commit, verify } = batchOf(delivery, 2);
    commit.mockResolvedValueOnce({ receipts: ordered.slice(1), withheld: [] });
    await expect(verify({ lastTry: true })).rejects.toMatchObject({ code: 'MESSAGE_INVALID' });
    expect([...blobs.stored.values()].filter((bytes) => bytes[0] === '{'.charCodeAt(0))).toEqual([]);
    expect(await readdir(folder)).toEqual([]);
  });

  it('gives no verdict on a batch that was rendered on two classes', async () => {
    const receipts = makeReceipts(blobs, delivery).map((receipt, index) =>
      index === 0 ? { ...receipt, deviceClass: 'optix-sm89' } : receipt,
    );
    const { commit, verify } = batchFrom(receipts, 2);
    await expect(verify({ lastTry: true })).rejects.toMatchObject({
      code: 'MESSAGE_INVALID',
      message: expect.stringContaining('optix-sm89'),
    });
    expect(commit).toHaveBeenCalledOnce();
  });

  it.each([
    { id: 'blender-4.3.2', deviceClass: 'cpu-avx2' },
    { id: ENGINE.id, deviceClass: 'cpu-sse42' },
  ])('does not begin with another engine or class: %j', async (engine) => {
    const { commit, verify } = batchOf(delivery, 1);
    await expect(verify({ engine, lastTry: true })).rejects.toMatchObject({ code: 'RENDER_FAILED' });
    expect([session.rendered, commit.mock.calls]).toEqual([[], []]);
  });
});

describe('a renderer that breaks down', () => {
  const crash = (): never => {
    throw new FarmError('RENDER_FAILED', 'Blender crashed');
  };

  it.each<[string, () => void]>([
    ['while it renders', () => (session.onRender = crash)],
    ['while it reads the claim', () => (session.onRead = (exr) => void (exr.includes('claim-') && crash()))],
  ])('%s is tried again, and in the end is nobody’s fault', async (_when, breakDown) => {
    breakDown();
    const { verify } = batchOf(delivery, 2);
    await expect(verify()).rejects.toMatchObject({ code: 'RENDER_FAILED' });
    expect(await readdir(folder)).toEqual([]);
    const { outcome, comparisons } = await verify({ lastTry: true });
    expect(outcome).toBe('inconclusive');
    expect(comparisons.map((one) => one.outcome)).toEqual(['inconclusive', 'inconclusive']);
    expect(comparisons[0]?.reason).toContain('Blender crashed');
  });

  it('does not keep a broken file of the same batch from failing it', async () => {
    session.onRender = crash;
    const { verify } = batchOf((image) => ({ ...delivery(image), bytes: Buffer.from('not an EXR') }), 1);
    expect((await verify({ lastTry: true })).outcome).toBe('fail');
  });

  it('is no reason for a verdict when it was the farm that could not be reached, or the verifier stops', async () => {
    const { verify } = batchOf(delivery, 1);
    session.onRender = () => {
      throw new FarmError('FARM_UNREACHABLE', 'gone');
    };
    await expect(verify({ lastTry: true })).rejects.toMatchObject({ code: 'FARM_UNREACHABLE' });
    session.onRender = crash;
    await expect(verify({ lastTry: true, signal: AbortSignal.abort() })).rejects.toMatchObject({
      code: 'RENDER_FAILED',
    });
  });

  // Until verifier/verify-batch.ts `findBroken` notes what it could not find out: it is paid unseen today.
  it('over a file that was not drawn leaves the batch unclear', async () => {
    session.onRead = (exr) => void (exr.includes('other-') && crash());
    const { verify } = batchOf(delivery, 1);
    expect((await verify({ lastTry: true })).outcome).toBe('inconclusive');
  });
});
