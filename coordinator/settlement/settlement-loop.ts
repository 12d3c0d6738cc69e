/** The money's own loop: opens escrows, settles batches, closes escrows, until told to stop. */
import { isChainTrouble, isFarmError } from '../../protocol/errors.ts';
import type { CoordinatorContext } from '../context.ts';
import { Rounds } from '../rounds.ts';
import { endJob } from '../scheduling/end-job.ts';
import { closeEscrow, type JobRow, openEscrow } from './job-escrow.ts';
import { settleBatches } from './settle-batches.ts';

export class SettlementLoop {
  readonly #context: CoordinatorContext;
  readonly #onProgress: () => void;
  readonly #rounds = new Rounds();

  /** `onProgress` is called after steps that give others something to do. */
  constructor(context: CoordinatorContext, onProgress: () => void) {
    this.#context = context;
    this.#onProgress = onProgress;
  }

  /** Something changed: look now rather than at the next interval. */
  wake(): void {
    this.#rounds.wake();
  }

  async run(signal: AbortSignal): Promise<void> {
    await this.#rounds.run(
      () => this.#round(signal),
      {
        onMoved: this.#onProgress,
        log: this.#context.log,
        trouble: 'settlement could not go on; trying again',
      },
      signal,
    );
  }

  async #round(signal: AbortSignal): Promise<boolean> {
    let moved = false;
    const jobs = await this.#jobs();
    for (const job of jobs.filter(({ state, escrow }) => state === 'opening' && escrow === 'none')) {
      moved = (await this.#apart(job, () => this.#open(job, signal), signal)) || moved;
    }
    moved = (await settleBatches(this.#context, signal)) || moved;
    // A job that ended just now is looked at in the next round, which follows at once.
    for (const job of jobs.filter(({ state }) => state !== 'opening')) {
      if (await this.#hasUnsettled(job)) continue;
      moved = (await this.#apart(job, () => closeEscrow(this.#context, job, signal), signal)) || moved;
    }
    return moved;
  }

  /** One job's trouble must not stop the money of the others, the chain's ends the round. Returns whether the work was done. */
  async #apart(job: JobRow, work: () => Promise<void>, signal: AbortSignal): Promise<boolean> {
    try {
      await work();
      return true;
    } catch (error) {
      if (signal.aborted || isChainTrouble(error)) throw error;
      this.#context.log.error(
        { err: error, jobId: job.id },
        "a job's escrow could not be moved on; trying again",
      );
      return false;
    }
  }

  async #open(job: JobRow, signal: AbortSignal): Promise<void> {
    try {
      await openEscrow(this.#context, job, signal);
    } catch (error) {
      if (!isFarmError(error, 'CHAIN_REVERTED')) throw error;
      const reason = `the escrow refused the job: ${error.message}`;
      await this.#context.db
        .transaction()
        .execute((tx) => endJob(this.#context, tx, job.id, 'failed', reason));
    }
  }

  async #hasUnsettled(job: JobRow): Promise<boolean> {
    const row = await this.#context.db
      .selectFrom('batches')
      .select('id')
      .where('job_id', '=', job.id)
      .where('state', '<>', 'settled')
      .where('receipts', '>', 0)
      .executeTakeFirst();
    return row !== undefined;
  }

  /** Those that begin or have ended, and whose money is not where it belongs yet. */
  async #jobs(): Promise<JobRow[]> {
    return await this.#context.db
      .selectFrom('jobs')
      .selectAll()
      .where('state', '<>', 'active')
      .where('escrow', '<>', 'closed')
      .orderBy('seq')
      .execute();
  }
}
