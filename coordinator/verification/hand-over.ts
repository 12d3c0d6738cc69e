/**
 * EXRs of whole frames stay with the node that rendered them until a check draws them (design, section 5, "Bytes").
 * The node asks what is wanted and waits here for the answer; nothing here calls a node.
 */
import { pause } from '../../platform/wait.ts';
import { assertNever } from '../../protocol/errors.ts';
import type { Digest, NodeId } from '../../protocol/ids.ts';
import { KEPT_ANSWER_MS, type KeptReply } from '../../protocol/messages.ts';
import type { Receipt } from '../../protocol/receipt.ts';
import type { CoordinatorContext } from '../context.ts';
import type { BatchRow } from '../settlement/apply-outcome.ts';
import { receiptOf } from '../settlement/receipts.ts';
import { drawnReceipts } from './build-challenge.ts';

/** Shorter than what a node waits for an answer. */
const LONG_POLL_MS = 15_000;

export class HandOver {
  readonly #context: CoordinatorContext;
  readonly #onArrival: () => void;
  readonly #deafUntil: number;
  readonly #waiting = new Set<() => void>();

  /**
   * `onArrival`: a node may have delivered what a check waits for. `deafUntil`: what {@link graceHandOvers} gave at the
   * start.
   */
  constructor(context: CoordinatorContext, onArrival: () => void, deafUntil = 0) {
    this.#context = context;
    this.#onArrival = onArrival;
    this.#deafUntil = deafUntil;
  }

  /** Something may have been drawn, settled or delivered: everyone who waits looks again. */
  wake(): void {
    for (const wake of [...this.#waiting]) wake();
  }

  /**
   * What the node is to deliver, and what of `kept` it can forget; after a while, nothing of either. It may be asked
   * for what `kept` does not name yet: it goes on rendering while its question waits here.
   */
  async answer(nodeId: NodeId, kept: readonly Digest[], signal: AbortSignal): Promise<KeptReply> {
    // It may have delivered something since it asked last.
    this.#onArrival();
    const until = performance.now() + LONG_POLL_MS;
    for (;;) {
      const sleeping = new AbortController();
      const wake = (): void => sleeping.abort();
      // Before looking, so that nothing that changes meanwhile is slept over.
      this.#waiting.add(wake);
      try {
        const found = await this.#look(nodeId, kept);
        const leftMs = until - performance.now();
        if (found.wanted.length + found.settled.length > 0 || leftMs <= 0 || signal.aborted) return found;
        await pause(leftMs, AbortSignal.any([signal, sleeping.signal]));
      } finally {
        this.#waiting.delete(wake);
      }
    }
  }

  /**
   * Whether everything that was drawn from the batch is here, or the node has had its time. Only a new draw or a new
   * start of the coordinator ({@link graceHandOvers}) takes that back. What is missing when the time is up is written
   * down, and stays missing for every verifier of this draw.
   */
  async isOver(batch: BatchRow): Promise<boolean> {
    if (batch.kind !== 'frame' || batch.withheld !== null) return true;
    const missing = await this.#missing(batch);
    if (missing.length === 0) return true;
    if (!this.#isLate(batch)) return false;
    await this.#context.db
      .updateTable('batches')
      .set({ withheld: JSON.stringify(missing) })
      .where('id', '=', batch.id)
      .where('seed', '=', batch.seed)
      .where('withheld', 'is', null)
      .execute();
    return true;
  }

  async #look(nodeId: NodeId, kept: readonly Digest[]): Promise<KeptReply> {
    const batches = await this.#context.db
      .selectFrom('batches')
      .selectAll()
      .where('node_id', '=', nodeId)
      .where('kind', '=', 'frame')
      .where('state', '=', 'drawn')
      .where('withheld', 'is', null)
      .execute();
    const wanted: Digest[] = [];
    for (const batch of batches) wanted.push(...(await this.#missing(batch)));
    return { wanted, settled: await this.#settled(nodeId, kept) };
  }

  async #settled(nodeId: NodeId, kept: readonly Digest[]): Promise<Digest[]> {
    if (kept.length === 0) return [];
    const rows = await this.#context.db
      .selectFrom('tasks')
      .select(['id', 'receipt'])
      .where('node_id', '=', nodeId)
      .where('kind', '=', 'frame')
      .where('state', '=', 'delivered')
      .execute();
    const open = new Set(rows.map((row) => receiptOf(row).exrDigest));
    return kept.filter((digest) => !open.has(digest));
  }

  async #missing(batch: BatchRow): Promise<Digest[]> {
    const missing: Digest[] = [];
    for (const { receipt } of await drawnReceipts(this.#context, batch)) {
      if (!(await this.#context.blobs.has(receipt.exrDigest))) missing.push(receipt.exrDigest);
    }
    return missing;
  }

  #isLate(batch: BatchRow): boolean {
    const { clock, config } = this.#context;
    if (batch.drawn_at === null) return false;
    return clock.now() - Math.max(batch.drawn_at.getTime(), this.#deafUntil) > config.handOverMs;
  }
}

/**
 * After a start: no node could hand anything over while the coordinator was away. Each has its full time once more, and it
 * begins when the node can have heard: one that asked the coordinator of before waits for an answer that never comes.
 * Returns until when that may be; 0 where nobody can have asked.
 */
export async function graceHandOvers({ db, clock }: CoordinatorContext): Promise<number> {
  const before = await db.selectFrom('batches').select('id').limit(1).executeTakeFirst();
  await db
    .updateTable('batches')
    .set({ drawn_at: new Date(clock.now()), withheld: null })
    .where('kind', '=', 'frame')
    .where('state', '=', 'drawn')
    // What somebody was shown to be missing stays so.
    .where(({ not, exists, selectFrom }) =>
      not(
        exists(
          selectFrom('verdicts')
            .select('seq')
            .whereRef('batch_id', '=', 'batches.id')
            .whereRef('verdicts.seed', '=', 'batches.seed'),
        ),
      ),
    )
    .execute();
  return before === undefined ? 0 : clock.now() + KEPT_ANSWER_MS;
}

/** The files that must have arrived before a task counts as done. */
export function filesToDeliver(receipt: Receipt, exr: boolean): (Digest | null)[] {
  switch (receipt.kind) {
    case 'render':
      return [receipt.exrDigest];
    case 'finish':
    case 'frame':
      return exr ? [receipt.pictureDigest, receipt.exrDigest] : [receipt.pictureDigest];
    default:
      return assertNever(receipt.kind);
  }
}
