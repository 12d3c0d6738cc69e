import { pino } from 'pino';
import { describe, expect, it, vi } from 'vitest';
import { checkerFor, runtimeFor } from '../../platform/checking/runtime-for.ts';
import type { VerifyTools } from '../../platform/checking/tools.ts';
import type { RenderRuntime } from '../../platform/render/runtime.ts';
import { SessionPool } from '../../platform/render/session-pool.ts';
import { FarmError } from '../../protocol/errors.ts';
import type { Digest } from '../../protocol/ids.ts';
import { evidenceSchema } from '../../protocol/verdict.ts';
import { type CheckPorts, checkChallenge } from '../../verifier/check-challenge.ts';
import { giveUpBatch } from '../../verifier/give-up.ts';
import { delivery, drawFrom, ENGINE, FakeBlobs, makeReceipts } from './batch.ts';

const { signal } = new AbortController();
const runtimeOn = (deviceClass: string, id = ENGINE.id) =>
  ({ engine: { ...ENGINE, id, deviceClass } }) as unknown as RenderRuntime;

function drawn() {
  const blobs = new FakeBlobs();
  const receipts = makeReceipts(blobs, delivery);
  const { challenge, onChain } = drawFrom(receipts);
  const commit = vi.fn(async (_digests: Digest[]) => ({ receipts, withheld: [] }));
  const ports = {
    ...{ blobs: blobs as unknown as VerifyTools['blobs'], signal, onChain, commit },
    challengeCount: 2,
  };
  return { blobs, challenge, commit, ports };
}

it('only the very device class of a batch checks it, also where the engine is there on another', () => {
  const mine = runtimeOn('cpu-avx2');
  const { challenge } = drawn();
  expect(runtimeFor([runtimeOn('cpu-sse42'), mine], challenge)).toBe(mine);
  const others = [runtimeOn('cpu-sse42'), runtimeOn('cpu-avx2', 'blender-4.3.2')];
  expect(() => runtimeFor(others, challenge)).toThrow(
    expect.objectContaining({
      code: 'VERIFIER_LACKS_DEVICE',
      message:
        'this machine cannot check what was rendered with blender-3.4.1 on cpu-avx2; it has blender-3.4.1 on cpu-sse42, blender-4.3.2 on cpu-avx2',
    }),
  );
});

it('the same class checks where it is there, another CPU class of the same engine where it is not, and no GPU', () => {
  const [mine, other] = [runtimeOn('cpu-avx2'), runtimeOn('cpu-sse42')];
  const claim = { engine: ENGINE.id, deviceClass: 'cpu-avx2' };
  expect(checkerFor([other, mine], claim)).toEqual({ runtime: mine, thresholds: 'sameClass' });
  expect(checkerFor([runtimeOn('cuda-sm90'), other], claim)).toEqual({
    runtime: other,
    thresholds: 'otherCpuClass',
  });
  const lacking = expect.objectContaining({ code: 'VERIFIER_LACKS_DEVICE' });
  expect(() => checkerFor([runtimeOn('cuda-sm90')], claim)).toThrow(lacking);
  expect(() => checkerFor([runtimeOn('cpu-sse42', 'blender-4.3.2')], claim)).toThrow(lacking);
  expect(() => checkerFor([mine], { ...claim, deviceClass: 'cuda-sm90' })).toThrow(lacking);
});

it('a batch that is given up is not conclusive, and its evidence says what is missing', async () => {
  const { blobs, challenge, commit, ports } = drawn();
  const why = new FarmError('VERIFIER_LACKS_DEVICE', 'no such card any more');
  const { outcome, evidence } = await giveUpBatch(challenge, ports, why);
  expect(outcome).toBe('inconclusive');
  expect(commit).toHaveBeenCalledOnce();
  expect(commit.mock.calls[0]?.[0]).toHaveLength(challenge.items.length);
  const stored = evidenceSchema.parse(JSON.parse(Buffer.from(blobs.stored.get(evidence) ?? []).toString()));
  expect(stored).toMatchObject({ outcome: 'inconclusive', batchId: challenge.batchId, seed: challenge.seed });
  expect(stored.comparisons).toHaveLength(challenge.items.length);
  for (const comparison of stored.comparisons) {
    expect(comparison).toMatchObject({
      outcome: 'inconclusive',
      reason: 'VERIFIER_LACKS_DEVICE: no such card any more',
    });
  }
});

it("a draw that is not the chain's gets no verdict, not even that one", async () => {
  const { blobs, challenge, ports } = drawn();
  const [, ...items] = challenge.items;
  const why = new FarmError('VERIFIER_LACKS_DEVICE', 'no such card any more');
  const before = blobs.stored.size;
  await expect(giveUpBatch({ ...challenge, items }, ports, why)).rejects.toMatchObject({
    code: 'MESSAGE_INVALID',
  });
  expect(blobs.stored.size).toBe(before);
});

describe('a scene that does not open', () => {
  const failing = (error: FarmError) => {
    const farm = drawn();
    const open = vi.fn(() => Promise.reject(error));
    const runtime = { ...runtimeOn('cpu-avx2'), open } as unknown as RenderRuntime;
    const ports: CheckPorts = {
      ...farm.ports,
      engines: [runtime],
      scenes: { folderOf: async () => ({ root: '/nowhere', main: 'a.blend' }) },
      sessions: new SessionPool(),
      ...{ threads: 1, workFolder: '/nowhere', lastTry: false, log: pino({ level: 'silent' }) },
    };
    return { ...farm, open, ports };
  };

  it('is tried again, and at the last try ends without a clear outcome: the node did nothing wrong', async () => {
    const error = new FarmError('RENDER_FAILED', 'Blender does not read it');
    const { blobs, challenge, open, ports } = failing(error);
    await expect(checkChallenge(challenge, ports)).rejects.toBe(error);
    const { outcome, evidence } = await checkChallenge(challenge, { ...ports, lastTry: true });
    expect(outcome).toBe('inconclusive');
    expect(open).toHaveBeenCalledTimes(2);
    const stored = evidenceSchema.parse(JSON.parse(Buffer.from(blobs.stored.get(evidence) ?? []).toString()));
    expect(stored.comparisons[0]?.reason).toBe('RENDER_FAILED: Blender does not read it');
  });

  it('because the farm is away is not given up', async () => {
    const error = new FarmError('FARM_UNREACHABLE', 'nobody answers');
    const { challenge, commit, ports } = failing(error);
    await expect(checkChallenge(challenge, { ...ports, lastTry: true })).rejects.toBe(error);
    expect(commit).not.toHaveBeenCalled();
  });
});
