/** Tells nodes of their failed batches while these can be appealed. Nodes ask and wait here; nothing here calls one. */
import type { ChainBatch } from '../../platform/chain/chain.ts';
import { Together } from '../../platform/together.ts';
import { pause } from '../../platform/wait.ts';
import type { NodeId } from '../../protocol/ids.ts';
import { type FailedBatch, MAX_FINDINGS } from '../../protocol/messages.ts';
import type { CoordinatorContext } from '../context.ts';
import { appealLeftMs, isAppealable } from '../settlement/appealable.ts';
import type { BatchRow } from '../settlement/apply-outcome.ts';
import { chainKey } from '../settlement/lanes.ts';
import { batchReceipts, buildChallenge } from './build-challenge.ts';
import { readEvidence } from './read-evidence.ts';
import { wordsOn } from './words.ts';

/** Shorter than what a node waits for an answer. */
const LONG_POLL_MS = 15_000;

/** Nodes whose question is answered by one look; more take another one. */
const MAX_LOOKED_UP = 4_096;

/** A finding's words are a verifier's, and may be a liar's. */
const MAX_REASON = 1_000;

export class AppealDesk {
  readonly #context: CoordinatorContext;
  readonly #waiting = new Set<() => void>();
  readonly #looks: Together<NodeId, FailedBatch | null>;

  constructor(context: CoordinatorContext) {
    this.#context = context;
    this.#looks = new Together(async (ids) => {
      const found = await this.#look(ids);
      return ids.map((id) => ({ value: found.get(id) ?? null }));
    }, MAX_LOOKED_UP);
  }

  /** Something may have been judged: everyone who waits looks again. */
  wake(): void {
    for (const wake of [...this.#waiting]) wake();
  }

  /** The oldest failed batch of this node that waits for its answer; after a while, none. */
  async answer(nodeId: NodeId, signal: AbortSignal): Promise<FailedBatch | null> {
    const until = performance.now() + LONG_POLL_MS;
    for (;;) {
      const sleeping = new AbortController();
      const wake = (): void => sleeping.abort();
      // Before looking, so that nothing that changes meanwhile is slept over.
      this.#waiting.add(wake);
      try {
        const found = await this.#looks.run(nodeId);
        const leftMs = until - performance.now();
        if (found !== null || leftMs <= 0 || signal.aborted) return found;
        await pause(leftMs, AbortSignal.any([signal, sleeping.signal]));
      } finally {
        this.#waiting.delete(wake);
      }
    }
  }

  /** One look for all that ask: most often there is no such batch on the whole farm. */
  async #look(ids: readonly NodeId[]): Promise<Map<NodeId, FailedBatch>> {
    const { db, chain } = this.#context;
    const signal = AbortSignal.timeout(LONG_POLL_MS);
    const found = new Map<NodeId, FailedBatch>();
    const rows = await db
      .selectFrom('batches')
      .selectAll()
      .where('state', '=', 'judged')
      .where('outcome', '=', 'fail')
      .where(({ not, exists, selectFrom }) =>
        not(
          exists(
            selectFrom('appeals')
              .select('seed')
              .whereRef('appeals.batch_id', '=', 'batches.id')
              .whereRef('appeals.seed', '=', 'batches.seed'),
          ),
        ),
      )
      .orderBy('seq')
      .execute();
    const asking = new Set(ids);
    const own = rows.filter((row) => asking.has(row.node_id));
    if (own.length === 0) return found;
    const onChain = await chain.batches(own.map(chainKey), signal);
    const active = await chain.verifiers(signal);
    for (const [index, batch] of own.entries()) {
      const judged = onChain[index];
      if (judged === undefined || found.has(batch.node_id)) continue;
      if (judged.seed !== batch.seed || !isAppealable(judged, active)) continue;
      const leftMs = await this.#leftMs(batch, judged, signal);
      if (leftMs <= 0) continue;
      const described = await this.#describe(batch, judged, leftMs, signal).catch((error: unknown) => {
        // One batch's trouble is not that of every node that waits here.
        this.#context.log.error(
          { err: error, batchId: batch.id },
          'a node could not be told of a failed batch',
        );
        return null;
      });
      if (described !== null) found.set(batch.node_id, described);
    }
    return found;
  }

  async #leftMs(batch: BatchRow, { since }: ChainBatch, signal: AbortSignal): Promise<number> {
    const { chain, clock, config } = this.#context;
    const { disputeWindowS } = await chain.terms(signal);
    const ms = clock.now();
    const judged = { atMs: batch.judged_at?.getTime() ?? 0, sinceS: since };
    const now = { ms, chainS: Math.max(ms / 1_000, await chain.timeS(signal)) };
    return Math.floor(appealLeftMs(judged, now, { appealMs: config.appealMs, disputeWindowS }));
  }

  async #describe(
    batch: BatchRow,
    { operator }: ChainBatch,
    leftMs: number,
    signal: AbortSignal,
  ): Promise<FailedBatch> {
    const { chain } = this.#context;
    const { disputeBond } = await chain.terms(signal);
    return {
      challenge: await buildChallenge(this.#context, batch),
      receipts: await batchReceipts(this.#context, batch.id),
      withheld: batch.withheld ?? [],
      findings: await this.#findings(batch),
      bond: disputeBond,
      permitNonce: await chain.permitNonce(operator, signal),
      leftMs,
    };
  }

  /** What those who failed it found; of evidence that cannot be read, nothing. */
  async #findings(batch: BatchRow): Promise<FailedBatch['findings']> {
    const { db, blobs } = this.#context;
    const words = (await wordsOn(db, [batch.id])).get(batch.id) ?? [];
    const findings: FailedBatch['findings'] = [];
    for (const word of words.filter(({ seed, outcome }) => seed === batch.seed && outcome === 'fail')) {
      const evidence = await readEvidence(blobs, word.evidence).catch(() => null);
      for (const { outcome, index, frame, crop, reason } of evidence?.comparisons ?? []) {
        if (outcome !== 'fail') continue;
        const verifier = word.verifier_id;
        findings.push({ verifier, index, frame, crop, reason: reason.slice(0, MAX_REASON) });
      }
    }
    return findings.slice(0, MAX_FINDINGS);
  }
}
