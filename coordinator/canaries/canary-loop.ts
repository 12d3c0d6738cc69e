/**
 * Plants canaries beside real batches, and looks again where a verifier says of one what is not known of it
 * (docs/decisions/canaries.md). One thing at a time; what cannot be planted is left out, what was said is looked at until
 * that is done.
 */
import { randomInt } from 'node:crypto';
import { join } from 'node:path';
import { sql } from 'kysely';
import { EMBEDDED_CHAIN_ID } from '../../platform/chain/embedded.ts';
import { runtimeFor } from '../../platform/checking/runtime-for.ts';
import { isFarmError, toFarmError } from '../../protocol/errors.ts';
import type { Address, BatchId } from '../../protocol/ids.ts';
import type { CoordinatorContext } from '../context.ts';
import { Rounds } from '../rounds.ts';
import type { BatchRow } from '../settlement/apply-outcome.ts';
import { wholeSpec } from '../splitting/frame-runs.ts';
import { batchReceipts } from '../verification/build-challenge.ts';
import { canaryNode } from './canary-node.ts';
import { makeCanary } from './make-canary.ts';
import { planCanary, type Random, rollCanary } from './plan-canary.ts';
import { plantCanary } from './plant-canary.ts';
import { type Doubtful, lookAgain, nextDoubtful, noteRecheck } from './recheck-word.ts';

/** Rendering four tiles takes less; a canary that takes so long would come when its job is forgotten. */
const TIMEOUT_MS = 15 * 60_000;

/** Beside a batch that is older nothing is planted any more: it would stand alone. */
const FRESH_MS = 3_600_000;

/** The last to run: nobody waits for it. */
const NICENESS = 19;

/** After so many failures a word is let stand: the farm could not look itself. */
const MAX_TRIES = 3;

/** As many different numbers as a float between 0 and 1 tells apart, of what `randomInt` gives. */
const RANDOM_RANGE = 2 ** 48 - 1;

export class CanaryLoop {
  readonly #context: CoordinatorContext;
  readonly #onProgress: () => void;
  readonly #random: Random;
  readonly #failures = new Map<string, number>();
  /** Caught verifiers whose stake was looked at since. */
  readonly #lookedAt = new Set<string>();
  #made = 0;
  readonly #rounds = new Rounds();

  /** `onProgress`: a batch was made, or can be moved on. */
  constructor(
    context: CoordinatorContext,
    onProgress: () => void,
    random: Random = () => randomInt(RANDOM_RANGE) / RANDOM_RANGE,
  ) {
    this.#context = context;
    this.#onProgress = onProgress;
    this.#random = random;
  }

  wake(): void {
    this.#rounds.wake();
  }

  async run(signal: AbortSignal): Promise<void> {
    const { log, chain, config } = this.#context;
    if (config.canaryShare > 0 && chain.chainId !== EMBEDDED_CHAIN_ID)
      log.warn('canaries are planted on the embedded chain only: elsewhere they would cost real money');
    await this.#rounds.run(
      () => this.round(signal),
      {
        onMoved: this.#onProgress,
        log,
        trouble: 'canaries could not go on; trying again',
      },
      signal,
    );
  }

  /** The next thing to do; false where there is none. */
  async round(signal: AbortSignal): Promise<boolean> {
    const doubtful = await nextDoubtful(this.#context.db);
    if (doubtful !== undefined) return await this.#look(doubtful, signal);
    if (await this.#strike(signal)) return true;
    const beside = await this.#roll();
    if (beside === null) return false;
    await this.#plant(beside.batch, beside.kind === 'bad', signal).catch((error: unknown) => {
      if (signal.aborted) throw error;
      this.#context.log.warn({ err: error, batchId: beside.batch.id }, 'no canary was planted');
    });
    return true;
  }

  async #look(doubtful: Doubtful, signal: AbortSignal): Promise<boolean> {
    const { batch, verifierId, outcome } = doubtful;
    try {
      const own = await lookAgain(this.#context, batch, this.#options(signal));
      const contradicted = own.outcome !== 'inconclusive' && own.outcome !== outcome;
      const caught = contradicted ? `the farm finds ${own.outcome}: ${own.reason}` : null;
      await noteRecheck(this.#context, doubtful, caught);
    } catch (error) {
      if (signal.aborted) throw error;
      const failures = (this.#failures.get(batch.id) ?? 0) + 1;
      this.#failures.set(batch.id, failures);
      this.#context.log.warn(
        { err: toFarmError(error), batchId: batch.id, verifier: verifierId },
        'a word on a canary could not be looked at',
      );
      if (failures < MAX_TRIES) return false;
      await noteRecheck(this.#context, doubtful, null);
    }
    return true;
  }

  /** Takes caught verifiers off the chain's list whose stake no longer reaches, which anybody may. */
  async #strike(signal: AbortSignal): Promise<boolean> {
    const { chain, db, log } = this.#context;
    const { rows } = await sql<{ verifier: Address; batch: BatchId }>`
      select v.verifier, v.batch_id as batch from verdicts v join batches b on b.id = v.batch_id
      where v.caught is not null and b.state = 'settled'`.execute(db);
    const fresh = rows.filter(({ verifier, batch }) => !this.#lookedAt.has(`${verifier} ${batch}`));
    if (fresh.length === 0) return false;
    const active = await chain.verifiers(signal);
    let struck = false;
    for (const verifier of new Set(fresh.map((one) => one.verifier))) {
      if (!active.includes(verifier)) continue;
      try {
        await chain.removeVerifier(verifier, signal);
        log.warn({ verifier }, 'a verifier was caught too often for its stake, and is off the list');
        struck = true;
      } catch (error) {
        // Its stake still reaches: only its operator may take it out.
        if (!isFarmError(error, 'CHAIN_REVERTED')) throw error;
      }
    }
    for (const { verifier, batch } of fresh) this.#lookedAt.add(`${verifier} ${batch}`);
    return struck;
  }

  /** Draws for the next batch that came on chain, once for each however many coordinators there are. */
  async #roll(): Promise<{ batch: BatchRow; kind: 'bad' | 'good' } | null> {
    const { db, clock, config, chain } = this.#context;
    if (config.canaryShare === 0 || chain.chainId !== EMBEDDED_CHAIN_ID) return null;
    for (;;) {
      const { rows } = await sql<{ id: BatchId }>`
        update batches set rolled = true where id = (
          select id from batches
          where not rolled and opened_at > ${new Date(clock.now() - FRESH_MS)} and kind <> 'finish'
            and state not in ('open', 'closed') and receipts > 0
          order by opened_at limit 1) and not rolled returning id`.execute(db);
      const id = rows[0]?.id;
      if (id === undefined) return null;
      const kind = rollCanary(config.canaryShare, this.#random);
      if (kind === null) continue;
      const batch = await db.selectFrom('batches').selectAll().where('id', '=', id).executeTakeFirstOrThrow();
      return { batch, kind };
    }
  }

  async #plant(beside: BatchRow, bad: boolean, signal: AbortSignal): Promise<void> {
    const { db, engines, scenes, blobs, config, log } = this.#context;
    const receipts = await batchReceipts(this.#context, beside.id);
    const [first] = receipts;
    if (first === undefined) return;
    const job = await db
      .selectFrom('jobs')
      .innerJoin('scenes', 'scenes.digest', 'jobs.scene')
      .selectAll('jobs')
      .select('scenes.manifest')
      .where('jobs.id', '=', beside.job_id)
      .executeTakeFirstOrThrow();
    const tasks = planCanary(receipts, wholeSpec(job), bad, this.#random);
    if (tasks.length === 0) return;
    // Of the same class as the batch beside it, or it would be told by that.
    const runtime = runtimeFor(engines, first);
    const options = this.#options(signal);
    const folder = await scenes.folderOf(job.scene, job.manifest, signal);
    const made = await makeCanary(tasks, job.spec, {
      ...{ runtime, folder, blobs, threads: config.threads, ...options },
      workFolder: join(config.dataFolder, 'work', `canary-${++this.#made}`),
    });
    const node = await canaryNode(this.#context, runtime.engine, signal);
    const planting = { beside, job, bad, node, engine: runtime.engine, tasks: made };
    const batchId = await plantCanary(this.#context, planting, signal);
    log.info({ batchId, beside: beside.id, bad }, 'a canary was planted');
  }

  /** As trials of scenes: beside rendering, unless this farm's machine is never idle. */
  #options(signal: AbortSignal): { niceness: number | undefined; signal: AbortSignal } {
    const niceness = this.#context.config.trialGivesWayMs === 0 ? undefined : NICENESS;
    return { niceness, signal: AbortSignal.any([signal, AbortSignal.timeout(TIMEOUT_MS)]) };
  }
}
