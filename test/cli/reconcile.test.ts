import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Ledger, reconcile } from '../../cli/ledger/reconcile.ts';
import type { BatchBooks, EscrowBooks, JobBooks } from '../../platform/chain/escrow-books.ts';
import { batchKeyOf, jobKey } from '../../platform/chain/keys.ts';
import type { Address, BatchId, Bytes32, JobId } from '../../protocol/ids.ts';

const NODE = `0x${'11'.repeat(20)}` as Address;
const REQUESTER = `0x${'22'.repeat(20)}` as Address;

type Plan = { outcome: 'pass' | 'fail' | 'inconclusive'; amount: bigint; slashed: bigint };

const money = fc.bigInt({ min: 1n, max: 2n ** 90n });
const plans = fc.array(
  fc.array(
    fc
      .record({
        outcome: fc.constantFrom('pass' as const, 'fail', 'inconclusive'),
        amount: money,
        slashed: money,
      })
      .map((plan): Plan => (plan.outcome === 'fail' ? plan : { ...plan, slashed: 0n })),
    { maxLength: 4 },
  ),
  { minLength: 1, maxLength: 3 },
);

/** A farm whose jobs are all closed, and a chain that agrees with it. */
function ledgerOf(jobs: readonly Plan[][], rest: bigint): Ledger {
  const books = {
    jobs: new Map<Bytes32, JobBooks>(),
    batches: new Map<Bytes32, BatchBooks>(),
    accounts: new Map(),
    stakes: new Map(),
    slashes: [],
    bonds: 0n,
  } satisfies EscrowBooks;
  const farm = { jobs: [] as Ledger['jobs'][number][], batches: [] as Ledger['batches'][number][] };
  let generation = 0n;
  let lost = 0n;
  for (const [index, batches] of jobs.entries()) {
    const id = `job_${index}` as JobId;
    const key = jobKey(id);
    const released = batches.reduce((sum, one) => sum + (one.outcome === 'pass' ? one.amount : 0n), 0n);
    const funded = released + rest;
    farm.jobs.push({ id, escrow: 'closed', quote: funded, spent: released, refunded: rest });
    const sums = { funded, released, refunded: rest, free: 0n, reserved: 0n };
    books.jobs.set(key, { jobKey: key, requester: REQUESTER, state: 'closed', ...sums });
    for (const { outcome, amount, slashed } of batches) {
      const batchKey = batchKeyOf({ node: NODE, lane: 0, generation: ++generation });
      farm.batches.push({
        ...{ id: `batch_${generation}` as BatchId, state: 'settled', batchKey, outcome },
        ...{ amount: String(amount), slashed: String(slashed) },
      });
      books.batches.set(batchKey, {
        ...{ batchKey, jobKey: key, node: NODE, operator: NODE, state: 'settled', outcome, amount },
        ...{ paid: outcome === 'pass' ? amount : 0n, fee: 0n, slashed },
      });
      lost += slashed;
    }
  }
  const credited = [...books.jobs.values()].reduce((sum, job) => sum + job.funded, 0n);
  books.accounts.set(NODE, { credited, withdrawn: credited / 2n });
  books.stakes.set(NODE, { staked: lost + rest, unstaked: 0n, slashed: lost });
  return { ...farm, books, balances: { escrow: credited - credited / 2n, registry: rest } };
}

const brokenIn = (ledger: Ledger): string[] =>
  reconcile(ledger).flatMap(({ holds, what }) => (holds ? [] : [what]));

describe('a ledger and its chain', () => {
  it('agree where every amount is the same', () => {
    fc.assert(
      fc.property(plans, money, (jobs, rest) => {
        expect(brokenIn(ledgerOf(jobs, rest))).toEqual([]);
      }),
    );
  });

  it('disagree by one unit of any job, in spent or in refunded', () => {
    fc.assert(
      fc.property(
        plans,
        money,
        fc.constantFrom('spent' as const, 'refunded' as const),
        (jobs, rest, field) => {
          const ledger = ledgerOf(jobs, rest);
          for (const job of ledger.jobs) {
            const jobsOff = ledger.jobs.map((one) =>
              one === job ? { ...one, [field]: one[field] + 1n } : one,
            );
            expect(brokenIn({ ...ledger, jobs: jobsOff })).toEqual(['jobs']);
          }
        },
      ),
    );
  });

  it('disagree by one unit of any batch, in what it was paid or in what it cost of stake', () => {
    fc.assert(
      fc.property(plans, money, (jobs, rest) => {
        const ledger = ledgerOf(jobs, rest);
        for (const batch of ledger.batches) {
          const field = batch.outcome === 'pass' ? 'amount' : 'slashed';
          const off = ledger.batches.map((one) =>
            one === batch ? { ...one, [field]: String(BigInt(one[field]) + 1n) } : one,
          );
          expect(brokenIn({ ...ledger, batches: off })).toEqual(['batches']);
        }
      }),
    );
  });

  it('disagree where a batch is on chain that the farm does not know, and where one counts as paid that is not there', () => {
    const ledger = ledgerOf([[{ outcome: 'pass', amount: 5n, slashed: 0n }]], 1n);
    expect(brokenIn({ ...ledger, batches: [] })).toEqual(['batches']);
    expect(brokenIn({ ...ledger, books: { ...ledger.books, batches: new Map() } })).toEqual(['batches']);
  });

  it('leave room for what the farm has not noted yet, and none for what the chain has not', () => {
    const ledger = ledgerOf([[{ outcome: 'pass', amount: 5n, slashed: 0n }]], 1n);
    const jobs = (spent: bigint) => ledger.jobs.map((job) => ({ ...job, escrow: 'open' as const, spent }));
    const batches = ledger.batches.map((batch) => ({ ...batch, state: 'judged' as const }));
    expect(brokenIn({ ...ledger, jobs: jobs(0n), batches })).toEqual([]);
    expect(brokenIn({ ...ledger, jobs: jobs(6n) })).toEqual(['jobs']);
  });

  it('do not hold where a contract has less than it owes; a gift is told', () => {
    const ledger = ledgerOf([[{ outcome: 'fail', amount: 5n, slashed: 7n }]], 10n);
    const { escrow, registry } = ledger.balances;
    expect(brokenIn({ ...ledger, balances: { escrow: escrow - 1n, registry } })).toEqual(['escrow']);
    expect(brokenIn({ ...ledger, balances: { escrow, registry: registry - 1n } })).toEqual(['stake']);
    const gift = reconcile({ ...ledger, balances: { escrow: escrow + 2_000_000n, registry } });
    expect(gift.find(({ what }) => what === 'escrow')).toMatchObject({
      holds: true,
      detail: expect.stringContaining('2.000 more were sent to it'),
    });
  });
});
