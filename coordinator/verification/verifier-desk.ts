/**
 * The coordinator's side of a verification: hands out what is next, takes secrets, commitments and verdicts.
 *
 * Verifiers ask; nothing here calls one. Who is asked for what, the chain says (settlement notes it in `asked`): one
 * verifier's secret for a draw, one's word first, another's after a word that is not a pass, a committee's in the end.
 * Each renders blind and commits to its own crops. A verifier that asks has no work: what it was given before it was
 * restarted it is given again, until its word is here.
 */

import { sql } from 'kysely';
import type { RevealedSecret } from '../../platform/chain/chain.ts';
import { escrowDomain, recoverVerdictSigner } from '../../platform/chain/signing.ts';
import { pause } from '../../platform/wait.ts';
import { FarmError, isFarmError } from '../../protocol/errors.ts';
import type { Address, BatchId, Bytes32, Digest, VerifierId } from '../../protocol/ids.ts';
import { MAX_SECRETS, type NextWork, type Secrets } from '../../protocol/messages.ts';
import type { Claim, Verdict, VerifierRole } from '../../protocol/verdict.ts';
import { caughtSince } from '../canaries/recheck-word.ts';
import type { CoordinatorContext } from '../context.ts';
import type { BatchRow } from '../settlement/apply-outcome.ts';
import { chainKey } from '../settlement/lanes.ts';
import { batchReceipts, buildChallenge } from './build-challenge.ts';
import type { HandOver } from './hand-over.ts';
import { readEvidence } from './read-evidence.ts';
import { ownRow, roleIn } from './words.ts';

const LONG_POLL_MS = 15_000;

/** After a failed attempt (a crash, a missing file) the same challenge rests a moment. */
const REST_AFTER_FAILURE_MS = 2_000;

type Asked = BatchRow & { seed: Bytes32; role: VerifierRole };

export class VerifierDesk {
  readonly #context: CoordinatorContext;
  readonly #handOver: HandOver;
  readonly #onProgress: () => void;
  /** By verifier and batch: not to be handed out to it before. */
  readonly #restUntil = new Map<string, number>();
  /** Ends the question that a verifier asked before its newest one. */
  readonly #asking = new Map<VerifierId, () => void>();
  readonly #waiting = new Set<() => void>();
  /** Draws under way, by verifier, batch and secret. */
  readonly #drawing = new Map<string, Promise<void>>();

  constructor(context: CoordinatorContext, handOver: HandOver, onProgress: () => void) {
    this.#context = context;
    this.#handOver = handOver;
    this.#onProgress = onProgress;
  }

  wake(): void {
    for (const wake of [...this.#waiting]) wake();
  }

  /** Answers with work, or after a while with none. */
  async next(from: VerifierId, signal: AbortSignal): Promise<NextWork> {
    this.#asking.get(from)?.();
    const superseded = new AbortController();
    this.#asking.set(from, () => superseded.abort());
    return await this.#nextFor(from, AbortSignal.any([signal, superseded.signal]));
  }

  async #nextFor(from: VerifierId, signal: AbortSignal): Promise<NextWork> {
    const until = this.#context.clock.now() + LONG_POLL_MS;
    for (;;) {
      const nudged = new AbortController();
      const wake = (): void => nudged.abort();
      // Before looking, so that nothing that changes meanwhile is slept over.
      this.#waiting.add(wake);
      try {
        if (signal.aborted) return { kind: 'none' };
        const work = await this.#find(from);
        // Nobody listens to a question that was asked again: the newer one finds the same.
        if (signal.aborted) return { kind: 'none' };
        if (work !== null) return work;
        const leftMs = until - this.#context.clock.now();
        if (leftMs <= 0 || signal.aborted) return { kind: 'none' };
        await pause(Math.min(leftMs, REST_AFTER_FAILURE_MS), AbortSignal.any([signal, nudged.signal]));
      } finally {
        this.#waiting.delete(wake);
      }
    }
  }

  /**
   * The verifier's next secrets, in the order of its chain: with them seeds are drawn, in one transaction where it can be.
   * Given again while that goes on, they wait for the same draws.
   */
  async secrets(from: VerifierId, secrets: Secrets['secrets'], signal: AbortSignal): Promise<void> {
    const same = `${from} ${JSON.stringify(secrets)}`;
    const drawing =
      this.#drawing.get(same) ??
      this.#reveal(from, secrets, signal).finally(() => this.#drawing.delete(same));
    this.#drawing.set(same, drawing);
    await drawing;
  }

  async #reveal(from: VerifierId, secrets: Secrets['secrets'], signal: AbortSignal): Promise<void> {
    const { chain } = this.#context;
    const draws: (RevealedSecret & { batchId: BatchId })[] = [];
    for (const { batchId, preimage } of secrets)
      draws.push({ batchId, batchKey: chainKey(await this.#batch(batchId)), preimage });
    const keys = draws.map(({ batchKey }) => batchKey);
    await chain.waitUntilDrawable(keys, signal);
    const found = await chain.batches(keys, signal);
    const open = draws.filter((_, index) => found[index]?.state === 'committed');
    if (!(await this.#drawAll(open, signal))) {
      // Behind one that is refused no secret fits any more: the rest is asked for again.
      for (const draw of open) {
        await this.#draw(draw, signal);
        this.#restUntil.delete(place(from, draw.batchId));
        this.#onProgress();
      }
    }
    for (const { batchId } of secrets) this.#restUntil.delete(place(from, batchId));
    this.#onProgress();
  }

  /** Not waited for to be durable: should the chain forget the draws, settlement sees the batches undrawn again. */
  async #drawAll(open: readonly RevealedSecret[], signal: AbortSignal): Promise<boolean> {
    if (open.length < 2) return false;
    try {
      await this.#context.chain.drawMany(open, signal);
      return true;
    } catch (error) {
      if (isFarmError(error, 'CHAIN_REVERTED')) return false;
      throw error;
    }
  }

  async #draw(
    { batchId, batchKey, preimage }: RevealedSecret & { batchId: BatchId },
    signal: AbortSignal,
  ): Promise<void> {
    try {
      const { kind } = await this.#context.chain.draw(batchKey, preimage, signal);
      // Another block, and with it perhaps another drawer.
      if (kind === 'reanchored') await this.#forgetDrawer(batchId);
    } catch (error) {
      if (isFarmError(error, 'CHAIN_REVERTED')) await this.#forgetDrawer(batchId);
      throw error;
    }
  }

  /** Takes the commitment to the verifier's own pixels; only then the claim is shown. The first commitment counts. */
  async rendered(from: VerifierId, batchId: BatchId, seed: Bytes32, cropDigests: Digest[]): Promise<Claim> {
    const { db } = this.#context;
    const verifier = this.#addressOf(from);
    const batch = await this.#asked(batchId, seed, verifier);
    // Only what was handed out comes back; should the chain have drawn anew meanwhile, it is handed out again.
    if (!(await this.#handOver.isOver(batch))) {
      throw new FarmError('MESSAGE_INVALID', `what was drawn from batch ${batchId} is not all here yet`);
    }
    await db
      .insertInto('verdicts')
      .values({
        ...{ batch_id: batchId, seed, verifier, verifier_id: from, role: batch.role },
        crop_digests: JSON.stringify(cropDigests),
      })
      .onConflict((conflict) => conflict.doNothing())
      .execute();
    const { withheld } = await this.#batch(batchId);
    return { receipts: await batchReceipts(this.#context, batchId), withheld: withheld ?? [] };
  }

  /** Takes a signed verdict, if its evidence is stored and speaks of this batch and seed. The first one counts. */
  async verdict(from: VerifierId, verdict: Verdict): Promise<void> {
    const { db, clock, events, log } = this.#context;
    const verifier = this.#addressOf(from);
    const batch = await this.#asked(verdict.batchId, verdict.seed, verifier);
    const own = await ownRow(db, batch, verifier);
    if (own === undefined)
      throw new FarmError('MESSAGE_INVALID', 'a verdict before a commitment to own pixels');
    if (own.signature !== null) {
      if (own.signature === verdict.signature) return;
      throw new FarmError('MESSAGE_INVALID', `${from} has given its word on batch ${batch.id} already`);
    }
    this.#requireSignature(batch, verifier, verdict);
    const reason = await this.#readEvidence(batch, verdict);
    const { outcome, evidence, signature } = verdict;
    await db.transaction().execute(async (tx) => {
      const given = await tx
        .updateTable('verdicts')
        .set({ outcome, evidence, signature, reason, role: batch.role })
        .where('batch_id', '=', batch.id)
        .where('seed', '=', batch.seed)
        .where('verifier', '=', verifier)
        .where('signature', 'is', null)
        .returning('seq')
        .executeTakeFirst();
      if (given === undefined) return;
      await events.add(
        tx,
        batch.job_id,
        {
          type: 'batch.attested',
          ...{ batchId: batch.id, nodeId: batch.node_id, verifier: from, role: batch.role, outcome, reason },
        },
        new Date(clock.now()),
      );
    });
    this.#restUntil.delete(place(from, batch.id));
    const { id: batchId, node_id: nodeId, role } = batch;
    log.info({ batchId, nodeId, verifier: from, role, outcome, reason }, 'verdict');
    this.#onProgress();
  }

  /** The verifier could not work: never the node's fault; it tries again. */
  async failed(from: VerifierId, batchId: BatchId, message: string): Promise<void> {
    this.#context.log.warn(
      { batchId, verifier: from, reason: message },
      'a verification could not be done; trying again',
    );
    this.#restUntil.set(place(from, batchId), this.#context.clock.now() + REST_AFTER_FAILURE_MS);
    await this.#forgetDrawer(batchId);
  }

  async #find(from: VerifierId): Promise<NextWork | null> {
    const { db, clock } = this.#context;
    const verifier = this.#addressOf(from);
    const rows = await db
      .selectFrom('batches')
      .selectAll()
      .where('state', 'in', ['committed', 'drawn', 'second', 'committee'])
      .where(sql<boolean>`asked @> ${JSON.stringify([verifier])}::jsonb`)
      // Where its word is here it waits for its transaction.
      .where(({ not, exists, selectFrom }) =>
        not(
          exists(
            selectFrom('verdicts')
              .select('seq')
              .whereRef('batch_id', '=', 'batches.id')
              .whereRef('verdicts.seed', '=', 'batches.seed')
              .where('verifier', '=', verifier)
              .where('signature', 'is not', null),
          ),
        ),
      )
      .orderBy('seq')
      .execute();
    const now = clock.now();
    const silenced = await this.#isSilenced(verifier);
    const ready = ({ id }: BatchRow): boolean => (this.#restUntil.get(place(from, id)) ?? 0) <= now;
    for (const batch of rows.filter(ready)) {
      if (batch.state === 'committed') {
        const undrawn = rows.filter((row) => row.state === 'committed' && ready(row)).slice(0, MAX_SECRETS);
        // Should a draw fail, the batches behind these get their turn first.
        for (const { id } of undrawn) this.#restUntil.set(place(from, id), now + REST_AFTER_FAILURE_MS);
        const batches = undrawn.map((row) => ({ batchId: row.id, batchKey: chainKey(row) }));
        return { kind: 'secrets', batches };
      }
      if (batch.seed === null || silenced) continue;
      // Not to be waited for: a node that is gone would hold up the checks of all others.
      if (!(await this.#handOver.isOver(batch))) continue;
      return { kind: 'challenge', challenge: await buildChallenge(this.#context, batch) };
    }
    return null;
  }

  /**
   * Caught by a canary not long ago: the chain replaces it where its word is due. Its secrets are asked for all the same,
   * since it fixed them beforehand. A farm that has no other verifier is left with this one, and with disputes.
   */
  async #isSilenced(verifier: Address): Promise<boolean> {
    const { db, clock, config } = this.#context;
    const caught = await caughtSince(db, clock.now() - config.quarantineMs);
    return caught.has(verifier) && config.verifiers.some(({ address }) => !caught.has(address));
  }

  #addressOf(from: VerifierId): Address {
    const known = this.#context.config.verifiers.find(({ id }) => id === from);
    if (known === undefined) throw new FarmError('UNAUTHORIZED', `${from} is no verifier of this farm`);
    return known.address;
  }

  async #batch(batchId: BatchId): Promise<BatchRow> {
    const { db } = this.#context;
    const row = await db.selectFrom('batches').selectAll().where('id', '=', batchId).executeTakeFirst();
    if (row === undefined) throw new FarmError('MESSAGE_INVALID', `there is no batch ${batchId}`);
    return row;
  }

  /** The batch, if the chain waits for this verifier's word on this draw of it. */
  async #asked(batchId: BatchId, seed: Bytes32, verifier: Address): Promise<Asked> {
    const batch = await this.#batch(batchId);
    const role = roleIn(batch.state);
    if (role === null || batch.seed !== seed || !batch.asked.includes(verifier)) {
      throw new FarmError('MESSAGE_INVALID', `batch ${batchId} does not wait for this verdict`);
    }
    return { ...batch, seed, role };
  }

  /** Whose secret is needed is looked up again: a chain that was restarted may have other blocks. */
  async #forgetDrawer(batchId: BatchId): Promise<void> {
    await this.#context.db
      .updateTable('batches')
      .set({ asked: '[]' })
      .where('id', '=', batchId)
      .where('state', '=', 'committed')
      .execute();
  }

  #requireSignature(batch: Asked, verifier: Address, { outcome, evidence, signature }: Verdict): void {
    const { chain } = this.#context;
    const terms = {
      ...{ batchKey: chainKey(batch), seed: batch.seed, outcome },
      evidence: `0x${evidence}` as Bytes32,
    };
    const domain = escrowDomain(chain.chainId, chain.escrowAddress);
    if (recoverVerdictSigner(domain, terms, signature) !== verifier) {
      throw new FarmError('UNAUTHORIZED', 'the verdict is not signed by the verifier that sends it');
    }
  }

  async #readEvidence(batch: Asked, verdict: Verdict): Promise<string> {
    const evidence = await readEvidence(this.#context.blobs, verdict.evidence);
    const { batchId, batchKey, seed, root, outcome, comparisons } = evidence;
    const same = batchId === batch.id && batchKey === batch.chain_key && root === batch.root;
    if (!same || seed !== batch.seed || outcome !== verdict.outcome) {
      throw new FarmError('MESSAGE_INVALID', 'the evidence speaks of another batch, seed or outcome');
    }
    return comparisons.find((comparison) => comparison.outcome === outcome)?.reason ?? '';
  }
}

const place = (verifier: VerifierId, batchId: BatchId): string => `${verifier} ${batchId}`;
