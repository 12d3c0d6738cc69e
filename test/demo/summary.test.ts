import { describe, expect, test } from 'vitest';
import { catches, type DemoResult, summary } from '../../demo/summary.ts';
import { jobViewSchema, nodeViewSchema } from '../../protocol/job.ts';
import { batchViewSchema, type Comparison } from '../../protocol/verdict.ts';
import { verifierViewSchema } from '../../protocol/verifier.ts';

const rect = { x: 0, y: 0, width: 240, height: 180 };
const hex = (digit: string): string => `0x${digit.repeat(64)}`;

function comparison(over: Partial<Comparison>): Comparison {
  return {
    ...{ index: 0, kind: 'render', frame: 1, rect, crop: { x: 10, y: 20, width: 70, height: 70 } },
    ...{ outcome: 'fail', decidedBy: 'pixelMatch', reason: 'too few pixels match', pixelMatchFraction: 0.7 },
    ...{
      perceptualHashDistance: 0,
      perceptualHashAloneWouldPay: true,
      renderMs: 1,
      compareMs: 1,
      heatMap: null,
    },
    ...{ samples: 16, steps: [], reference: null, claim: null },
    ...over,
  };
}

function batch(nodeId: string, comparisons: Comparison[]) {
  const outcome = comparisons.some((one) => one.outcome === 'fail') ? 'fail' : 'pass';
  const ids = { id: 'batch_a', jobId: 'job_a', nodeId, root: hex('1'), seed: hex('2') };
  const evidence = {
    ...{ version: 3, batchId: 'batch_a', batchKey: hex('3'), jobId: 'job_a', seed: hex('2'), root: hex('1') },
    ...{ scene: 'a'.repeat(64), precision: 'float', thresholds: 'sameClass' },
    ...{ outcome, engine: 'blender-3.4.1', deviceClass: 'cpu-avx2', comparisons },
  };
  return batchViewSchema.parse({
    ...ids,
    kind: 'render',
    state: 'settled',
    receipts: 6,
    amount: '1500000',
    outcome,
    evidence,
    ...{
      appeal: null,
      batchKey: hex('3'),
      agreed: outcome === 'fail',
      slashed: outcome === 'fail' ? '15000000' : '0',
    },
    verdicts: ['verifier-2', 'verifier-1'].map((verifier, place) => ({
      ...{ verifier, address: null, role: place === 0 ? 'first' : 'second', outcome, reason: '' },
      evidence: 'b'.repeat(64),
    })),
  });
}

const job = jobViewSchema.parse({
  ...{
    id: 'job_a',
    name: 'still.blend',
    state: 'completed',
    reason: null,
    warnings: [],
    framesDone: 1,
    account: 'default',
    priority: 50,
    blocks: [],
    progress: 1,
  },
  spec: {
    ...{
      scene: 'a'.repeat(64),
      name: 'still.blend',
      frames: [1],
      tiles: { columns: 4, rows: 3 },
      samples: 16,
    },
    ...{ engine: 'blender-3.4.1', output: { format: 'png' }, precision: 'float' },
    ...{ region: rect, picture: rect, fullFrame: { width: 240, height: 180 } },
  },
  tasks: { total: 13, queued: 0, leased: 0, delivered: 0, verified: 13 },
  ...{
    escrow: 'closed',
    quote: '3000000',
    spent: '2500000',
    refunded: '500000',
    createdAtMs: 0,
    finishedAtMs: 1,
  },
});

const node = (id: string, over: object) =>
  nodeViewSchema.parse({
    ...{
      pools: [],
      id,
      address: '0x0',
      engine: 'blender-3.4.1',
      deviceClass: 'cpu-avx2',
      state: 'online',
      reason: null,
    },
    ...{ lastSeenAtMs: 0, tasksVerified: 13, tasksForfeited: 0, earned: '2500000' },
    ...{ operator: null, stake: '0', slashed: '0' },
    ...over,
  });

function result(comparisons: Comparison[]): DemoResult {
  return {
    jobs: [{ job, pictures: ['demo-out/still_0001.png'], batches: [batch('node-3', comparisons)] }],
    nodes: [
      node('node-1', {}),
      node('node-3', { tasksVerified: 0, tasksForfeited: 6, earned: '0', slashed: '15000000' }),
    ],
    cheat: 'node-3',
    verifiers: [],
    seconds: 42,
  };
}

describe("the demo's summary", () => {
  test('says where the pictures are, who earned what, and what the escrow paid and gave back', () => {
    const text = summary(result([comparison({})]));
    expect(text).toContain('demo-out/still_0001.png');
    expect(text).toMatch(/node-1 +13 +0 +2\.500 TESS +0\.000 TESS/);
    expect(text).toMatch(/node-3 \(cheat\) +0 +6 +0\.000 TESS +15\.000 TESS/);
    expect(text).toMatch(/still\.blend +3\.000 +2\.500 +0\.500/);
  });

  test('shows the clearest of several failed crops, and that the perceptual hash saw nothing', () => {
    const found = result([
      comparison({ outcome: 'pass', pixelMatchFraction: 1 }),
      comparison({ pixelMatchFraction: 0.9 }),
      comparison({ pixelMatchFraction: 0.4, crop: { ...rect, x: 99 } }),
    ]);
    expect(catches(found)).toMatchObject([
      { nodeId: 'node-3', drawn: 3, amount: 1_500_000n, comparison: { pixelMatchFraction: 0.4 } },
    ]);
    const text = summary(found);
    expect(text).toContain('drawn crop 240x180 at 99,0');
    expect(text).toContain('40.0 % where 99.8 % are needed  <- caught by this test');
    expect(text).toContain('distance 0 of 64: alone it would have paid');
    expect(text).toContain('verifier-2: fail, verifier-1: fail; 15.000 TESS of its stake lost');
    expect(text).toContain('6 results forfeited after 3 were drawn: 1.500 TESS not paid');
  });

  test('names the reason where no pixels could be compared, and claims no catch where all passed', () => {
    const broken = comparison({
      decidedBy: 'sanity',
      reason: 'the file is 1x1',
      pixelMatchFraction: null,
      perceptualHashDistance: null,
    });
    expect(summary(result([broken]))).toContain('the file is 1x1  <- caught by sanity');
    const nothing = result([comparison({ outcome: 'pass' })]);
    expect(catches(nothing)).toEqual([]);
    const verifier = verifierViewSchema.parse({
      ...{ id: 'verifier-1', address: `0x${'1'.repeat(40)}`, operator: null, stake: '0', state: 'caught' },
      ...{ words: { pass: 4, fail: 0, inconclusive: 0 }, canaries: { answered: 3, caught: 2 } },
      caught: { batch: 'batch_c', beside: 'job_a', reason: 'the farm finds fail', atMs: 0 },
    });
    expect(summary({ ...nothing, verifiers: [verifier] })).toContain(
      'verifier-1 at 2 of 3 canaries: the farm finds fail',
    );
    expect(summary(nothing)).toContain('nobody: of what was drawn no crop was wrong');
  });
});
