/** The escrow in a hundred lines of plain data: what every operation must do, or by which error it must be refused. */
import type { BatchState, ChainJob, JobState } from '../../platform/chain/chain.ts';
import type { Bytes32 } from '../../protocol/ids.ts';
import type { Outcome } from '../../protocol/verdict.ts';

const VERDICT_WINDOW_S = 7 * 86_400;

export type ModelJob = Pick<
  ChainJob,
  'budget' | 'maxTaskPrice' | 'deadline' | 'free' | 'reserved' | 'released' | 'refunded'
> & {
  jobKey: Bytes32;
  state: JobState;
};

export type ModelBatch = {
  batchKey: Bytes32;
  job: ModelJob;
  node: string;
  amount: bigint;
  committedAt: number;
  state: BatchState;
  outcome: Outcome | null;
};

/** The name of the error that refuses the operation, or null when it is done. */
export type Refusal = string | null;

export class EscrowModel {
  readonly jobs: ModelJob[] = [];
  readonly batches: ModelBatch[] = [];
  readonly credits = new Map<string, bigint>();
  withdrawn = 0n;

  open(jobKey: Bytes32, budget: bigint, maxTaskPrice: bigint, deadline: number): ModelJob {
    const money = { budget, free: budget, reserved: 0n, released: 0n, refunded: 0n };
    const job: ModelJob = { jobKey, ...money, maxTaskPrice, deadline, state: 'open' };
    this.jobs.push(job);
    return job;
  }

  commit(
    job: ModelJob,
    batch: { batchKey: Bytes32; node: string; amount: bigint; count: number },
    now: number,
  ): Refusal {
    if (this.batches.some((other) => other.batchKey === batch.batchKey)) return 'BatchExists';
    if (job.state !== 'open') return 'JobNotOpen';
    if (now > job.deadline) return 'DeadlinePassed';
    if (batch.count < 1 || batch.count > 64) return 'CountOutOfRange';
    if (batch.amount > BigInt(batch.count) * job.maxTaskPrice) return 'AboveMaxTaskPrice';
    if (batch.amount > job.free) return 'AboveFreeMoney';
    job.free -= batch.amount;
    job.reserved += batch.amount;
    this.batches.push({ ...batch, job, committedAt: now, state: 'committed', outcome: null });
    return null;
  }

  draw(batch: ModelBatch): Refusal {
    if (batch.state !== 'committed') return 'WrongBatchState';
    batch.state = 'drawn';
    return null;
  }

  attest(batch: ModelBatch, outcome: Outcome): Refusal {
    if (batch.state !== 'drawn') return 'WrongBatchState';
    batch.state = 'attested';
    batch.outcome = outcome;
    return null;
  }

  settle(batches: ModelBatch[]): Refusal {
    if (batches.some((batch) => batch.state !== 'attested')) return 'WrongBatchState';
    if (new Set(batches).size !== batches.length) return 'WrongBatchState';
    for (const batch of batches) {
      batch.state = 'settled';
      if (batch.outcome !== 'pass') {
        this.#giveBack(batch);
        continue;
      }
      batch.job.reserved -= batch.amount;
      batch.job.released += batch.amount;
      this.#credit(batch.node, batch.amount);
    }
    return null;
  }

  expire(batch: ModelBatch, now: number): Refusal {
    if (batch.state !== 'committed' && batch.state !== 'drawn') return 'WrongBatchState';
    if (now <= batch.committedAt + VERDICT_WINDOW_S) return 'VerdictWindowOpen';
    batch.state = 'expired';
    this.#giveBack(batch);
    return null;
  }

  close(job: ModelJob, byStranger: boolean, now: number): Refusal {
    if (job.state !== 'open') return 'JobNotOpen';
    if (byStranger && now <= job.deadline) return 'DeadlineNotReached';
    job.state = 'closed';
    job.refunded += job.free;
    this.#credit('requester', job.free);
    job.free = 0n;
    return null;
  }

  withdraw(owner: string): Refusal {
    const amount = this.credits.get(owner) ?? 0n;
    if (amount === 0n) return 'NothingToWithdraw';
    this.credits.set(owner, 0n);
    this.withdrawn += amount;
    return null;
  }

  /** What the escrow owes to everybody together. */
  owed(): bigint {
    let sum = 0n;
    for (const job of this.jobs) sum += job.free + job.reserved;
    for (const credit of this.credits.values()) sum += credit;
    return sum;
  }

  #giveBack(batch: ModelBatch): void {
    const { job, amount } = batch;
    job.reserved -= amount;
    if (job.state === 'open') {
      job.free += amount;
      return;
    }
    job.refunded += amount;
    this.#credit('requester', amount);
  }

  #credit(owner: string, amount: bigint): void {
    this.credits.set(owner, (this.credits.get(owner) ?? 0n) + amount);
  }
}
