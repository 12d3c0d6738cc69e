import { describe, expect, it } from 'vitest';
import { type AuditedBatch, type Books, checkBooks, paidBatches } from '../../cli/audit/books.ts';
import { digestBytes } from '../../platform/blobs/digest-file.ts';
import { batchKeyOf, jobKey } from '../../platform/chain/keys.ts';
import { drawChallenge } from '../../proof/draw.ts';
import { RECEIPTS_PER_CHALLENGE } from '../../proof/policy.ts';
import { receiptLeaf, receiptRoot, sortByLeaf } from '../../proof/receipts.ts';
import { type Address, type BatchId, bytes32Schema, jobIdSchema, taskIdSchema } from '../../protocol/ids.ts';
import type { FrameView, JobView } from '../../protocol/job.ts';
import type { Receipt } from '../../protocol/receipt.ts';
import type { Comparison, Evidence } from '../../protocol/verdict.ts';

const JOB = jobIdSchema.parse('job_a');
const NODE = `0x${'a1'.repeat(20)}` as Address;
const SEED = bytes32Schema.parse(`0x${'5e'.repeat(32)}`);
const RECT = { x: 0, y: 0, width: 96, height: 64 };

function receiptOf(frame: number): Receipt {
  return {
    ...{
      jobId: JOB,
      taskId: taskIdSchema.parse(`task_${frame}`),
      kind: 'frame',
      node: NODE,
      frame,
      rect: RECT,
    },
    ...{ samples: 16, exrDigest: digestBytes(`exr ${frame}`), pixelDigest: digestBytes(`pixels ${frame}`) },
    ...{ pictureDigest: digestBytes(`picture ${frame}`), engine: 'blender-3.4.1', deviceClass: 'cpu-avx2' },
    price: 100n,
  };
}

function batchOf(id: string, frames: readonly number[]): AuditedBatch {
  const receipts = sortByLeaf(frames.map(receiptOf)).map(({ receipt }) => receipt);
  const root = receiptRoot(receipts.map(receiptLeaf));
  const count = receipts.length;
  const comparisons = drawChallenge({
    ...{ seed: SEED, count, receipts, challengeCount: RECEIPTS_PER_CHALLENGE },
  }).map(({ index, crop }): Comparison => {
    const { kind, frame, rect, samples, pixelDigest } = receipts[index] as Receipt;
    const pixels = { pixelDigest, blob: null };
    return {
      ...{ index, kind, frame, rect, crop, samples, outcome: 'pass', decidedBy: 'digest', reason: '' },
      ...{ pixelMatchFraction: 1, perceptualHashDistance: 0, perceptualHashAloneWouldPay: true, steps: [] },
      ...{ reference: pixels, claim: pixels, renderMs: 1, compareMs: 1, heatMap: null },
    };
  });
  const batchId = id as BatchId;
  const batchKey = batchKeyOf({ node: NODE, lane: 0, generation: BigInt(frames[0] ?? 1) });
  const evidence: Evidence = {
    ...{ version: 3, batchId, batchKey, jobId: JOB, scene: digestBytes('scene'), precision: 'float' },
    ...{ thresholds: 'sameClass', seed: SEED, root, outcome: 'pass', engine: 'blender-3.4.1' },
    ...{ deviceClass: 'cpu-avx2', comparisons },
  };
  const onChain: AuditedBatch['onChain'] = {
    ...{ state: 'settled', jobKey: jobKey(JOB), node: NODE, root, count, amount: 100n * BigInt(count) },
    ...{ anchor: 1n, committedAt: 1, since: 1, reanchors: 0, seed: SEED, outcome: 'pass', evidence: SEED },
    ...{ operator: NODE, stake: 0n, asked: [], second: null, members: [], votes: [], agreed: false },
    ...{ last: false, disputer: null, bond: 0n, paid: 100n * BigInt(count), slashed: 0n },
    first: { verifier: NODE, outcome: 'pass', evidence: SEED },
  };
  return { view: { id: batchId, batchKey } as AuditedBatch['view'], onChain, receipts, evidence };
}

function books(): Books {
  const batches = [batchOf('batch_a', [1, 2, 3, 4, 5, 6]), batchOf('batch_b', [7])];
  const frames = [1, 2, 3, 4, 5, 6, 7].map((frame) => ({
    ...{ frame, state: 'done', picture: receiptOf(frame).pictureDigest, extraFiles: null },
  })) as FrameView[];
  const chainJob = { released: 700n } as Books['chainJob'];
  return { job: { id: JOB } as JobView, chainJob, batches, frames };
}

const broken = (found: Books): string[] =>
  checkBooks(found)
    .filter(({ holds }) => !holds)
    .map(({ what, detail }) => `${what}: ${detail}`);

const first = (found: Books): AuditedBatch => found.batches[0] as AuditedBatch;
const second = (found: Books): AuditedBatch => found.batches[1] as AuditedBatch;

const firstLook = (found: Books): Comparison => first(found).evidence?.comparisons[0] as Comparison;

describe('the books of a job', () => {
  it('hold where farm and chain agree', () => {
    expect(checkBooks(books()).map(({ what, holds }) => [what, holds])).toEqual([
      ['receipts', true],
      ['draw', true],
      ['verdicts', true],
      ['money', true],
      ['pictures', true],
    ]);
  });

  it('leave out what the chain has not paid for', () => {
    const found = books();
    second(found).onChain.outcome = 'fail';
    expect(paidBatches(found)).toHaveLength(1);
  });

  const cases: [string, (found: Books) => unknown, RegExp][] = [
    [
      'a receipt that was exchanged',
      (b) => first(b).receipts.splice(0, 1, receiptOf(8)),
      /^receipts: batch_a does not hash/,
    ],
    [
      'a receipt that is kept back',
      (b) => first(b).receipts.pop(),
      /^receipts: batch_a has 5 receipts, the chain says 6/,
    ],
    [
      'a batch of another job',
      (b) => Object.assign(second(b).onChain, { jobKey: SEED }),
      /^receipts: batch_b is of another job/,
    ],
    [
      'a batch of another node',
      (b) => Object.assign(second(b).onChain, { node: `0x${'b2'.repeat(20)}` }),
      /^receipts: batch_b holds a receipt of another node/,
    ],
    [
      'a frame that was paid twice',
      (b) => b.batches.push(batchOf('batch_c', [7])),
      /^receipts: a tile was paid twice/,
    ],
    [
      'a drawn receipt that nobody looked at',
      (b) => first(b).evidence?.comparisons.pop(),
      /^draw: batch_a: receipt \d was drawn and not looked at/,
    ],
    [
      'a crop elsewhere than it was drawn',
      (b) => Object.assign(firstLook(b), { crop: { ...firstLook(b).crop, width: 1 } }),
      /^draw: batch_a: receipt \d was drawn/,
    ],
    [
      'another seed than that on chain',
      (b) => Object.assign(second(b).evidence as Evidence, { seed: `0x${'00'.repeat(32)}` }),
      /^draw: batch_b was not judged by the seed/,
    ],
    [
      'evidence that is gone',
      (b) => Object.assign(second(b), { evidence: null }),
      /^verdicts: the evidence of batch_b \(0x5e/,
    ],
    [
      'a receipt that did not pass',
      (b) => Object.assign(firstLook(b), { outcome: 'inconclusive' }),
      /^verdicts: batch_a was paid with receipt \d at inconclusive/,
    ],
    [
      'evidence on another root',
      (b) => Object.assign(second(b).evidence as Evidence, { root: SEED }),
      /^verdicts: the evidence of batch_b speaks/,
    ],
    [
      'a batch that was paid too much',
      (b) => Object.assign(second(b).onChain, { amount: 101n }),
      /^money: batch_b was paid 101, its receipts say 100/,
    ],
    [
      'money for a batch that is not told',
      (b) => Object.assign(b.chainJob, { released: 800n }),
      /^money: the chain released 800, these batches account for 700/,
    ],
    [
      'a picture that nobody signed for',
      (b) => Object.assign(b.frames[2] as FrameView, { picture: digestBytes('another') }),
      /^pictures: frame 3 is not the picture/,
    ],
    [
      'a frame that nobody signed for',
      (b) => b.frames.push({ ...(b.frames[0] as FrameView), frame: 9 }),
      /^pictures: nobody signed for frame 9/,
    ],
  ];
  it.each(cases)('do not hold with %s', (_what, spoil, says) => {
    const found = books();
    spoil(found);
    expect(broken(found).filter((line) => says.test(line))).toHaveLength(1);
  });
});
