/** What can be checked of a job without rendering anything: that receipts, chain, verdicts and pictures agree. Pure. */
import type { ChainBatch, ChainJob } from '../../platform/chain/chain.ts';
import { jobKey } from '../../platform/chain/keys.ts';
import { drawChallenge } from '../../proof/draw.ts';
import { RECEIPTS_PER_CHALLENGE } from '../../proof/policy.ts';
import { receiptLeaf, receiptRoot, sortByLeaf } from '../../proof/receipts.ts';
import type { FrameView, JobView } from '../../protocol/job.ts';
import type { Receipt } from '../../protocol/receipt.ts';
import type { Rect } from '../../protocol/rect.ts';
import type { BatchView, Evidence } from '../../protocol/verdict.ts';

/** A batch as the farm tells it, as the chain has it, and the evidence that the chain's digest names. */
export type AuditedBatch = {
  view: BatchView;
  onChain: ChainBatch;
  /** Leaves ascending. */
  receipts: Receipt[];
  /** Null where the blob is gone or is no evidence. */
  evidence: Evidence | null;
};

export type Books = { job: JobView; chainJob: ChainJob; batches: AuditedBatch[]; frames: FrameView[] };

export type Finding = { what: string; holds: boolean; detail: string };

/** A finding for each claim, in the order that a reader wants; each names the first batch or frame it breaks on. */
export function checkBooks(books: Books): Finding[] {
  return [
    receiptsFinding(books),
    drawFinding(books),
    verdictFinding(books),
    moneyFinding(books),
    pictureFinding(books),
  ];
}

/** Those that the chain paid for: the others' tasks were rendered again. */
export function paidBatches({ batches }: Pick<Books, 'batches'>): AuditedBatch[] {
  return batches.filter(({ onChain }) => onChain.state === 'settled' && onChain.outcome === 'pass');
}

function finding(what: string, problems: readonly (string | null)[], held: string): Finding {
  const problem = problems.find((one) => one !== null);
  return problem === undefined || problem === null
    ? { what, holds: true, detail: held }
    : { what, holds: false, detail: problem };
}

function receiptsFinding(books: Books): Finding {
  const paid = paidBatches(books);
  const count = paid.reduce((sum, { receipts }) => sum + receipts.length, 0);
  const problems = paid.map(({ view, onChain, receipts }) => {
    if (onChain.jobKey !== jobKey(books.job.id)) return `${view.id} is of another job on chain`;
    if (receipts.length !== onChain.count) {
      return `${view.id} has ${receipts.length} receipts, the chain says ${onChain.count}`;
    }
    if (receiptRoot(receipts.map(receiptLeaf)) !== onChain.root)
      return `${view.id} does not hash to its root on chain`;
    const foreign = receipts.find(({ jobId, node }) => jobId !== books.job.id || node !== onChain.node);
    return foreign === undefined ? null : `${view.id} holds a receipt of another node or job`;
  });
  const paths = new Set(paid.flatMap(({ receipts }) => receipts.map(placeOf)));
  const twice = paths.size === count ? null : 'a tile was paid twice';
  return finding(
    'receipts',
    [...problems, twice],
    `${count} in ${paid.length} batches, under the roots on chain`,
  );
}

function placeOf({ kind, frame, rect: { x, y, width, height } }: Receipt): string {
  return [kind, frame, x, y, width, height].join(' ');
}

/** The seed on chain draws what the evidence says was looked at. */
function drawFinding(books: Books): Finding {
  const paid = paidBatches(books);
  const problems = paid.map(({ view, onChain, receipts, evidence }) => {
    if (onChain.seed === null || evidence === null || evidence.seed !== onChain.seed) {
      return `${view.id} was not judged by the seed on chain`;
    }
    const ordered = sortByLeaf(receipts).map(({ receipt }) => receipt);
    if (ordered.length === 0) return `${view.id} has no receipts`;
    const drawn = drawChallenge({
      ...{ seed: onChain.seed, count: ordered.length, receipts: ordered },
      challengeCount: RECEIPTS_PER_CHALLENGE,
    });
    const missed = drawn.find(({ index, crop }) => {
      const receipt = ordered[index] as Receipt;
      return !evidence.comparisons.some(
        (one) =>
          one.index === index &&
          sameRect(one.crop, crop) &&
          placeOf({ ...receipt, ...one }) === placeOf(receipt),
      );
    });
    return missed === undefined ? null : `${view.id}: receipt ${missed.index} was drawn and not looked at`;
  });
  return finding('draw', problems, 'what the seeds on chain draw is what was looked at');
}

function verdictFinding(books: Books): Finding {
  const paid = paidBatches(books);
  const problems = paid.map(({ view, onChain, evidence }) => {
    if (evidence === null) return `the evidence of ${view.id} (${onChain.evidence}) is gone`;
    const same =
      evidence.batchKey === view.batchKey && evidence.root === onChain.root && evidence.outcome === 'pass';
    if (!same) return `the evidence of ${view.id} speaks of something else`;
    const bad = evidence.comparisons.find(({ outcome }) => outcome !== 'pass');
    return bad === undefined
      ? null
      : `${view.id} was paid with receipt ${bad.index} at ${bad.outcome}: ${bad.reason}`;
  });
  const looked = paid.reduce((sum, { evidence }) => sum + (evidence?.comparisons.length ?? 0), 0);
  return finding('verdicts', problems, `${looked} crops and pictures compared; each passed`);
}

function moneyFinding(books: Books): Finding {
  const paid = paidBatches(books);
  const problems = paid.map(({ view, onChain, receipts }) => {
    const sum = receipts.reduce((total, { price }) => total + price, 0n);
    return sum === onChain.amount ? null : `${view.id} was paid ${onChain.amount}, its receipts say ${sum}`;
  });
  const total = paid.reduce((sum, { onChain }) => sum + onChain.amount, 0n);
  const released = books.chainJob.released;
  const known =
    released === total ? null : `the chain released ${released}, these batches account for ${total}`;
  return finding('money', [...problems, known], 'the chain released what these batches ask for');
}

/** What the artist got is what somebody signed for and was checked for. */
function pictureFinding(books: Books): Finding {
  const signed = new Map(
    paidBatches(books).flatMap(({ receipts }) =>
      receipts.filter(({ kind }) => kind !== 'render').map((receipt) => [receipt.frame, receipt] as const),
    ),
  );
  const done = books.frames.filter(({ state }) => state === 'done');
  const problems = done.map((frame) => {
    const receipt = signed.get(frame.frame);
    if (receipt === undefined) return `nobody signed for frame ${frame.frame}`;
    const same =
      receipt.pictureDigest === frame.picture && (receipt.extraFilesDigest ?? null) === frame.extraFiles;
    return same ? null : `frame ${frame.frame} is not the picture that was signed for`;
  });
  return finding('pictures', problems, `${done.length} delivered, each in a receipt`);
}

function sameRect(a: Rect, b: Rect): boolean {
  return a.x === b.x && a.y === b.y && a.width === b.width && a.height === b.height;
}
