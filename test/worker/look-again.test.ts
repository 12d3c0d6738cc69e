/** A node at its own batch: made-up pixels, no renderer. What the comparison itself finds is tested in test/verifier. */
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Mutex } from '../../platform/mutex.ts';
import type { RenderRuntime, RenderSession } from '../../platform/render/runtime.ts';
import { SessionPool } from '../../platform/render/session-pool.ts';
import { crop, type PixelImage } from '../../proof/pixels.ts';
import { RECEIPTS_PER_CHALLENGE } from '../../proof/policy.ts';
import { type LookNode, lookAgain } from '../../worker/look-again.ts';
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
} from '../verifier/batch.ts';

const { signal } = new AbortController();

let folder: string;
let blobs: FakeBlobs;
let session: FakeSession;
let sessions: SessionPool;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tessera-appeal-'));
  blobs = new FakeBlobs();
  session = new FakeSession();
  sessions = new SessionPool();
});
afterEach(async () => {
  await sessions[Symbol.asyncDispose]();
  await rm(folder, { recursive: true, force: true });
});

function nodeWith(deviceClass = ENGINE.deviceClass): LookNode {
  let end: () => void = () => undefined;
  const closed = new Promise<never>((resolve) => {
    end = () => resolve({ reason: 'closed', message: 'over' } as never);
  });
  const living = Object.assign(session, {
    engine: { ...ENGINE, deviceClass },
    closed,
    close: async () => end(),
  });
  const runtime: RenderRuntime = {
    engine: { ...ENGINE, deviceClass, runtime: 'process' },
    open: async () => living as unknown as RenderSession,
  };
  return {
    blobs: toolsOf(session, blobs).blobs as LookNode['blobs'],
    scenes: { folderOf: async () => ({ root: folder, main: 'a.blend' }) } as unknown as LookNode['scenes'],
    sessions,
    config: { dataFolder: folder, threads: 1 },
    devices: [{ engines: [runtime], turn: new Mutex() }],
  };
}

function batchOf(deliver: (honest: PixelImage, tile: number) => Delivery) {
  const receipts = makeReceipts(blobs, deliver);
  return { receipts, ...drawFrom(receipts, RECEIPTS_PER_CHALLENGE) };
}

const honest = (image: PixelImage): Delivery => delivery(image);

describe('a node that looks at its failed batch again', () => {
  it('finds it right where it is, and leaves nothing behind', async () => {
    expect(await lookAgain(nodeWith(), batchOf(honest), signal)).toMatchObject({ outcome: 'pass' });
    expect(session.rendered).toHaveLength(RECEIPTS_PER_CHALLENGE);
    expect(await readdir(join(folder, 'work'))).toEqual([]);
  });

  it('finds it wrong where it was rendered with a quarter of the samples', async () => {
    const batch = batchOf((image, tile) =>
      tile === 1 ? delivery(crop(QUARTER, { x: 48, y: 0, width: 48, height: 48 })) : honest(image),
    );
    expect(await lookAgain(nodeWith(), batch, signal)).toMatchObject({ outcome: 'fail' });
  });

  it('finds a file that is not what it committed to', async () => {
    const batch = batchOf((image, tile) =>
      tile === 2 ? { ...honest(image), pixelDigest: OTHER_DIGEST } : honest(image),
    );
    const { outcome, reason } = await lookAgain(nodeWith(), batch, signal);
    expect(outcome).toBe('fail');
    expect(reason).toContain('committed');
  });

  it('says nothing about what the seed does not draw, nor on another device class', async () => {
    const batch = batchOf(honest);
    const [first, ...others] = batch.challenge.items;
    if (first === undefined) throw new Error('nothing was drawn');
    const moved = { ...first, crop: { ...first.crop, width: first.crop.width - 1 } };
    const other = { ...batch, challenge: { ...batch.challenge, items: [moved, ...others] } };
    await expect(lookAgain(nodeWith(), other, signal)).rejects.toMatchObject({ code: 'MESSAGE_INVALID' });
    await expect(lookAgain(nodeWith('cpu-sse4'), batch, signal)).rejects.toMatchObject({
      code: 'VERIFIER_LACKS_DEVICE',
    });
    expect(session.rendered).toEqual([]);
  });
});
