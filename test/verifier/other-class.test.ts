/** What one CPU class rendered, checked on another: by wider thresholds, and by the reference's own noise. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { replayComparison } from '../../cli/audit/replay.ts';
import { packageRoot } from '../../platform/package-root.ts';
import { createProcessRuntime } from '../../platform/render/process/runtime.ts';
import type { RenderRuntime } from '../../platform/render/runtime.ts';
import { readRawPixels } from '../../proof/pixels.ts';
import type { Digest } from '../../protocol/ids.ts';
import type { Receipt } from '../../protocol/receipt.ts';
import { type Evidence, evidenceSchema } from '../../protocol/verdict.ts';
import { type VerifyPorts, verifyBatch } from '../../verifier/verify-batch.ts';
import { cheatingRuntime } from '../adversaries/cheating-runtime.ts';
import { cheatNamed } from '../adversaries/cheats.ts';
import { temporaryFolder } from '../render/support.ts';
import { delivery, drawFrom, FakeBlobs, makeReceipts } from './batch.ts';

const { signal } = new AbortController();
const SCENE = { root: join(packageRoot(), 'samples/turntable'), main: 'turntable.blend' };
const OPTIONS = { signal, threads: 2 };
const FRAME = 5;
const SAMPLES = 16;
/** On the turntable itself, where there is noise. */
const CORNER = { x: 176, y: 96 };

describe('another class', { timeout: 300_000 }, () => {
  let folder: Awaited<ReturnType<typeof temporaryFolder>>;
  let usual: RenderRuntime;
  let other: RenderRuntime;

  beforeAll(async () => {
    folder = await temporaryFolder();
    const where = { signal, tempFolder: folder.path };
    usual = await createProcessRuntime(where);
    other = await createProcessRuntime({ ...where, withoutAvx2: true });
  });
  afterAll(() => folder?.[Symbol.asyncDispose]());

  /** Four tiles of a node's, drawn from and checked on the other class. */
  async function checked(node: RenderRuntime) {
    const { id: engine, deviceClass } = node.engine;
    expect(other.engine).toMatchObject({ id: engine });
    expect(other.engine.deviceClass).not.toBe(deviceClass);
    const blobs = new FakeBlobs();
    const receipts: Receipt[] = [];
    await using session = await node.open(SCENE, OPTIONS);
    for (const made of makeReceipts(blobs, delivery)) {
      const rect = { ...made.rect, x: CORNER.x + made.rect.x, y: CORNER.y + made.rect.y };
      const output = join(folder.path, `tile-${receipts.length}.exr`);
      const { pixelDigest } = await session.render({ frame: FRAME, rect, samples: SAMPLES, output }, OPTIONS);
      const exrDigest = blobs.keep(await readFile(output));
      const what = { frame: FRAME, rect, samples: SAMPLES, pixelDigest, exrDigest };
      receipts.push({ ...made, ...what, engine, deviceClass });
    }
    const { challenge, onChain, ordered } = drawFrom(receipts, 4);
    await using verifier = await other.open(SCENE, OPTIONS);
    const ports: VerifyPorts = {
      ...{ session: verifier, blobs: blobs as unknown as VerifyPorts['blobs'], signal, onChain },
      ...{ engine: other.engine, thresholds: 'otherCpuClass', challengeCount: 4, lastTry: false },
      workFolder: folder.path,
      commit: async () => ({ receipts: ordered, withheld: [] }),
    };
    const found = await verifyBatch({ ...challenge, engine, deviceClass }, ports);
    const bytes = (digest: Digest): Uint8Array => blobs.stored.get(digest) ?? new Uint8Array();
    const evidence = evidenceSchema.parse(JSON.parse(Buffer.from(bytes(found.evidence)).toString()));
    return { ...found, evidence, bytes };
  }

  function replayed({ thresholds, comparisons }: Evidence, bytes: (digest: Digest) => Uint8Array) {
    return comparisons.flatMap((comparison) => {
      const [reference, claim] = [comparison.reference?.blob, comparison.claim?.blob];
      if (!reference || !claim) return [];
      const pixels = { reference: readRawPixels(bytes(reference)), claim: readRawPixels(bytes(claim)) };
      return [replayComparison(comparison, thresholds, pixels)];
    });
  }

  it('passes an honest node, and its evidence can be replayed', async () => {
    const { outcome, evidence, bytes } = await checked(usual);
    expect(outcome).toBe('pass');
    expect(evidence).toMatchObject({
      thresholds: 'otherCpuClass',
      deviceClass: usual.engine.deviceClass,
      referenceClass: other.engine.deviceClass,
    });
    const differing = evidence.comparisons.filter(({ decidedBy }) => decidedBy !== 'digest');
    expect(differing.length).toBeGreaterThan(0);
    for (const { noiseVariance, steps } of differing) {
      expect(noiseVariance).toBeGreaterThan(0);
      expect(steps.find(({ step }) => step === 'noiseRatio')?.detail).toMatch(/^R = /);
    }
    const again = replayed(evidence, bytes);
    expect(again).toHaveLength(differing.length);
    expect(again.filter(({ holds }) => !holds)).toEqual([]);
  });

  it.each(['samples-90', 'brighter'] as const)('does not pass %s', async (name) => {
    const { outcome, comparisons } = await checked(cheatingRuntime(usual, cheatNamed(name)));
    expect(outcome).toBe('fail');
    for (const { steps } of comparisons.filter((one) => one.outcome === 'fail'))
      expect(steps.find(({ step }) => step === 'pixelMatch')?.result).toBe('fail');
  });
});
