/** The escrow in two hundred lines of plain data: what every operation must do, or by which error it must be refused. */
import type { BatchState, ChainJob, ChainTerms, JobState } from '../../platform/chain/chain.ts';
import type { Bytes32 } from '../../protocol/ids.ts';
import type { Outcome } from '../../protocol/verdict.ts';

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
  /** The node's, when it committed. */
  stake: bigint;
  committedAt: number;
  since: number;
  state: BatchState;
  first: Outcome | null;
  second: Outcome | null;
  outcome: Outcome | null;
  agreed: boolean;
  last: boolean;
  disputed: boolean;
  /** The names of the operators of those who were asked, in the order of asking. */
  firstBy: string;
  secondBy: string;
  /** A disputer that a committee found right: it has a share of the slash coming. */
  disputerWon: boolean;
};

/** The name of the error that refuses the operation, or null when it is done. */
export type Refusal = string | null;

type Windows = Pick<
  ChainTerms,
  | 'verdictWindowS'
  | 'committeeWindowS'
  | 'expireWindowS'
  | 'missPenalty'
  | 'verifierPenalty'
  | 'disputeBond'
  | 'slashFactor'
>;

export class EscrowModel {
  readonly jobs: ModelJob[] = [];
  readonly batches: ModelBatch[] = [];
  /** By name: `requester`, `disputer`, `burn`, `treasury`, nodes, operators of verifiers. */
  readonly credits = new Map<string, bigint>();
  readonly stakes = new Map<string, bigint>();
  withdrawn = 0n;
  readonly #terms: Windows;

  constructor(terms: Windows) {
    this.#terms = terms;
  }

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
    // A batch that has ended leaves its generation in the lane, one that is under way its hash.
    if (this.batches.some((other) => other.batchKey === batch.batchKey)) return 'LaneTaken';
    if (job.state !== 'open') return 'JobNotOpen';
    if (now > job.deadline) return 'DeadlinePassed';
    if (batch.count < 1 || batch.count > 64) return 'CountOutOfRange';
    if (batch.amount > BigInt(batch.count) * job.maxTaskPrice) return 'AboveMaxTaskPrice';
    if (batch.amount > job.free) return 'AboveFreeMoney';
    job.free -= batch.amount;
    job.reserved += batch.amount;
    this.batches.push({
      ...{ ...batch, job, stake: this.stakes.get(batch.node) ?? 0n, committedAt: now, since: now },
      ...{ state: 'committed', first: null, second: null, outcome: null, agreed: false, last: false },
      ...{ disputed: false, firstBy: '', secondBy: '', disputerWon: false },
    });
    return null;
  }

  draw(batch: ModelBatch, now: number): Refusal {
    if (ended(batch)) return 'WrongBatch';
    if (batch.state !== 'committed') return 'WrongBatchState';
    to(batch, 'drawn', now);
    return null;
  }

  /** `by`: the name of the operator of whoever is asked. */
  attest(batch: ModelBatch, by: string, outcome: Outcome, now: number): Refusal {
    if (ended(batch)) return 'WrongBatch';
    if (batch.state === 'drawn') {
      batch.first = outcome;
      batch.firstBy = by;
      if (outcome === 'pass') judge(batch, 'pass', false, false, now);
      else to(batch, 'second', now);
      return null;
    }
    if (batch.state !== 'second') return 'WrongBatchState';
    batch.second = outcome;
    batch.secondBy = by;
    if (batch.first === 'fail' && outcome === 'pass') to(batch, 'committee', now);
    else if (batch.first === 'fail') judge(batch, 'fail', outcome === 'fail', false, now);
    else judge(batch, outcome, false, false, now);
    return null;
  }

  /** `silent`: the name of the operator of whoever was asked. */
  replace(batch: ModelBatch, silent: string, now: number): Refusal {
    if (ended(batch)) return 'WrongBatch';
    if (batch.state !== 'drawn' && batch.state !== 'second') return 'WrongBatchState';
    if (now <= batch.since + this.#terms.verdictWindowS) return 'WindowOpen';
    this.#punish(silent, this.#terms.missPenalty, null);
    to(batch, batch.state, now);
    return null;
  }

  dispute(batch: ModelBatch, now: number): Refusal {
    if (ended(batch)) return 'WrongBatch';
    if (batch.state !== 'judged') return 'WrongBatchState';
    if (batch.last || batch.outcome === 'inconclusive') return 'NotDisputable';
    batch.disputed = true;
    to(batch, 'committee', now);
    return null;
  }

  /** `voters`: the names of the operators of those who vote. */
  vote(batch: ModelBatch, outcome: Outcome, voters: readonly string[], now: number): Refusal {
    if (ended(batch)) return 'WrongBatch';
    if (batch.state !== 'committee') return 'WrongBatchState';
    const { verifierPenalty, disputeBond } = this.#terms;
    const won = batch.disputed && outcome !== batch.outcome;
    for (const [word, by] of [
      [batch.first, batch.firstBy],
      [batch.second, batch.secondBy],
    ] as const) {
      const wrong = (word === 'pass' && outcome === 'fail') || (word === 'fail' && outcome === 'pass');
      if (wrong) this.#punish(by, verifierPenalty, won ? 'disputer' : null);
    }
    if (won) this.#credit('disputer', disputeBond);
    else if (batch.disputed) {
      const each = disputeBond / BigInt(voters.length);
      for (const voter of voters) this.#credit(voter, each);
      this.#credit('treasury', disputeBond - each * BigInt(voters.length));
    }
    batch.disputerWon = won;
    judge(batch, outcome, outcome === 'fail', true, now);
    return null;
  }

  closeCommittee(batch: ModelBatch, now: number): Refusal {
    if (ended(batch)) return 'WrongBatch';
    if (batch.state !== 'committee') return 'WrongBatchState';
    if (now <= batch.since + this.#terms.committeeWindowS) return 'WindowOpen';
    if (batch.disputed) this.#credit('disputer', this.#terms.disputeBond);
    judge(batch, batch.outcome ?? 'inconclusive', batch.agreed, true, now);
    return null;
  }

  settle(batches: ModelBatch[]): Refusal {
    const done = new Set<ModelBatch>();
    for (const batch of batches) {
      if (ended(batch) || done.has(batch)) return 'WrongBatch';
      if (batch.state !== 'judged') return 'WrongBatchState';
      done.add(batch);
    }
    for (const batch of batches) {
      batch.state = 'settled';
      if (batch.outcome !== 'pass') {
        this.#giveBack(batch);
        const most = batch.amount * BigInt(this.#terms.slashFactor);
        const slash = most < batch.stake ? most : batch.stake;
        if (batch.agreed) this.#punish(batch.node, slash, batch.disputerWon ? 'disputer' : null);
        continue;
      }
      batch.job.reserved -= batch.amount;
      batch.job.released += batch.amount;
      this.#credit(batch.node, batch.amount);
    }
    return null;
  }

  expire(batch: ModelBatch, now: number): Refusal {
    if (ended(batch)) return 'WrongBatch';
    if (batch.state === 'committee' || batch.state === 'judged') return 'WrongBatchState';
    if (now <= batch.committedAt + this.#terms.expireWindowS) return 'WindowOpen';
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
    const bonds = this.batches.filter(({ state, disputed }) => state === 'committee' && disputed);
    return sum + BigInt(bonds.length) * this.#terms.disputeBond;
  }

  /** Half is burnt, rounded up; half is the requester's, of which half is a disputer's that was right. */
  #punish(operator: string, most: bigint, disputer: string | null): void {
    const stake = this.stakes.get(operator) ?? 0n;
    const taken = most < stake ? most : stake;
    this.stakes.set(operator, stake - taken);
    const half = taken / 2n;
    const share = disputer === null ? 0n : half / 2n;
    this.#credit('burn', taken - half);
    this.#credit('requester', half - share);
    if (disputer !== null) this.#credit(disputer, share);
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

/** The contract has no word of it any more. */
function ended({ state }: ModelBatch): boolean {
  return state === 'settled' || state === 'expired';
}

function to(batch: ModelBatch, state: BatchState, now: number): void {
  batch.state = state;
  batch.since = now;
}

function judge(batch: ModelBatch, outcome: Outcome, agreed: boolean, last: boolean, now: number): void {
  to(batch, 'judged', now);
  Object.assign(batch, { outcome, agreed, last });
}
