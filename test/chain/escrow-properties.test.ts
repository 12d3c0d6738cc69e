import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { signCommit, signVerdict } from '../../platform/chain/signing.ts';
import { isFarmError } from '../../protocol/errors.ts';
import { EscrowModel, type ModelBatch, type ModelJob } from './escrow-model.ts';
import {
  type ChainFixture,
  digestOf,
  type Party,
  party,
  randomBytes32,
  startChainFixture,
} from './fixture.ts';

let farm: ChainFixture;
let nodes: Record<string, Party>;
beforeAll(async () => {
  farm = await startChainFixture();
  nodes = { node: farm.node, other: party() };
});
afterAll(() => farm.end());

/** All runs share one escrow: what one leaves behind is what the next one starts with. */
const model = new EscrowModel();

/** Steps of time never meet a deadline or the verdict window to the second: 1.3 days, and 0.6 days off that grid. */
const STEP_S = 112_320;
const OFF_GRID_S = 51_840;

const pick = fc.nat({ max: 100 });
const outcome = fc.constantFrom('pass' as const, 'pass' as const, 'fail' as const, 'inconclusive' as const);
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
      again: fc.constantFrom(false, false, false, true),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('draw' as const), batch: pick }) },
  {
    // The next step that is due; without it random choices seldom bring a batch to its end.
    weight: 12,
    arbitrary: fc.record({ do: fc.constant('advance' as const), batch: pick, outcome }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('attest' as const), batch: pick, outcome }) },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant('settle' as const),
      batches: fc.array(pick, { minLength: 1, maxLength: 3 }),
    }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('expire' as const), batch: pick }) },
  {
    weight: 2,
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
      owner: fc.constantFrom('node', 'other', 'requester'),
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
      const batchKey = (op.again ? batches[0]?.batchKey : undefined) ?? randomBytes32();
      const planned = { batchKey, node: op.node, amount: BigInt(op.amount), count: op.count };
      const commit = { ...planned, jobKey: job.jobKey, node: node.address, root: randomBytes32() };
      const signature = signCommit(farm.domain, commit, node.key);
      expect(await said(chain.commitMany([{ commit, signature }]))).toBe(model.commit(job, planned, now));
      const last = model.batches.at(-1);
      if (last?.batchKey === batchKey && !batches.includes(last)) batches.push(last);
      return;
    }
    case 'draw':
      if (batch === undefined) return;
      expect(await said(farm.drawNext(batch.batchKey))).toBe(model.draw(batch));
      return;
    case 'attest': {
      if (batch === undefined) return;
      const verdict = { batchKey: batch.batchKey, outcome: op.outcome, evidence: digestOf('evidence') };
      const signature = signVerdict(farm.domain, verdict, farm.verifier.key);
      expect(await said(chain.attest(verdict, signature))).toBe(model.attest(batch, op.outcome));
      return;
    }
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
      if (batch.state === 'drawn')
        return step({ do: 'attest', batch: due, outcome: op.outcome }, jobs, batches);
      if (batch.state === 'attested') return step({ do: 'settle', batches: [due] }, jobs, batches);
      return;
    }
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
      expect(await said(chain.withdrawFor(addressOfOwner(op.owner)))).toBe(model.withdraw(op.owner));
      return;
    case 'wait':
      await farm.passTime(op.steps * STEP_S);
  }
}

function addressOfOwner(owner: string) {
  return nodes[owner]?.address ?? farm.requester.address;
}

/** Conservation per job, solvency of the whole, and both equal to the model. */
async function check(jobs: ModelJob[]): Promise<void> {
  const { chain, deployment } = farm;
  for (const job of jobs) {
    const { free, reserved, released, refunded, budget, state } = await chain.job(job.jobKey);
    expect(budget).toBe(released + refunded + free + reserved);
    expect({ free, reserved, released, refunded, budget, state }).toEqual({
      free: job.free,
      reserved: job.reserved,
      released: job.released,
      refunded: job.refunded,
      budget: job.budget,
      state: job.state,
    });
  }
  for (const [owner, credit] of model.credits) expect(await chain.credit(addressOfOwner(owner))).toBe(credit);
  expect(await chain.tokenBalance(deployment.escrowAddress)).toBe(model.owed());
}

describe('the escrow, whatever is done to it in whatever order', () => {
  it('conserves the money of every job, stays solvent and does what the model does', {
    timeout: 300_000,
  }, async () => {
    const done = new Map<string, number>();
    await fc.assert(
      fc.asyncProperty(
        fc.array(operation, { minLength: 10, maxLength: 40, size: 'max' }),
        async (operations) => {
          const jobs: ModelJob[] = [];
          const batches: ModelBatch[] = [];
          await step({ do: 'open', budget: 300, steps: 4 }, jobs, batches);
          for (const op of operations) {
            await step(op, jobs, batches);
            await check(jobs);
            done.set(op.do, (done.get(op.do) ?? 0) + 1);
          }
          for (const batch of batches) {
            const how = `${batch.state} ${batch.outcome ?? ''}`;
            done.set(how, (done.get(how) ?? 0) + 1);
          }
        },
      ),
      { numRuns: 25 },
    );
    console.info(Object.fromEntries(done));
  });
});
