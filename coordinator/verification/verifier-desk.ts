/**
 * The coordinator's side of a verification: hands out what is next, takes secrets, commitments and verdicts.
 *
 * The verifier asks; nothing here calls it. Who works on what is only a hint kept in memory, so that one challenge is
 * not rendered twice at a time: when a verifier dies the hint runs out, and the database still says what is open.
 */

import { batchKey } from '../../platform/chain/keys.ts';
import { escrowDomain, recoverVerdictSigner } from '../../platform/chain/signing.ts';
import { aborted, pause } from '../../platform/wait.ts';
import { FarmError } from '../../protocol/errors.ts';
import {
  addressSchema,
  type BatchId,
  type Bytes32,
  type Digest,
  type VerifierId,
} from '../../protocol/ids.ts';
import type { NextWork } from '../../protocol/messages.ts';
import type { Claim, Verdict } from '../../protocol/verdict.ts';
import type { CoordinatorContext } from '../context.ts';
import type { BatchRow } from '../settlement/apply-outcome.ts';
import { batchReceipts, buildChallenge } from './build-challenge.ts';
import type { HandOver } from './hand-over.ts';
import { readEvidence } from './read-evidence.ts';

const LONG_POLL_MS = 15_000;

/** A verifier that has said nothing for this long has died; a challenge takes seconds to a few minutes. */
const ASSIGNED_FOR_MS = 10 * 60_000;

/** After a failed attempt (a crash, a missing file) the same challenge rests a moment. */
const REST_AFTER_FAILURE_MS = 2_000;

export class VerifierDesk {
  readonly #context: CoordinatorContext;
  readonly #handOver: HandOver;
  readonly #onProgress: () => void;
  readonly #restUntil = new Map<BatchId, number>();
  /** Who has which challenge now. */
  readonly #assigned = new Map<BatchId, VerifierId>();
  /** Ends the question that a verifier asked before its newest one. */
  readonly #asking = new Map<VerifierId, () => void>();
  #nudge: (() => void) | undefined;

  constructor(context: CoordinatorContext, handOver: HandOver, onProgress: () => void) {
    this.#context = context;
    this.#handOver = handOver;
    this.#onProgress = onProgress;
  }

  wake(): void {
    this.#nudge?.();
  }

  /** Answers with work, or after a while with none. */
  async next(from: VerifierId, signal: AbortSignal): Promise<NextWork> {
    this.#asking.get(from)?.();
    const superseded = new AbortController();
    this.#asking.set(from, () => superseded.abort());
    // It asks for work, so it has none: what it was given before it was restarted is free again.
    for (const [batchId, verifier] of this.#assigned) {
      if (verifier !== from) continue;
      this.#assigned.delete(batchId);
      if ((this.#restUntil.get(batchId) ?? 0) > this.#context.clock.now() + REST_AFTER_FAILURE_MS)
        this.#restUntil.delete(batchId);
    }
    return await this.#nextFor(from, AbortSignal.any([signal, superseded.signal]));
  }

  async #nextFor(from: VerifierId, signal: AbortSignal): Promise<NextWork> {
    const until = this.#context.clock.now() + LONG_POLL_MS;
    for (;;) {
      const nudged = new Promise<void>((resolve) => {
        this.#nudge = resolve;
      });
      if (signal.aborted) return { kind: 'none' };
      const work = await this.#find(from);
      if (work !== null && signal.aborted) {
        // Nobody listens any more: whoever asks next is to have it.
        if (work.kind === 'challenge') this.#free(work.challenge.batchId);
        return { kind: 'none' };
      }
      if (work !== null) return work;
      const leftMs = until - this.#context.clock.now();
      if (leftMs <= 0 || signal.aborted) return { kind: 'none' };
      await Promise.race([nudged, pause(Math.min(leftMs, REST_AFTER_FAILURE_MS), signal), aborted(signal)]);
    }
  }

  /** The verifier's next secret: with it the seed is drawn on chain. */
  async secret(batchId: BatchId, preimage: Bytes32, signal: AbortSignal): Promise<void> {
    const { chain } = this.#context;
    const key = batchKey(batchId);
    for (;;) {
      await chain.waitUntilDrawable(key, signal);
      if ((await chain.batch(key, signal)).state !== 'committed') break;
      // Not waited for to be durable: should the chain forget the draw, settlement sees the batch undrawn again.
      if ((await chain.draw(key, preimage, signal)).kind === 'drawn') break;
    }
    this.#restUntil.delete(batchId);
    this.#onProgress();
  }

  /** Takes the commitment to the verifier's own pixels; only then the claim is shown. The first commitment counts. */
  async rendered(batchId: BatchId, cropDigests: Digest[]): Promise<Claim> {
    const { db } = this.#context;
    const batch = await this.#drawn(batchId);
    // Only what was handed out comes back; should the chain have drawn anew meanwhile, it is handed out again.
    if (!(await this.#handOver.isOver(batch))) {
      throw new FarmError('MESSAGE_INVALID', `what was drawn from batch ${batchId} is not all here yet`);
    }
    if (batch.crop_digests === null) {
      await db
        .updateTable('batches')
        .set({ crop_digests: JSON.stringify(cropDigests) })
        .where('id', '=', batchId)
        .where('crop_digests', 'is', null)
        .execute();
    }
    return { receipts: await batchReceipts(this.#context, batchId) };
  }

  /** Takes a signed verdict, if its evidence is stored and speaks of this batch and seed. */
  async verdict(from: VerifierId, verdict: Verdict): Promise<void> {
    const { db, clock, events, log } = this.#context;
    const batch = await this.#drawn(verdict.batchId);
    if (batch.crop_digests === null)
      throw new FarmError('MESSAGE_INVALID', 'a verdict before a commitment to own pixels');
    this.#requireSignature(verdict);
    const reason = await this.#readEvidence(batch, verdict);
    await db.transaction().execute(async (tx) => {
      const judged = await tx
        .updateTable('batches')
        .set({
          state: 'judged',
          outcome: verdict.outcome,
          evidence: verdict.evidence,
          verdict_signature: verdict.signature,
        })
        .where('id', '=', batch.id)
        .where('state', '=', 'drawn')
        // While the evidence was read the chain may have forgotten the draw and drawn anew.
        .where('seed', '=', batch.seed)
        .returning('id')
        .executeTakeFirst();
      if (judged === undefined) {
        throw new FarmError('MESSAGE_INVALID', `batch ${batch.id} waits for a verdict on another seed`);
      }
      await events.add(
        tx,
        batch.job_id,
        { type: 'batch.judged', batchId: batch.id, nodeId: batch.node_id, outcome: verdict.outcome, reason },
        new Date(clock.now()),
      );
    });
    this.#restUntil.delete(batch.id);
    log.info(
      { batchId: batch.id, nodeId: batch.node_id, verifier: from, outcome: verdict.outcome, reason },
      'verdict',
    );
    this.#onProgress();
  }

  /** The verifier could not work: never the node's fault; somebody tries again. */
  failed(from: VerifierId, batchId: BatchId, message: string): void {
    this.#context.log.warn(
      { batchId, verifier: from, reason: message },
      'a verification could not be done; trying again',
    );
    this.#restUntil.set(batchId, this.#context.clock.now() + REST_AFTER_FAILURE_MS);
  }

  async #find(from: VerifierId): Promise<NextWork | null> {
    const { db, clock } = this.#context;
    const rows = await db
      .selectFrom('batches')
      .selectAll()
      .where('state', 'in', ['committed', 'drawn'])
      .orderBy('seq')
      .execute();
    const now = clock.now();
    for (const batch of rows) {
      if ((this.#restUntil.get(batch.id) ?? 0) > now) continue;
      // Secrets are revealed one at a time: each has to be the preimage of the head that the last draw left.
      if (batch.state === 'committed') {
        // Should the draw fail, the batches behind this one get their turn first.
        this.#restUntil.set(batch.id, now + REST_AFTER_FAILURE_MS);
        return { kind: 'secret', batchId: batch.id };
      }
      // Not to be waited for: a node that is gone would hold up the checks of all others.
      if (!(await this.#handOver.isOver(batch))) continue;
      // Another verifier may have taken it while that was looked up.
      if ((this.#restUntil.get(batch.id) ?? 0) > now) continue;
      this.#restUntil.set(batch.id, now + ASSIGNED_FOR_MS);
      this.#assigned.set(batch.id, from);
      return { kind: 'challenge', challenge: await buildChallenge(this.#context, batch) };
    }
    return null;
  }

  #free(batchId: BatchId): void {
    this.#assigned.delete(batchId);
    this.#restUntil.delete(batchId);
  }

  async #drawn(batchId: BatchId): Promise<BatchRow> {
    const row = await this.#context.db
      .selectFrom('batches')
      .selectAll()
      .where('id', '=', batchId)
      .executeTakeFirst();
    if (row === undefined || row.state !== 'drawn') {
      throw new FarmError('MESSAGE_INVALID', `batch ${batchId} does not wait for a verdict`);
    }
    return row;
  }

  #requireSignature(verdict: Verdict): void {
    const { chain, config } = this.#context;
    const terms = {
      batchKey: batchKey(verdict.batchId),
      outcome: verdict.outcome,
      evidence: `0x${verdict.evidence}` as Bytes32,
    };
    const signer = recoverVerdictSigner(
      escrowDomain(chain.chainId, chain.escrowAddress),
      terms,
      verdict.signature,
    );
    if (signer !== addressSchema.parse(config.verifierAddress)) {
      throw new FarmError('UNAUTHORIZED', 'the verdict is not signed by the verifier of this farm');
    }
  }

  async #readEvidence(batch: BatchRow, verdict: Verdict): Promise<string> {
    const evidence = await readEvidence(this.#context.blobs, verdict.evidence);
    const { batchId, seed, root, outcome, comparisons } = evidence;
    if (batchId !== batch.id || seed !== batch.seed || root !== batch.root || outcome !== verdict.outcome) {
      throw new FarmError('MESSAGE_INVALID', 'the evidence speaks of another batch, seed or outcome');
    }
    return comparisons.find((comparison) => comparison.outcome === outcome)?.reason ?? '';
  }
}
