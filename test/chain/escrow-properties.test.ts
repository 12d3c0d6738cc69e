import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { EMBEDDED_STAKE, EMBEDDED_TERMS } from '../../platform/chain/deploy.ts';
import { BURN_ADDRESS } from '../../platform/chain/escrow-books.ts';
import { followEvents } from '../../platform/chain/follow-events.ts';
import { jsonRpc } from '../../platform/chain/json-rpc.ts';
import { batchKeyOf, partsOfBatchKey } from '../../platform/chain/keys.ts';
import { escrowBooks } from '../../platform/chain/read-books.ts';
import { isFarmError } from '../../protocol/errors.ts';
import type { Address } from '../../protocol/ids.ts';
import { requireKnownMoves } from '../support/known-moves.ts';
import { EscrowModel, type ModelBatch, type ModelJob } from './escrow-model.ts';
import { type ChainFixture, type Party, party, startChainFixture } from './fixture.ts';

/** Small and odd, so that halves and shares have to be rounded. */
const TERMS = { missPenalty: 7n, verifierPenalty: 13n, disputeBond: 11n, slashFactor: 3 };
/** Two that are asked, a committee of five, and one to be asked in place of a silent one. */
const VERIFIERS = 8;

let farm: ChainFixture;
let nodes: Record<string, Party>;
/** All runs share one escrow: what one leaves behind is what the next one starts with. */
const model = new EscrowModel({ ...EMBEDDED_TERMS, ...TERMS });

beforeAll(async () => {
  farm = await startChainFixture({ verifiers: VERIFIERS, terms: TERMS });
  nodes = { node: farm.node, other: party() };
  await farm.addNode(nodes['other'] ?? party());
  for (const name of [...Object.keys(nodes), ...farm.verifiers.map((_, at) => `verifier ${at}`)]) {
    model.stakes.set(name, EMBEDDED_STAKE);
  }
});
afterAll(() => farm.end());

/** Steps of time never meet a deadline or a window to the second: 1.3 days, and 0.6 days off that grid. */
const STEP_S = 112_320;
const OFF_GRID_S = 51_840;

const pick = fc.nat({ max: 100 });
const outcome = fc.constantFrom('pass' as const, 'pass' as const, 'fail' as const, 'inconclusive' as const);
const onBatch = <Name extends string>(name: Name) => fc.record({ do: fc.constant(name), batch: pick });
const operation = fc.oneof(
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant('open' as const),
      budget: fc.integer({ min: 1, max: 300 }),
      steps: fc.nat({ max: 8 }),
    }),
  },
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant('commit' as const),
      job: pick,
      node: fc.constantFrom('node', 'other'),
      amount: fc.nat({ max: 120 }),
      count: fc.nat({ max: 66 }),
      /** In a new lane, with a key that was used, or as the next generation of a lane that was. */
      lane: fc.constantFrom('new', 'new', 'again', 'next'),
    }),
  },
  { weight: 1, arbitrary: onBatch('draw' as const) },
  {
    // The next step that is due; without it random choices seldom bring a batch to its end.
    weight: 16,
    arbitrary: fc.record({
      do: fc.constant('advance' as const),
      batch: pick,
      outcome,
      votes: fc.integer({ min: 3, max: 5 }),
    }),
  },
  { weight: 2, arbitrary: onBatch('dispute' as const) },
  { weight: 2, arbitrary: onBatch('replace' as const) },
  { weight: 1, arbitrary: onBatch('closeCommittee' as const) },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant('settle' as const),
      batches: fc.array(pick, { minLength: 1, maxLength: 3 }),
    }),
  },
  { weight: 2, arbitrary: onBatch('expire' as const) },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant('close' as const),
      job: pick,
      by: fc.constantFrom('coordinator', 'requester', 'stranger'),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant('withdraw' as const),
      owner: fc.constantFrom('node', 'other', 'requester', 'disputer', 'verifier 0'),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ do: fc.constant('wait' as const), steps: fc.integer({ min: 1, max: 6 }) }),
  },
);
type Operation = typeof operation extends fc.Arbitrary<infer T> ? T : never;

/** What the contract said: null for done, or the name of its error. */
async function said(attempt: Promise<unknown>): Promise<string | null> {
  try {
    await attempt;
    return null;
  } catch (error) {
    if (isFarmError(error, 'CHAIN_REVERTED')) return String(error.details?.['error']);
    throw error;
  }
}

function at<Item>(items: Item[], index: number): Item | undefined {
  return items[index % Math.max(1, items.length)];
}

function nameOf(verifier: Address | undefined): string {
  return `verifier ${farm.verifiers.findIndex(({ address }) => address === verifier)}`;
}

function accountOf(name: string): Address {
  const others: Record<string, Address> = {
    ...{ requester: farm.requester.address, disputer: farm.stranger.address },
    ...{ burn: BURN_ADDRESS, treasury: farm.coordinator.address },
  };
  const verifier = farm.verifiers[Number(/^verifier (\d+)$/.exec(name)?.[1] ?? -1)];
  const account = nodes[name]?.address ?? others[name] ?? verifier?.operator.address;
  if (account === undefined) throw new Error(`nobody is called ${name}`);
  return account;
}

/** Does one operation on both; the jobs and batches of this run are what it chooses from. */
async function step(op: Operation, jobs: ModelJob[], batches: ModelBatch[]): Promise<void> {
  const { chain } = farm;
  const now = await farm.now();
  const job = 'job' in op ? at(jobs, op.job) : undefined;
  const batch = 'batch' in op ? at(batches, op.batch) : undefined;
  switch (op.do) {
    case 'open': {
      const deadline = now + op.steps * STEP_S + OFF_GRID_S;
      const terms = await farm.open({ budget: BigInt(op.budget), maxTaskPrice: 10n, deadline });
      jobs.push(model.open(terms.jobKey, terms.budget, terms.maxTaskPrice, deadline));
      return;
    }
    case 'commit': {
      const node = nodes[op.node];
      if (job === undefined || node === undefined) return;
      const used = batches.find((one) => one.node === op.node && ended(one));
      const key = (op.lane === 'new' ? undefined : used?.batchKey) ?? farm.newBatchKey(node);
      const parts = partsOfBatchKey(key);
      const next = op.lane === 'next' && used !== undefined;
      const batchKey = next ? batchKeyOf({ ...parts, generation: parts.generation + 1n }) : key;
      const planned = { batchKey, node: op.node, amount: BigInt(op.amount), count: op.count };
      const { amount, count } = planned;
      const signed = farm.signedCommit(job.jobKey, { batchKey, amount, count }, node);
      // The next generation of a lane can be under way, or have been, already.
      const there = batches.some((one) => one.batchKey === batchKey);
      expect(await said(chain.commitMany([signed]))).toBe(model.commit(job, planned, now));
      const last = model.batches.at(-1);
      if (!there && last?.batchKey === batchKey && !batches.includes(last)) batches.push(last);
      return;
    }
    case 'draw':
      if (batch === undefined) return;
      if (batch.state !== 'committed') return;
      expect(await said(farm.drawNext(batch.batchKey))).toBe(model.draw(batch, now));
      return;
    case 'settle': {
      const chosen = op.batches.map((index) => at(batches, index)).filter((one) => one !== undefined);
      if (chosen.length === 0) return;
      expect(await said(chain.settleMany(chosen.map((one) => one.batchKey)))).toBe(model.settle(chosen));
      return;
    }
    case 'advance': {
      if (batch === undefined) return;
      const due = batches.indexOf(batch);
      if (batch.state === 'committed') return step({ do: 'draw', batch: due }, jobs, batches);
      if (batch.state === 'judged') return step({ do: 'settle', batches: [due] }, jobs, batches);
      const { asked, members } = await chain.batch(batch.batchKey);
      if (batch.state === 'committee') {
        const voters = members.slice(0, op.votes).map(nameOf);
        const voted = said(farm.voteAs(batch.batchKey, op.outcome, op.votes));
        expect(await voted).toBe(model.vote(batch, op.outcome, voters, now));
      }
      if (batch.state === 'drawn' || batch.state === 'second') {
        const attested = said(farm.attestAs(batch.batchKey, op.outcome));
        expect(await attested).toBe(model.attest(batch, nameOf(asked[0]), op.outcome, now));
      }
      return;
    }
    case 'dispute': {
      if (batch === undefined || (await chain.batch(batch.batchKey)).seed === null) return;
      const disputed = said(farm.dispute(batch.batchKey, farm.stranger));
      expect(await disputed).toBe(model.dispute(batch, now));
      return;
    }
    case 'replace': {
      if (batch === undefined) return;
      const [silent] = (await chain.batch(batch.batchKey)).asked;
      const replaced = said(chain.replace(batch.batchKey));
      expect(await replaced).toBe(model.replace(batch, nameOf(silent), now));
      return;
    }
    case 'closeCommittee':
      if (batch === undefined) return;
      expect(await said(chain.closeCommittee(batch.batchKey))).toBe(model.closeCommittee(batch, now));
      return;
    case 'expire':
      if (batch === undefined) return;
      expect(await said(chain.expire(batch.batchKey))).toBe(model.expire(batch, now));
      return;
    case 'close': {
      if (job === undefined) return;
      const sender = op.by === 'requester' ? farm.requester : farm.stranger;
      const closing =
        op.by === 'coordinator' ? chain.closeJob(job.jobKey) : farm.sendAs(sender, 'closeJob', [job.jobKey]);
      expect(await said(closing)).toBe(model.close(job, op.by === 'stranger', now));
      return;
    }
    case 'withdraw':
      expect(await said(chain.withdrawFor(accountOf(op.owner)))).toBe(model.withdraw(op.owner));
      return;
    case 'wait':
      await farm.passTime(op.steps * STEP_S);
  }
}

function ended({ state }: ModelBatch): boolean {
  return state === 'settled' || state === 'expired';
}

/** Conservation per job, solvency of the whole, stakes and credits, and every batch as the port folds it: all the model's. */
async function check(jobs: ModelJob[], batches: ModelBatch[]): Promise<void> {
  const { chain, deployment } = farm;
  const [onChain, folded, held] = await Promise.all([
    Promise.all(jobs.map((job) => chain.job(job.jobKey))),
    chain.batches(batches.map(({ batchKey }) => batchKey)),
    chain.tokenBalance(deployment.escrowAddress),
  ]);
  for (const [place, job] of jobs.entries()) {
    const { free, reserved, released, refunded, budget, state } = onChain[place] ?? {};
    expect({ free, reserved, released, refunded, budget, state }).toEqual({
      ...{ free: job.free, reserved: job.reserved, released: job.released, refunded: job.refunded },
      ...{ budget: job.budget, state: job.state },
    });
    expect(job.budget).toBe(job.released + job.refunded + job.free + job.reserved);
  }
  for (const [place, batch] of batches.entries()) {
    expect(folded[place]).toMatchObject({
      ...{ state: batch.state, amount: batch.amount, outcome: batch.outcome },
      ...{ agreed: batch.agreed, last: batch.last, stake: batch.stake },
    });
  }
  expect(held).toBe(model.owed());
}

/** Credits, stakes and jobs: the chain, the model, and the books from events alone say the same. */
async function checkAccounts(jobs: ModelJob[]): Promise<void> {
  const books = await escrowBooks(farm.anvil.url, farm.deployment);
  for (const [owner, credit] of model.credits) {
    const account = accountOf(owner);
    expect(await farm.chain.credit(account), owner).toBe(credit);
    const { credited, withdrawn } = books.accounts.get(account) ?? { credited: 0n, withdrawn: 0n };
    expect(credited - withdrawn, `books of ${owner}`).toBe(credit);
  }
  for (const [operator, stake] of model.stakes) {
    const account = accountOf(operator);
    expect((await farm.chain.operator(account)).stake, operator).toBe(stake);
    const { staked, unstaked, slashed } = books.stakes.get(account) ?? NO_STAKE;
    expect(staked - unstaked - slashed, `books of ${operator}`).toBe(stake);
  }
  for (const { jobKey, ...job } of jobs) {
    expect(books.jobs.get(jobKey)).toMatchObject({
      ...{ state: job.state, funded: job.budget, released: job.released, refunded: job.refunded },
      ...{ free: job.free, reserved: job.reserved },
    });
  }
  const owed = [...books.accounts.values()].reduce((sum, one) => sum + one.credited - one.withdrawn, 0n);
  const inJobs = [...books.jobs.values()].reduce((sum, job) => sum + job.free + job.reserved, 0n);
  expect(await farm.chain.tokenBalance(farm.deployment.escrowAddress)).toBe(owed + inJobs + books.bonds);
}

const NO_STAKE = { staked: 0n, unstaked: 0n, slashed: 0n };

describe('the escrow, whatever is done to it in whatever order', () => {
  it('conserves the money of every job, stays solvent and does what the model does', {
    timeout: 300_000,
  }, async () => {
    const done = new Map<string, number>();
    await fc.assert(
      fc.asyncProperty(
        fc.array(operation, { minLength: 15, maxLength: 40, size: 'max' }),
        async (operations) => {
          const jobs: ModelJob[] = [];
          const batches: ModelBatch[] = [];
          await step({ do: 'open', budget: 300, steps: 4 }, jobs, batches);
          for (const op of operations) {
            await step(op, jobs, batches);
            await check(jobs, batches);
            done.set(op.do, (done.get(op.do) ?? 0) + 1);
          }
          await checkAccounts(jobs);
          for (const batch of batches) {
            const how = `${batch.state} ${batch.outcome ?? ''}${batch.disputed ? ' disputed' : ''}`;
            done.set(how, (done.get(how) ?? 0) + 1);
          }
        },
      ),
      { numRuns: 15 },
    );
    console.info(Object.fromEntries(done));
    const follower = followEvents({
      ...{ rpc: jsonRpc(farm.anvil.url), chainId: farm.deployment.chainId, file: null, depth: 12 },
      ...{ addresses: [farm.deployment.escrowAddress], fromBlock: farm.deployment.deployedBlock },
    });
    await follower.advance();
    expect(requireKnownMoves(follower.logs()).size).toBeGreaterThan(3);
  });
});
