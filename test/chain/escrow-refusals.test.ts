import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import type { OpenJobTerms } from '../../platform/chain/chain.ts';
import {
  escrowDomain,
  OUTCOME_NUMBERS,
  signCommit,
  signOpenJob,
  signVerdict,
} from '../../platform/chain/signing.ts';
import { tokenInterface, transactionSender } from '../../platform/chain/transactions.ts';
import { isFarmError } from '../../protocol/errors.ts';
import type { Bytes32 } from '../../protocol/ids.ts';
import { type ChainFixture, party, randomBytes32, startChainFixture } from './fixture.ts';

let farm: ChainFixture;
let job: OpenJobTerms;
beforeAll(async () => {
  farm = await startChainFixture();
  job = await farm.open();
});
afterAll(() => farm.end());

/** The contract has to refuse in exactly these words, and as CHAIN_REVERTED. */
async function refuses(attempt: Promise<unknown>, error: string): Promise<void> {
  const outcome = await attempt.then(
    () => 'accepted',
    (thrown: unknown) => thrown,
  );
  if (!isFarmError(outcome, 'CHAIN_REVERTED')) throw new Error(`expected ${error}, got ${String(outcome)}`);
  expect(outcome.details?.['error']).toBe(error);
  expect(outcome.message).toContain(error);
}

/** The error's name, or `done`. */
async function said(attempt: Promise<unknown>): Promise<string> {
  return attempt.then(
    () => 'done',
    (thrown: unknown) => (isFarmError(thrown) ? String(thrown.details?.['error']) : String(thrown)),
  );
}

const commitAs = (overrides: Parameters<ChainFixture['signedCommit']>[1]): Promise<unknown> =>
  farm.chain.commitMany([farm.signedCommit(job.jobKey, overrides)]);

describe('a job', () => {
  const terms = async (): Promise<OpenJobTerms> => ({
    requester: farm.requester.address,
    jobKey: randomBytes32(),
    budget: 100n,
    maxTaskPrice: 10n,
    deadline: (await farm.now()) + 1_000,
  });
  const openSigned = async (signed: OpenJobTerms, sent: OpenJobTerms = signed): Promise<unknown> =>
    farm.chain.openJob(sent, signOpenJob(farm.domain, signed, farm.requester.key), null);

  it('is not opened with a signature of somebody else', async () => {
    const open = await terms();
    await refuses(
      farm.chain.openJob(open, signOpenJob(farm.domain, open, farm.stranger.key), null),
      'WrongSigner',
    );
  });
  it('is not opened on other terms than the signed ones', async () => {
    const open = await terms();
    await refuses(openSigned(open, { ...open, budget: 101n }), 'WrongSigner');
    await refuses(openSigned(open, { ...open, maxTaskPrice: 11n }), 'WrongSigner');
    await refuses(openSigned(open, { ...open, deadline: open.deadline + 1 }), 'WrongSigner');
    await refuses(openSigned(open, { ...open, jobKey: randomBytes32() }), 'WrongSigner');
  });
  it('is not opened with a signature for another chain or another escrow', async () => {
    const open = await terms();
    const { chainId, escrowAddress } = farm.deployment;
    for (const domain of [
      escrowDomain(chainId + 1, escrowAddress),
      escrowDomain(chainId, farm.node.address),
    ]) {
      await refuses(
        farm.chain.openJob(open, signOpenJob(domain, open, farm.requester.key), null),
        'WrongSigner',
      );
    }
  });
  it('is not opened twice', async () => {
    await refuses(openSigned(job), 'JobExists');
  });
  it('is not opened without money, past its deadline, or without allowance', async () => {
    await refuses(openSigned({ ...(await terms()), budget: 0n }), 'BudgetZero');
    await refuses(openSigned({ ...(await terms()), deadline: (await farm.now()) - 1 }), 'DeadlinePassed');
    await refuses(openSigned(await terms()), 'ERC20InsufficientAllowance');
  });
  it('is not closed by a stranger before its deadline, nor twice, nor when it never was', async () => {
    const { jobKey } = await farm.open();
    await refuses(farm.sendAs(farm.stranger, 'closeJob', [jobKey]), 'DeadlineNotReached');
    await farm.sendAs(farm.requester, 'closeJob', [jobKey]);
    await refuses(farm.chain.closeJob(jobKey), 'JobNotOpen');
    await refuses(farm.chain.closeJob(randomBytes32()), 'JobNotOpen');
  });
});

describe('a commit', () => {
  it('is refused when the node did not sign it, or signed something else', async () => {
    const { commit, signature } = farm.signedCommit(job.jobKey);
    const forged = signCommit(farm.domain, commit, farm.stranger.key);
    await refuses(farm.chain.commitMany([{ commit, signature: forged }]), 'WrongSigner');
    await refuses(
      farm.chain.commitMany([{ commit: { ...commit, root: randomBytes32() }, signature }]),
      'WrongSigner',
    );
    const thief = { ...commit, node: farm.stranger.address };
    await refuses(farm.chain.commitMany([{ commit: thief, signature }]), 'WrongSigner');
  });
  it('is refused when a stranger brings it, although the node signed', async () => {
    const { commit, signature } = farm.signedCommit(job.jobKey);
    await refuses(farm.sendAs(farm.stranger, 'commit', [commit, signature]), 'NotCoordinator');
    await refuses(farm.sendAs(farm.stranger, 'commitMany', [[commit], [signature]]), 'NotCoordinator');
  });
  it('is refused for a batchKey that has one, in whatever state', async () => {
    const batchKey = await farm.batchIn(job.jobKey, 'committed');
    await refuses(commitAs({ batchKey }), 'BatchExists');
    await farm.drawNext(batchKey);
    await farm.attestAs(batchKey, 'fail');
    await farm.chain.settleMany([batchKey]);
    await refuses(commitAs({ batchKey }), 'BatchExists');
  });
  it('is refused above the task price, above the free money, and with no or too many receipts', async () => {
    await refuses(commitAs({ count: 1, amount: job.maxTaskPrice + 1n }), 'AboveMaxTaskPrice');
    const poor = await farm.open({ budget: 100n, maxTaskPrice: 1_000n });
    await refuses(
      farm.chain.commitMany([farm.signedCommit(poor.jobKey, { amount: 101n })]),
      'AboveFreeMoney',
    );
    await refuses(commitAs({ count: 0, amount: 0n }), 'CountOutOfRange');
    await refuses(commitAs({ count: 65 }), 'CountOutOfRange');
  });
  it('is refused without its signature', async () => {
    const { commit } = farm.signedCommit(job.jobKey);
    await refuses(farm.sendAs(farm.coordinator, 'commitMany', [[commit], []]), 'LengthMismatch');
  });
  it('takes all of a transaction back when one of it is refused', async () => {
    const good = farm.signedCommit(job.jobKey);
    await refuses(farm.chain.commitMany([good, good]), 'BatchExists');
    expect((await farm.chain.batch(good.commit.batchKey)).state).toBe('none');
  });
  it('is refused for a job that is closed, past its deadline, or was never opened', async () => {
    const closed = await farm.open();
    await farm.chain.closeJob(closed.jobKey);
    await refuses(farm.chain.commitMany([farm.signedCommit(closed.jobKey)]), 'JobNotOpen');
    await refuses(farm.chain.commitMany([farm.signedCommit(randomBytes32())]), 'JobNotOpen');
    const late = await farm.open({ deadline: (await farm.now()) + 600 });
    await farm.passTime(700);
    await refuses(farm.chain.commitMany([farm.signedCommit(late.jobKey)]), 'DeadlinePassed');
  });
});

describe('a draw', () => {
  it('is refused before the second block after the commit', async () => {
    const batchKey = await farm.batchIn(job.jobKey, 'committed');
    const preimage = farm.secrets.nextPreimage(await farm.chain.verifierHead());
    await refuses(farm.chain.draw(batchKey, preimage), 'DrawTooEarly');
    await refuses(farm.sendAs(farm.stranger, 'reanchor', [batchKey]), 'DrawTooEarly');
  });
  it('is refused with another value than the preimage of the head', async () => {
    const batchKey = await farm.batchIn(job.jobKey, 'committed');
    await farm.chain.waitUntilDrawable(batchKey);
    const head = await farm.chain.verifierHead();
    const next = farm.secrets.nextPreimage(head);
    for (const wrong of [randomBytes32(), head, farm.secrets.nextPreimage(next)]) {
      await refuses(farm.chain.draw(batchKey, wrong), 'WrongPreimage');
    }
  });
  it('is refused a second time, with the same secret or the next', async () => {
    const batchKey = await farm.batchIn(job.jobKey, 'drawn');
    await refuses(farm.chain.draw(batchKey, await farm.chain.verifierHead()), 'WrongBatchState');
    const next = farm.secrets.nextPreimage(await farm.chain.verifierHead());
    await refuses(farm.chain.draw(batchKey, next), 'WrongBatchState');
  });
  it('is not repeated by anchoring anew while the hash is still there', async () => {
    const batchKey = await farm.batchIn(job.jobKey, 'committed');
    await farm.mine(200);
    await refuses(farm.sendAs(farm.stranger, 'reanchor', [batchKey]), 'BlockHashStillThere');
  });
});

describe('a verdict', () => {
  const verdict = (batchKey: Bytes32) => ({ batchKey, outcome: 'pass' as const, evidence: randomBytes32() });

  it('is refused from anybody but the verifier, and when changed on the way', async () => {
    const batchKey = await farm.batchIn(job.jobKey, 'drawn');
    const said = verdict(batchKey);
    await refuses(farm.chain.attest(said, signVerdict(farm.domain, said, party().key)), 'WrongSigner');
    const signature = signVerdict(farm.domain, { ...said, outcome: 'fail' }, farm.verifier.key);
    await refuses(farm.chain.attest(said, signature), 'WrongSigner');
  });
  it('is refused before the draw and after another verdict', async () => {
    const early = verdict(await farm.batchIn(job.jobKey, 'committed'));
    await refuses(
      farm.chain.attest(early, signVerdict(farm.domain, early, farm.verifier.key)),
      'WrongBatchState',
    );
    const late = verdict(await farm.batchIn(job.jobKey, 'fail'));
    await refuses(
      farm.chain.attest(late, signVerdict(farm.domain, late, farm.verifier.key)),
      'WrongBatchState',
    );
  });
  it('is refused with an outcome that means nothing', async () => {
    const said = verdict(await farm.batchIn(job.jobKey, 'drawn'));
    const signature = signVerdict(farm.domain, said, farm.verifier.key);
    for (const outcome of [0, Math.max(...Object.values(OUTCOME_NUMBERS)) + 1]) {
      await refuses(
        farm.sendAs(farm.stranger, 'attest', [{ ...said, outcome }, signature]),
        'UnknownOutcome',
      );
    }
  });
});

describe('money', () => {
  it('does not move twice, nor without a verdict', async () => {
    const paid = await farm.batchIn(job.jobKey, 'pass');
    const before = await farm.chain.credit(farm.node.address);
    await refuses(farm.chain.settleMany([paid, paid]), 'WrongBatchState');
    await farm.chain.settleMany([paid]);
    await refuses(farm.chain.settleMany([paid]), 'WrongBatchState');
    expect(await farm.chain.credit(farm.node.address)).toBe(before + 1_000_000n);
    await refuses(farm.chain.settleMany([await farm.batchIn(job.jobKey, 'drawn')]), 'WrongBatchState');
    await refuses(farm.chain.settleMany([randomBytes32()]), 'WrongBatchState');
  });
  it('does not move twice when two settle in the same block, and the second is told why', async () => {
    const paid = await farm.batchIn((await farm.open()).jobKey, 'pass');
    await farm.rpc.call('evm_setAutomine', [false]);
    const both = Promise.all(
      [farm.stranger, farm.requester].map((sender) => said(farm.sendAs(sender, 'settle', [[paid]]))),
    );
    try {
      // Both have arrived once the chain holds two that are not in a block yet.
      await vi.waitFor(
        async () => expect(await farm.rpc.call('txpool_status', [])).toMatchObject({ pending: '0x2' }),
        { timeout: 60_000 },
      );
    } finally {
      await farm.rpc.call('evm_mine', []);
      await farm.rpc.call('evm_setAutomine', [true]);
    }
    expect((await both).toSorted()).toEqual(['WrongBatchState', 'done']);
  });
  it('does not come back while a verdict may still come, nor after one', async () => {
    const { jobKey } = await farm.open();
    const open = await farm.batchIn(jobKey, 'committed');
    await refuses(farm.chain.expire(open), 'VerdictWindowOpen');
    const attested = await farm.batchIn(jobKey, 'pass');
    await farm.passTime(7 * 86_400 + 60);
    await refuses(farm.chain.expire(attested), 'WrongBatchState');
    await farm.chain.expire(open);
    await refuses(farm.chain.expire(open), 'WrongBatchState');
    await refuses(farm.chain.settleMany([open]), 'WrongBatchState');
  });
  it('does not go to accounts without credit', async () => {
    await refuses(farm.chain.withdrawFor(party().address), 'NothingToWithdraw');
    await refuses(farm.sendAs(farm.stranger, 'withdraw', []), 'NothingToWithdraw');
  });
  it('is not minted by a stranger', async () => {
    const { address, key } = farm.stranger;
    const sender = transactionSender(farm.rpc, farm.deployment.chainId, key);
    const data = tokenInterface.encodeFunctionData('mint', [address, 1n]);
    const to = farm.deployment.tokenAddress;
    await refuses(sender.send({ to, data, label: 'mint' }), 'OwnableUnauthorizedAccount');
  });
});
