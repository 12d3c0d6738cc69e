/**
 * The escrow's books from its events alone: what every job put in and where it went, how every batch ended, who was
 * credited, paid out and punished. Pure; whoever has the events can check the contracts by it.
 */
import { ZeroAddress } from 'ethers/constants';
import type { Address, Bytes32 } from '../../protocol/ids.ts';
import type { Outcome } from '../../protocol/verdict.ts';
import { type BatchEvent, chainBatchOf, emptyFold, type FoldedBatch, nextFold } from './batch-fold.ts';
import type { BatchState, JobState } from './chain.ts';
import { type EscrowEvent, escrow, type RegistryEvent, registry } from './contracts.ts';
import type { FollowedLog } from './followed-events.ts';
import { OUTCOME_NUMBERS } from './signing.ts';

/** funded = released + refunded + free + reserved, after every event. */
export type JobBooks = {
  jobKey: Bytes32;
  requester: Address;
  state: JobState;
  funded: bigint;
  released: bigint;
  refunded: bigint;
  free: bigint;
  reserved: bigint;
};

export type BatchBooks = {
  batchKey: Bytes32;
  jobKey: Bytes32;
  node: Address;
  operator: Address;
  state: BatchState;
  outcome: Outcome | null;
  amount: bigint;
  paid: bigint;
  fee: bigint;
  /** Of the node's operator; what verifiers lost is in `slashes` alone. */
  slashed: bigint;
};

/** What an account was credited and took out. The difference is what the contract owes it. */
export type AccountBooks = { credited: bigint; withdrawn: bigint };

/** An operator's stake: what is there is staked - unstaked - slashed. */
export type StakeBooks = { staked: bigint; unstaked: bigint; slashed: bigint };

export type Slash = { operator: Address; amount: bigint; batchKey: Bytes32; blockNumber: bigint };

export type EscrowBooks = {
  jobs: ReadonlyMap<Bytes32, JobBooks>;
  batches: ReadonlyMap<Bytes32, BatchBooks>;
  accounts: ReadonlyMap<Address, AccountBooks>;
  stakes: ReadonlyMap<Address, StakeBooks>;
  slashes: readonly Slash[];
  /** Bonds of disputes that no committee has decided yet. */
  bonds: bigint;
};

/** Half of what is slashed goes here and is nobody's: the contract's BURN. */
export const BURN_ADDRESS = '0x000000000000000000000000000000000000dead' as Address;

/** The books of all events of escrow and registry, in the order of the chain, from their deployment on. */
export function booksOf(
  logs: readonly FollowedLog[],
  contracts: { escrowAddress: Address; registryAddress: Address },
): EscrowBooks {
  const ledger = new Ledger();
  for (const log of logs) {
    if (log.address === contracts.escrowAddress) {
      const event = escrow.event(log);
      if (event !== null) ledger.escrow(event);
    } else if (log.address === contracts.registryAddress) {
      const event = registry.event(log);
      if (event !== null) ledger.registry(event, log.blockNumber);
    }
  }
  return ledger.books();
}

const NOBODY = ZeroAddress as Address;

class Ledger {
  readonly #jobs = new Map<Bytes32, JobBooks>();
  readonly #folds = new Map<Bytes32, FoldedBatch>();
  readonly #fees = new Map<Bytes32, bigint>();
  readonly #accounts = new Map<Address, AccountBooks>();
  readonly #stakes = new Map<Address, StakeBooks>();
  readonly #slashes: Slash[] = [];
  readonly #operators = new Map<Address, Address>();
  #treasury: Address = NOBODY;

  escrow(event: EscrowEvent): void {
    if ('batchKey' in event.args) {
      this.#batch(event as BatchEvent);
      return;
    }
    switch (event.name) {
      case 'JobOpened': {
        const { jobKey, requester, budget } = event.args;
        const money = { funded: budget, released: 0n, refunded: 0n, free: budget, reserved: 0n };
        this.#jobs.set(jobKey, { jobKey, requester, state: 'open', ...money });
        return;
      }
      case 'FundsAdded': {
        const job = this.#job(event.args.jobKey);
        job.funded += event.args.amount;
        job.free += event.args.amount;
        return;
      }
      case 'JobClosed': {
        const job = this.#job(event.args.jobKey);
        job.free -= event.args.refunded;
        job.refunded += event.args.refunded;
        job.state = 'closed';
        this.#credit(job.requester, event.args.refunded);
        return;
      }
      case 'Withdrawn':
        this.#account(event.args.owner).withdrawn += event.args.amount;
        return;
      case 'TreasurySet':
        this.#treasury = event.args.treasury;
        return;
      default:
    }
  }

  registry(event: RegistryEvent, blockNumber: bigint): void {
    switch (event.name) {
      case 'VerifierJoined':
        this.#operators.set(event.args.verifier, event.args.operator);
        return;
      case 'Staked':
        this.#stake(event.args.operator).staked += event.args.amount;
        return;
      case 'Unstaked':
        this.#stake(event.args.operator).unstaked += event.args.amount;
        return;
      case 'Slashed': {
        const { operator, amount, batchKey } = event.args;
        this.#stake(operator).slashed += amount;
        this.#slashes.push({ operator, amount, batchKey, blockNumber });
        this.#share(this.#fold(batchKey), amount);
        return;
      }
      default:
    }
  }

  books(): EscrowBooks {
    const batches = [...this.#folds.values()].map((fold) => {
      const { jobKey, node, operator, state, outcome, amount, paid, slashed } = chainBatchOf(fold);
      const fee = this.#fees.get(fold.batchKey) ?? 0n;
      const { batchKey } = fold;
      return { batchKey, jobKey, node, operator, state, outcome, amount, paid, fee, slashed };
    });
    const bonds = [...this.#folds.values()].map(({ state, struct }) =>
      state === 'committee' ? struct.bond : 0n,
    );
    return {
      jobs: this.#jobs,
      batches: new Map(batches.map((batch) => [batch.batchKey, batch])),
      accounts: this.#accounts,
      stakes: this.#stakes,
      slashes: this.#slashes,
      bonds: bonds.reduce((sum, bond) => sum + bond, 0n),
    };
  }

  #batch(event: BatchEvent): void {
    const before = this.#fold(event.args.batchKey);
    const after = nextFold(before, event);
    this.#folds.set(after.batchKey, after);
    const job = this.#job(after.struct.jobKey);
    const { amount, operator } = after.struct;
    switch (event.name) {
      case 'Committed':
        job.free -= amount;
        job.reserved += amount;
        return;
      case 'Judged':
        if (before.state === 'committee') this.#returnBond(before, event.args.outcome);
        return;
      case 'Settled': {
        const { paid, fee } = event.args;
        if (after.struct.outcome !== OUTCOME_NUMBERS.pass) {
          this.#giveBack(job, amount);
          return;
        }
        job.reserved -= amount;
        job.released += amount;
        this.#fees.set(after.batchKey, fee);
        this.#credit(operator, paid);
        this.#credit(this.#treasury, fee);
        return;
      }
      case 'Expired':
        this.#giveBack(job, amount);
        return;
      default:
    }
  }

  /** To a disputer that was right, or that nobody answered; else to those who voted, and what is left over to the treasury. */
  #returnBond({ struct, votes }: FoldedBatch, outcome: number): void {
    const { disputer, bond } = struct;
    if (disputer === NOBODY) return;
    if (outcome !== struct.outcome || votes.length === 0) {
      this.#credit(disputer, bond);
      return;
    }
    const share = bond / BigInt(votes.length);
    for (const { verifier } of votes) this.#credit(this.#operators.get(verifier) ?? NOBODY, share);
    this.#credit(this.#treasury, bond - share * BigInt(votes.length));
  }

  /** Half is burnt, rounded up; half is the requester's, of which half is a disputer's that was right. */
  #share({ struct }: FoldedBatch, amount: bigint): void {
    const half = amount / 2n;
    const toDisputer = struct.disputer === NOBODY ? 0n : half / 2n;
    this.#credit(BURN_ADDRESS, amount - half);
    this.#credit(this.#job(struct.jobKey).requester, half - toDisputer);
    this.#credit(struct.disputer, toDisputer);
  }

  #giveBack(job: JobBooks, amount: bigint): void {
    job.reserved -= amount;
    if (job.state === 'open') {
      job.free += amount;
      return;
    }
    job.refunded += amount;
    this.#credit(job.requester, amount);
  }

  #credit(owner: Address, amount: bigint): void {
    if (amount > 0n) this.#account(owner).credited += amount;
  }

  #fold(batchKey: Bytes32): FoldedBatch {
    return this.#folds.get(batchKey) ?? emptyFold(batchKey);
  }

  #job(jobKey: Bytes32): JobBooks {
    return known(this.#jobs, jobKey, () => ({
      ...{ jobKey, requester: NOBODY, state: 'none' as const },
      ...{ funded: 0n, released: 0n, refunded: 0n, free: 0n, reserved: 0n },
    }));
  }

  #account(owner: Address): AccountBooks {
    return known(this.#accounts, owner, () => ({ credited: 0n, withdrawn: 0n }));
  }

  #stake(operator: Address): StakeBooks {
    return known(this.#stakes, operator, () => ({ staked: 0n, unstaked: 0n, slashed: 0n }));
  }
}

function known<Key, Value>(map: Map<Key, Value>, key: Key, make: () => Value): Value {
  const found = map.get(key);
  if (found !== undefined) return found;
  const made = make();
  map.set(key, made);
  return made;
}
