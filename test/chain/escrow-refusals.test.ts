import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import type { OpenJobTerms, VerdictTerms } from '../../platform/chain/chain.ts';
import { token } from '../../platform/chain/contracts.ts';
import { EMBEDDED_TERMS } from '../../platform/chain/deploy.ts';
import { batchKeyOf, deviceClassKey, partsOfBatchKey } from '../../platform/chain/keys.ts';
import {
  escrowDomain,
  OUTCOME_NUMBERS,
  registryDomain,
  signCommit,
  signDispute,
  signNodeTerms,
  signOpenJob,
  signStakeTerms,
  signVerdict,
  signVerifierTerms,
} from '../../platform/chain/signing.ts';
import { transactionSender } from '../../platform/chain/transactions.ts';
import { isFarmError } from '../../protocol/errors.ts';
import type { Address, Bytes32, Signature } from '../../protocol/ids.ts';
import { type ChainFixture, party, randomBytes32, startChainFixture } from './fixture.ts';

let farm: ChainFixture;
let job: OpenJobTerms;
beforeAll(async () => {
  farm = await startChainFixture();
  job = await farm.open({ budget: 100_000_000n });
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

/** An escrow or registry elsewhere, or on another chain. */
const elsewhere = (of: typeof escrowDomain | typeof registryDomain, address: Address) => [
  of(farm.deployment.chainId + 1, address),
  of(farm.deployment.chainId, farm.node.address),
];

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
    for (const domain of elsewhere(escrowDomain, farm.deployment.escrowAddress)) {
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
  });
  it('is refused for a node that the registry does not know', async () => {
    const unknown = party();
    await refuses(farm.chain.commitMany([farm.signedCommit(job.jobKey, {}, unknown)]), 'NodeNotRegistered');
  });
  it('is refused when a stranger brings it, although the node signed', async () => {
    const { commit, signature } = farm.signedCommit(job.jobKey);
    await refuses(farm.sendAs(farm.stranger, 'commit', [commit, signature]), 'NotCoordinator');
    await refuses(farm.sendAs(farm.stranger, 'commitMany', [[commit], [signature]]), 'NotCoordinator');
  });
  it('is refused in a lane that is taken, and for a generation that was, in whatever state', async () => {
    const batchKey = await farm.batchIn(job.jobKey, 'committed');
    const parts = partsOfBatchKey(batchKey);
    const later = batchKeyOf({ ...parts, generation: parts.generation + 1n });
    await refuses(commitAs({ batchKey }), 'LaneTaken');
    await refuses(commitAs({ batchKey: later }), 'LaneTaken');
    await farm.drawNext(batchKey);
    await farm.attestAs(batchKey, 'inconclusive');
    await farm.attestAs(batchKey, 'inconclusive');
    await refuses(commitAs({ batchKey: later }), 'LaneTaken');
    await farm.chain.settleMany([batchKey]);
    await refuses(commitAs({ batchKey }), 'LaneTaken');
    await refuses(commitAs({ batchKey: batchKeyOf({ ...parts, generation: 0n }) }), 'LaneTaken');
    expect(await said(commitAs({ batchKey: later }))).toBe('done');
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
    await refuses(farm.chain.commitMany([good, good]), 'LaneTaken');
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
    await refuses(farm.chain.draw(batchKey, randomBytes32()), 'DrawTooEarly');
  });
  it('is refused with another value than the preimage of the head', async () => {
    const batchKey = await farm.batchIn(job.jobKey, 'committed');
    await farm.chain.waitUntilDrawable([batchKey]);
    const drawer = (await farm.chain.drawerOf(batchKey)) ?? ('' as Address);
    const { secrets } = farm.verifierOf(drawer);
    const head = await farm.chain.verifierHead(drawer);
    for (const wrong of [randomBytes32(), head, secrets.nextPreimage(secrets.nextPreimage(head))]) {
      await refuses(farm.chain.draw(batchKey, wrong), 'WrongPreimage');
    }
  });
  it('is refused from anybody but the drawer and the coordinator', async () => {
    const batchKey = await farm.batchIn(job.jobKey, 'committed');
    await farm.chain.waitUntilDrawable([batchKey]);
    const secret = await farm.nextSecret(batchKey);
    const drawing = farm.sendAs(farm.stranger, 'draw', [batchKey, await farm.struct(batchKey), secret]);
    await refuses(drawing, 'NotDrawer');
  });
  it('is refused a second time, and for a batch that never was', async () => {
    const batchKey = await farm.batchIn(job.jobKey, 'drawn');
    await refuses(farm.chain.draw(batchKey, randomBytes32()), 'WrongBatchState');
    await refuses(farm.chain.draw(farm.newBatchKey(), randomBytes32()), 'WrongBatch');
  });
  it('is not repeated by anchoring anew while its drawer has time', async () => {
    const batchKey = await farm.batchIn(job.jobKey, 'committed');
    await farm.mine(EMBEDDED_TERMS.drawBlocks - 10);
    const struct = await farm.struct(batchKey);
    await refuses(farm.sendAs(farm.stranger, 'reanchor', [batchKey, struct]), 'DrawWindowOpen');
  });
  it('is refused when somebody makes the batch another than it is', async () => {
    const batchKey = await farm.batchIn(job.jobKey, 'committed');
    await farm.chain.waitUntilDrawable([batchKey]);
    const struct = { ...(await farm.struct(batchKey)), operator: farm.stranger.address };
    const secret = await farm.nextSecret(batchKey);
    await refuses(farm.sendAs(farm.coordinator, 'draw', [batchKey, struct, secret]), 'WrongBatch');
  });
});

describe('a verdict', () => {
  const verdict = async (batchKey: Bytes32): Promise<VerdictTerms> => ({
    ...{ batchKey, seed: (await farm.chain.batch(batchKey)).seed ?? randomBytes32() },
    ...{ outcome: 'pass' as const, evidence: randomBytes32() },
  });
  const askedKey = async (batchKey: Bytes32) => {
    const [asked] = (await farm.chain.batch(batchKey)).asked;
    return farm.verifierOf(asked ?? ('' as Address)).key;
  };

  it('is refused from anybody but the one who is asked, and when changed on the way', async () => {
    const batchKey = await farm.batchIn(job.jobKey, 'drawn');
    const word = await verdict(batchKey);
    const key = await askedKey(batchKey);
    const other = farm.verifiers.find((verifier) => verifier.key !== key);
    for (const wrong of [party().key, other?.key ?? party().key]) {
      await refuses(farm.chain.attest(word, signVerdict(farm.domain, word, wrong)), 'WrongSigner');
    }
    const changed = signVerdict(farm.domain, { ...word, outcome: 'fail' }, key);
    await refuses(farm.chain.attest(word, changed), 'WrongSigner');
    const ofAnotherDraw = signVerdict(farm.domain, { ...word, seed: randomBytes32() }, key);
    await refuses(farm.chain.attest(word, ofAnotherDraw), 'WrongSigner');
  });
  it('is refused before the draw and after another verdict', async () => {
    const early = await verdict(await farm.batchIn(job.jobKey, 'committed'));
    const [anybody] = farm.verifiers;
    const key = anybody?.key ?? party().key;
    await refuses(farm.chain.attest(early, signVerdict(farm.domain, early, key)), 'WrongBatchState');
    const late = await verdict(await farm.batchIn(job.jobKey, 'pass'));
    await refuses(farm.chain.attest(late, signVerdict(farm.domain, late, key)), 'WrongBatchState');
  });
  it('is refused with an outcome that means nothing', async () => {
    const batchKey = await farm.batchIn(job.jobKey, 'drawn');
    const word = await verdict(batchKey);
    const signature = signVerdict(farm.domain, word, await askedKey(batchKey));
    const struct = await farm.struct(batchKey);
    for (const outcome of [0, Math.max(...Object.values(OUTCOME_NUMBERS)) + 1]) {
      const unknown = { outcome, evidence: word.evidence, signature };
      await refuses(farm.sendAs(farm.stranger, 'attest', [batchKey, struct, unknown]), 'UnknownOutcome');
    }
  });
  it('is not asked of another while the one who is asked has time, nor when there is no other', async () => {
    const batchKey = await farm.batchIn(job.jobKey, 'drawn');
    await refuses(farm.chain.replace(batchKey), 'WindowOpen');
    await farm.attestAs(batchKey, 'fail');
    await farm.passTime(EMBEDDED_TERMS.verdictWindowS + 60);
    await refuses(farm.chain.replace(batchKey), 'NoVerifierLeft');
  });
});

describe('a dispute', () => {
  const dispute = async (batchKey: Bytes32, change: { bond?: bigint; seed?: Bytes32 } = {}) => {
    const { seed } = await farm.chain.batch(batchKey);
    const terms = {
      ...{ batchKey, seed: seed ?? randomBytes32(), disputer: farm.stranger.address },
      ...{ bond: EMBEDDED_TERMS.disputeBond, ...change },
    };
    return { terms, signature: signDispute(farm.domain, terms, farm.stranger.key) };
  };

  it('is refused with another bond, for another draw, and unsigned', async () => {
    const batchKey = await farm.batchIn(job.jobKey, 'pass');
    const cheap = await dispute(batchKey, { bond: 1n });
    await refuses(farm.chain.dispute(cheap.terms, cheap.signature, null), 'WrongBond');
    const other = await dispute(batchKey, { seed: randomBytes32() });
    await refuses(farm.chain.dispute(other.terms, other.signature, null), 'WrongSeed');
    const { terms } = await dispute(batchKey);
    await refuses(
      farm.chain.dispute(terms, signDispute(farm.domain, terms, party().key), null),
      'WrongSigner',
    );
  });
  it('is refused before a judgement, of an inconclusive one, and where no committee can be had', async () => {
    const drawn = await dispute(await farm.batchIn(job.jobKey, 'drawn'));
    await refuses(farm.chain.dispute(drawn.terms, drawn.signature, null), 'WrongBatchState');
    const unclear = await dispute(await farm.batchIn(job.jobKey, 'inconclusive'));
    await refuses(farm.chain.dispute(unclear.terms, unclear.signature, null), 'NotDisputable');
    // This farm has two verifiers.
    const few = await farm.batchIn(job.jobKey, 'pass');
    await refuses(farm.dispute(few, farm.stranger), 'CommitteeTooSmall');
  });
});

describe('money', () => {
  it('does not move twice, nor without a verdict', async () => {
    const paid = await farm.batchIn(job.jobKey, 'pass');
    const before = await farm.chain.credit(farm.node.address);
    await refuses(farm.chain.settleMany([paid, paid]), 'WrongBatch');
    await farm.chain.settleMany([paid]);
    await refuses(farm.chain.settleMany([paid]), 'WrongBatch');
    expect(await farm.chain.credit(farm.node.address)).toBe(before + 1_000_000n);
    await refuses(farm.chain.settleMany([await farm.batchIn(job.jobKey, 'drawn')]), 'WrongBatchState');
    await refuses(farm.chain.settleMany([farm.newBatchKey()]), 'WrongBatch');
  });
  it('does not move twice when two settle in the same block, and the second is told why', async () => {
    const paid = await farm.batchIn((await farm.open()).jobKey, 'pass');
    const struct = await farm.struct(paid);
    await farm.rpc.call('evm_setAutomine', [false]);
    const both = Promise.all(
      [farm.stranger, farm.requester].map((sender) =>
        said(farm.sendAs(sender, 'settle', [[paid], [struct]])),
      ),
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
    expect((await both).toSorted()).toEqual(['WrongBatch', 'done']);
  });
  it('does not come back while a verdict may still come, nor after one', async () => {
    const { jobKey } = await farm.open();
    const open = await farm.batchIn(jobKey, 'committed');
    await refuses(farm.chain.expire(open), 'WindowOpen');
    const judged = await farm.batchIn(jobKey, 'pass');
    await farm.passTime(EMBEDDED_TERMS.expireWindowS + 60);
    await refuses(farm.chain.expire(judged), 'WrongBatchState');
    await farm.chain.expire(open);
    await refuses(farm.chain.expire(open), 'WrongBatch');
    await refuses(farm.chain.settleMany([open]), 'WrongBatch');
  });
  it('does not go to accounts without credit', async () => {
    await refuses(farm.chain.withdrawFor(party().address), 'NothingToWithdraw');
    await refuses(farm.sendAs(farm.stranger, 'withdraw', []), 'NothingToWithdraw');
  });
  it('is not minted by a stranger', async () => {
    const { address, key } = farm.stranger;
    const sender = transactionSender(farm.rpc, farm.deployment.chainId, key);
    const data = token.encode('mint', [address, 1n]);
    const to = farm.deployment.tokenAddress;
    await refuses(sender.send({ to, data, label: 'mint' }), 'OwnableUnauthorizedAccount');
  });
});

describe('the registry', () => {
  const terms = async (node: Address, operator: Address) => {
    const { nonce } = await farm.chain.operator(operator);
    return { node, operator, deviceClass: deviceClassKey('cpu-avx2'), ask: 1n, nonce };
  };

  it('takes a node only with both signatures, each once, and for this registry', async () => {
    const [node, operator] = [party(), party()];
    const signed = await terms(node.address, operator.address);
    const by = (key = operator.key, domain = farm.registryDomain): Signature =>
      signNodeTerms(domain, signed, key);
    await refuses(farm.chain.registerNode(signed, by(node.key), by(node.key)), 'WrongSigner');
    await refuses(farm.chain.registerNode(signed, by(), by()), 'WrongSigner');
    for (const domain of elsewhere(registryDomain, farm.deployment.registryAddress)) {
      await refuses(farm.chain.registerNode(signed, by(operator.key, domain), by(node.key)), 'WrongSigner');
    }
    await farm.chain.registerNode(signed, by(), by(node.key));
    await refuses(farm.chain.registerNode(signed, by(), by(node.key)), 'WrongNonce');
  });
  it('lets nobody take another’s node, and only its operator let go of it', async () => {
    const thief = party();
    const stolen = await terms(farm.node.address, thief.address);
    const signature = signNodeTerms(farm.registryDomain, stolen, thief.key);
    await refuses(farm.chain.registerNode(stolen, signature, signature), 'NodeTaken');
    await refuses(farm.registerAs(farm.stranger, 'removeNode', [farm.node.address]), 'NotOperator');
  });
  it('takes stake only as its operator signed for it, with its money', async () => {
    const operator = party();
    const staking = { operator: operator.address, amount: 5n, nonce: 0n };
    const signature = signStakeTerms(farm.registryDomain, staking, operator.key);
    await refuses(farm.chain.stakeFor({ ...staking, amount: 6n }, signature, null), 'WrongSigner');
    await refuses(farm.chain.stakeFor(staking, signature, null), 'ERC20InsufficientAllowance');
  });
  it('takes a verifier only with stake behind it, and only with the head that it has', async () => {
    const operator = party();
    const verifier = party();
    const joining = { verifier: verifier.address, operator: operator.address, head: randomBytes32() };
    const signed = (change: { head?: Bytes32; nonce: bigint }) => {
      const whole = { ...joining, ...change };
      return [whole, signVerifierTerms(farm.registryDomain, whole, operator.key)] as const;
    };
    await refuses(farm.chain.joinVerifier(...signed({ nonce: 0n })), 'StakeTooSmall');
    const [taken] = farm.verifiers;
    if (taken === undefined) throw new Error('this farm has no verifier');
    const { nonce } = await farm.chain.operator(taken.operator.address);
    const other = {
      ...{ verifier: taken.address, operator: taken.operator.address, head: randomBytes32(), nonce },
    };
    const signature = signVerifierTerms(farm.registryDomain, other, taken.operator.key);
    await refuses(farm.chain.joinVerifier(other, signature), 'WrongHead');
    await refuses(farm.chain.activateVerifier(taken.address), 'VerifierActive');
    await refuses(farm.chain.activateVerifier(verifier.address), 'VerifierUnknown');
  });
  it('keeps stake until it has thawed', async () => {
    await farm.registerAs(farm.node, 'thaw', [1n]);
    await refuses(farm.registerAs(farm.stranger, 'unstake', [farm.node.address]), 'StillThawing');
  });
  it('lets only the escrow punish and use secrets', async () => {
    const { address } = farm.node;
    await refuses(farm.registerAs(farm.stranger, 'slash', [address, 1n, randomBytes32()]), 'NotEscrow');
    const secret = [randomBytes32(), 1n, address, randomBytes32()] as const;
    await refuses(farm.registerAs(farm.stranger, 'useSecret', secret), 'NotEscrow');
  });
});
