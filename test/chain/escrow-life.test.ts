import { AbiCoder, keccak256, Signature } from 'ethers';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { requireSignedAppeal, termsOf } from '../../coordinator/settlement/appealable.ts';
import type { ChainBatch } from '../../platform/chain/chain.ts';
import { token } from '../../platform/chain/contracts.ts';
import { EMBEDDED_STAKE, EMBEDDED_TERMS } from '../../platform/chain/deploy.ts';
import { BURN_ADDRESS } from '../../platform/chain/escrow-books.ts';
import { batchKeyOf, deviceClassKey } from '../../platform/chain/keys.ts';
import { signAppeal } from '../../platform/chain/sign-appeal.ts';
import { signOpenJob, tokenDomain } from '../../platform/chain/signing.ts';
import { transactionSender } from '../../platform/chain/transactions.ts';
import type { Address, Bytes32 } from '../../protocol/ids.ts';
import { type ChainFixture, digestOf, party, randomBytes32, startChainFixture } from './fixture.ts';

const AMOUNT = 1_000_000n;
/** A failed batch of a million costs the node's operator this: ten times as much, of which half is burnt. */
const SLASH = AMOUNT * BigInt(EMBEDDED_TERMS.slashFactor);

let farm: ChainFixture;
beforeAll(async () => {
  // Two, a committee of five, and one more that can be asked in place of a silent one.
  farm = await startChainFixture({ verifiers: 8 });
});
afterAll(() => farm.end());

/** What a job's money is, after it was held against the rule that it never is more or less. */
const books = async (jobKey: Bytes32) => {
  const { budget, free, reserved, released, refunded, state } = await farm.chain.job(jobKey);
  expect(free + reserved + released + refunded).toBe(budget);
  return { free, reserved, released, refunded, state };
};

/** Credits and stakes of these accounts, to see what an action changed. */
const wealth = async (...accounts: Address[]) => {
  const credits = await Promise.all(accounts.map((account) => farm.chain.credit(account)));
  const stakes = await Promise.all(accounts.map((account) => farm.chain.operator(account)));
  return accounts.map((_, at) => ({ credit: credits[at] ?? 0n, stake: stakes[at]?.stake ?? 0n }));
};

const operatorOf = (verifier: Address | undefined): Address =>
  farm.verifierOf(verifier ?? ('' as Address)).operator.address;

const batchOf = (key: Bytes32): Promise<ChainBatch> => farm.chain.batch(key);

describe('the life of a job', () => {
  it('opens, commits, draws, attests, settles, pays the operator and returns the rest', async () => {
    const { chain, node } = farm;
    const terms = await farm.open();
    expect(await chain.job(terms.jobKey)).toEqual({
      ...{ state: 'open', requester: terms.requester, budget: terms.budget },
      ...{ maxTaskPrice: terms.maxTaskPrice, deadline: terms.deadline, free: terms.budget },
      ...{ reserved: 0n, released: 0n, refunded: 0n, feeBps: 0, live: 0 },
    });
    const signed = farm.signedCommit(terms.jobKey);
    const { batchKey, ...promised } = signed.commit;
    const { root, amount } = promised;
    expect(await batchOf(batchKey)).toMatchObject({ state: 'none', asked: [], evidence: null });
    const committed = await chain.commitMany([signed]);
    const committedAt = await farm.now();
    expect(await batchOf(batchKey)).toEqual({
      ...promised,
      ...{ state: 'committed', node: node.address, operator: node.address, stake: EMBEDDED_STAKE },
      ...{ anchor: committed.blockNumber, committedAt, since: committedAt, reanchors: 0, seed: null },
      ...{ asked: [], first: null, second: null, members: [], votes: [], outcome: null, evidence: null },
      ...{ agreed: false, last: false, disputer: null, bond: 0n, paid: 0n, slashed: 0n },
    });
    expect(await books(terms.jobKey)).toMatchObject({ free: terms.budget - amount, reserved: amount });

    expect(await chain.drawerOf(batchKey)).toBeNull();
    await chain.waitUntilDrawable([batchKey]);
    const drawer = (await chain.drawerOf(batchKey)) ?? ('' as Address);
    const preimage = farm.verifierOf(drawer).secrets.nextPreimage(await chain.verifierHead(drawer));
    const drawn = await chain.draw(batchKey, preimage);
    if (drawn.kind !== 'drawn') throw new Error('the batch was anchored anew');
    const header = await farm.rpc.call('eth_getBlockByNumber', [
      `0x${(committed.blockNumber + 1n).toString(16)}`,
      false,
    ]);
    const { hash } = header as { hash: string };
    const bytes = AbiCoder.defaultAbiCoder().encode(
      ['bytes32', 'bytes32', 'bytes32'],
      [preimage, hash, root],
    );
    expect(drawn.seed).toBe(keccak256(bytes));
    const { asked, ...now } = await batchOf(batchKey);
    expect(now).toMatchObject({ state: 'drawn', seed: drawn.seed });
    expect(asked).toHaveLength(1);
    expect(await chain.verifierHead(drawer)).toBe(preimage);
    expect(await chain.drawerOf(batchKey)).toBeNull();

    await farm.attestAs(batchKey, 'pass');
    const evidence = digestOf(`${batchKey} ${asked[0]}`);
    expect(await batchOf(batchKey)).toMatchObject({
      ...{ state: 'judged', outcome: 'pass', evidence, agreed: false, last: false, asked: [] },
      first: { verifier: asked[0], outcome: 'pass', evidence },
    });
    await chain.settleMany([batchKey]);
    expect(await batchOf(batchKey)).toMatchObject({ state: 'settled', outcome: 'pass', paid: amount });
    expect(await books(terms.jobKey)).toMatchObject({ reserved: 0n, released: amount });
    expect(await chain.credit(node.address)).toBe(amount);

    await chain.withdrawFor(node.address);
    expect(await chain.tokenBalance(node.address)).toBe(amount);
    expect(await chain.credit(node.address)).toBe(0n);

    await chain.closeJob(terms.jobKey);
    expect(await books(terms.jobKey)).toMatchObject({
      ...{ state: 'closed', free: 0n, refunded: terms.budget - amount },
    });
    await farm.sendAs(farm.requester, 'withdraw', []);
    expect(await chain.tokenBalance(farm.requester.address)).toBe(terms.budget - amount);
    expect(await chain.tokenBalance(farm.deployment.escrowAddress)).toBe(0n);
  });

  it('opens although somebody used the permit before', async () => {
    const { chain, deployment, domain, requester, stranger } = farm;
    const terms = {
      ...{ requester: requester.address, jobKey: randomBytes32(), budget: 5n, maxTaskPrice: 1n },
      deadline: (await farm.now()) + 1_000,
    };
    await chain.mintTestTokens(requester.address, 5n);
    const permit = await farm.permit(requester, deployment.escrowAddress, 5n);
    const { v, r, s } = Signature.from(permit.signature);
    await transactionSender(farm.rpc, deployment.chainId, stranger.key).send({
      to: deployment.tokenAddress,
      data: token.encode('permit', [
        ...([requester.address, deployment.escrowAddress, 5n, BigInt(permit.deadline)] as const),
        ...([v, r as Bytes32, s as Bytes32] as const),
      ]),
      label: 'permit',
    });
    await chain.openJob(terms, signOpenJob(domain, terms, requester.key), permit);
    expect((await chain.job(terms.jobKey)).state).toBe('open');
  });

  it('takes more money from anybody while it is open, and gives it back to the requester', async () => {
    const { chain, deployment, stranger } = farm;
    const { jobKey, budget } = await farm.open();
    await chain.mintTestTokens(stranger.address, 7n);
    const { signature, ...permit } = await farm.permit(stranger, deployment.escrowAddress, 7n);
    const { v, r, s } = Signature.from(signature);
    const passed = { ...permit, deadline: BigInt(permit.deadline), v, r: r as Bytes32, s: s as Bytes32 };
    await farm.sendAs(stranger, 'addFunds', [jobKey, 7n, passed]);
    expect(await chain.job(jobKey)).toMatchObject({ budget: budget + 7n, free: budget + 7n });
    await chain.closeJob(jobKey);
    expect(await books(jobKey)).toMatchObject({ refunded: budget + 7n });
  });

  it('settles batches that are under way when the job closes, either way', async () => {
    const { chain, requester, node } = farm;
    const { jobKey, budget } = await farm.open();
    const good = await farm.batchIn(jobKey, 'pass');
    const bad = await farm.batchIn(jobKey, 'drawn');
    const [nodeHad, requesterHad] = await wealth(node.address, requester.address);
    await chain.closeJob(jobKey);
    expect(await books(jobKey)).toMatchObject({
      ...{ free: 0n, reserved: 2n * AMOUNT, refunded: budget - 2n * AMOUNT },
    });
    await farm.attestAs(bad, 'inconclusive');
    await farm.attestAs(bad, 'inconclusive');
    await chain.settleMany([good, bad]);
    expect(await books(jobKey)).toMatchObject({ reserved: 0n, released: AMOUNT, refunded: budget - AMOUNT });
    const [nodeHas, requesterHas] = await wealth(node.address, requester.address);
    expect(nodeHas?.credit).toBe((nodeHad?.credit ?? 0n) + AMOUNT);
    expect(requesterHas?.credit).toBe((requesterHad?.credit ?? 0n) + budget - AMOUNT);
  });
});

describe('a lane', () => {
  it('is used again by a later generation, and each batch is found by its own key', async () => {
    const { chain, node } = farm;
    const { jobKey } = await farm.open();
    const keyOf = (generation: bigint) => batchKeyOf({ node: node.address, lane: 77, generation });
    const [never, first, second] = [keyOf(1n), keyOf(2n), keyOf(5n)];
    await farm.batchIn(jobKey, 'pass', { batchKey: first });
    expect((await chain.batches([never, first, second])).map(({ state }) => state)).toEqual([
      ...['none', 'judged', 'none'],
    ]);
    await chain.settleMany([first]);
    await farm.batchIn(jobKey, 'committed', { batchKey: second });
    // In the order that was asked for, and each as often.
    const states = (await chain.batches([second, never, first, second])).map(({ state }) => state);
    expect(states).toEqual(['committed', 'none', 'settled', 'committed']);
  });
});

describe('verdicts', () => {
  it('that pass need one verifier', async () => {
    const { jobKey } = await farm.open();
    const batch = await farm.batchIn(jobKey, 'pass');
    expect(await batchOf(batch)).toMatchObject({ state: 'judged', outcome: 'pass', second: null });
  });

  it('ask a second verifier, of another operator, after anything but a pass', async () => {
    const { jobKey } = await farm.open();
    for (const outcome of ['fail', 'inconclusive'] as const) {
      const key = await farm.batchIn(jobKey, 'drawn');
      const [first] = (await batchOf(key)).asked;
      await farm.attestAs(key, outcome);
      const { state, asked } = await batchOf(key);
      expect(state).toBe('second');
      expect(asked).toHaveLength(1);
      expect(asked[0]).not.toBe(first);
    }
  });

  it.each([
    ['fail', 'fail', 'fail', true],
    ['fail', 'inconclusive', 'fail', false],
    ['inconclusive', 'pass', 'pass', false],
    ['inconclusive', 'fail', 'fail', false],
    ['inconclusive', 'inconclusive', 'inconclusive', false],
  ] as const)('%s and then %s is judged %s', async (one, other, outcome, agreed) => {
    const { jobKey, budget } = await farm.open();
    const key = await farm.batchIn(jobKey, 'drawn');
    const [first] = (await batchOf(key)).asked;
    await farm.attestAs(key, one);
    const [second] = (await batchOf(key)).asked;
    await farm.attestAs(key, other);
    const decided = outcome === other ? second : first;
    expect(await batchOf(key)).toMatchObject({
      ...{ state: 'judged', outcome, agreed, last: false, evidence: digestOf(`${key} ${decided}`) },
      first: { verifier: first, outcome: one },
      second: { verifier: second, outcome: other },
    });
    const [before] = await wealth(farm.node.address);
    await farm.chain.settleMany([key]);
    const [after] = await wealth(farm.node.address);
    const lost = (before?.stake ?? 0n) - (after?.stake ?? 0n);
    expect(lost).toBe(agreed ? SLASH : 0n);
    expect(await batchOf(key)).toMatchObject({ state: 'settled', slashed: lost });
    const paid = outcome === 'pass' ? AMOUNT : 0n;
    expect(await books(jobKey)).toMatchObject({ free: budget - paid, reserved: 0n, released: paid });
  });

  it('of two that fail cost the stake: half is burnt, half is the requester’s', async () => {
    const { node, requester } = farm;
    const { jobKey } = await farm.open();
    const key = await farm.batchIn(jobKey, 'fail');
    const [, requesterHad, burnt] = await wealth(node.address, requester.address, BURN_ADDRESS);
    await farm.chain.settleMany([key]);
    const [, requesterHas, burntNow] = await wealth(node.address, requester.address, BURN_ADDRESS);
    expect((requesterHas?.credit ?? 0n) - (requesterHad?.credit ?? 0n)).toBe(SLASH / 2n);
    expect((burntNow?.credit ?? 0n) - (burnt?.credit ?? 0n)).toBe(SLASH / 2n);
  });

  it('never cost a node more than it had when it committed', async () => {
    const poor = party();
    await farm.addNode(poor, 3n);
    const { jobKey } = await farm.open();
    const signed = farm.signedCommit(jobKey, {}, poor);
    const key = signed.commit.batchKey;
    await farm.chain.commitMany([signed]);
    expect(await batchOf(key)).toMatchObject({ operator: poor.address, stake: 3n });
    await farm.drawNext(key);
    await farm.attestAs(key, 'fail');
    await farm.attestAs(key, 'fail');
    await farm.chain.settleMany([key]);
    expect(await batchOf(key)).toMatchObject({ slashed: 3n });
    expect(await farm.chain.operator(poor.address)).toMatchObject({ stake: 0n });
  });
});

describe('two verifiers that contradict each other', () => {
  const disagreed = async (): Promise<{ key: Bytes32; jobKey: Bytes32 }> => {
    const { jobKey } = await farm.open();
    const key = await farm.batchIn(jobKey, 'drawn');
    await farm.attestAs(key, 'fail');
    await farm.attestAs(key, 'pass');
    return { key, jobKey };
  };

  it('bring a committee of others, whose word punishes the one that was wrong', async () => {
    const { key } = await disagreed();
    const { state, asked, members, first, second } = await batchOf(key);
    expect(state).toBe('committee');
    expect(asked).toEqual(members);
    expect(members).toHaveLength(5);
    expect(members).not.toContain(first?.verifier);
    expect(members).not.toContain(second?.verifier);
    const wrong = operatorOf(second?.verifier);
    const [before] = await wealth(wrong);
    await farm.voteAs(key, 'fail', 3);
    const judged = await batchOf(key);
    expect(judged).toMatchObject({ state: 'judged', outcome: 'fail', agreed: true, last: true });
    expect(judged.votes.map(({ verifier }) => verifier)).toEqual(members.slice(0, 3));
    expect(judged.evidence).toBe(digestOf(`${key} ${members[0]}`));
    const [after] = await wealth(wrong);
    expect((before?.stake ?? 0n) - (after?.stake ?? 0n)).toBe(EMBEDDED_TERMS.verifierPenalty);
    await farm.chain.settleMany([key]);
    expect(await batchOf(key)).toMatchObject({ state: 'settled', slashed: SLASH });
  });

  it('and a committee that passes: the node is paid, the first verifier was wrong', async () => {
    const { key } = await disagreed();
    const wrong = operatorOf((await batchOf(key)).first?.verifier);
    const [before] = await wealth(wrong);
    await farm.voteAs(key, 'pass', 5);
    const [after] = await wealth(wrong);
    expect((before?.stake ?? 0n) - (after?.stake ?? 0n)).toBe(EMBEDDED_TERMS.verifierPenalty);
    expect(await batchOf(key)).toMatchObject({ outcome: 'pass', agreed: false, last: true });
    await farm.chain.settleMany([key]);
    expect(await batchOf(key)).toMatchObject({ paid: AMOUNT, slashed: 0n });
  });

  it('and a committee that says nothing: nobody is paid, nobody punished', async () => {
    const { key } = await disagreed();
    await farm.passTime(EMBEDDED_TERMS.committeeWindowS + 60);
    await farm.chain.closeCommittee(key);
    expect(await batchOf(key)).toMatchObject({
      ...{ state: 'judged', outcome: 'inconclusive', agreed: false, last: true, evidence: null, votes: [] },
    });
    await farm.chain.settleMany([key]);
    expect(await batchOf(key)).toMatchObject({ state: 'settled', paid: 0n, slashed: 0n });
  });
});

describe('a dispute', () => {
  it('that is right gets its bond back and a quarter of what the node loses', async () => {
    const { chain, stranger } = farm;
    const { jobKey } = await farm.open();
    const key = await farm.batchIn(jobKey, 'pass');
    const liar = operatorOf((await batchOf(key)).first?.verifier);
    await farm.dispute(key, stranger);
    const { disputeBond, verifierPenalty } = EMBEDDED_TERMS;
    expect(await batchOf(key)).toMatchObject({
      ...{ state: 'committee', outcome: 'pass', disputer: stranger.address, bond: disputeBond },
    });
    const [strangerHad, liarHad] = await wealth(stranger.address, liar);
    await farm.voteAs(key, 'fail', 3);
    expect(await batchOf(key)).toMatchObject({
      ...{ outcome: 'fail', agreed: true, last: true, disputer: stranger.address, bond: 0n },
    });
    const [strangerHas, liarHas] = await wealth(stranger.address, liar);
    expect((liarHad?.stake ?? 0n) - (liarHas?.stake ?? 0n)).toBe(verifierPenalty);
    const gained = (strangerHas?.credit ?? 0n) - (strangerHad?.credit ?? 0n);
    expect(gained).toBe(disputeBond + verifierPenalty / 4n);
    await chain.settleMany([key]);
    const [strangerEnds] = await wealth(stranger.address);
    expect((strangerEnds?.credit ?? 0n) - (strangerHas?.credit ?? 0n)).toBe(SLASH / 4n);
  });

  it('that is wrong pays its bond to those who looked', async () => {
    const { stranger } = farm;
    const { jobKey } = await farm.open();
    const key = await farm.batchIn(jobKey, 'pass');
    await farm.dispute(key, stranger);
    const { members } = await batchOf(key);
    const voted = members.slice(0, 4).map(operatorOf);
    const before = await wealth(...voted);
    await farm.voteAs(key, 'pass', 4);
    expect(await batchOf(key)).toMatchObject({ outcome: 'pass', last: true, disputer: null, bond: 0n });
    const after = await wealth(...voted);
    const gained = after.map(({ credit }, at) => credit - (before[at]?.credit ?? 0n));
    expect(gained).toEqual(voted.map(() => EMBEDDED_TERMS.disputeBond / 4n));
  });

  it('of the node itself, as it signs it and the farm takes it: it is paid, and has its bond back', async () => {
    const { chain, node, deployment } = farm;
    const { jobKey } = await farm.open();
    const key = await farm.batchIn(jobKey, 'fail');
    const { seed, first, second } = await batchOf(key);
    if (seed === null) throw new Error('this batch is not drawn');
    const { disputeBond, verifierPenalty } = EMBEDDED_TERMS;
    const permitNonce = await chain.permitNonce(node.address);
    const { chainId, escrowAddress: escrow, tokenAddress: token } = deployment;
    const failed = { challenge: { batchKey: key, seed }, bond: disputeBond, permitNonce };
    const dispute = signAppeal({ chainId, escrow, token }, failed, node.key, await farm.now());
    const signed = termsOf(key, seed, dispute);
    const domains = { escrow: farm.domain, token: tokenDomain(chainId, token) };
    const now = { permitNonce, chainS: await farm.now() };
    const batch = { operator: node.address, disputeBond };
    requireSignedAppeal(signed, permitNonce, now, batch, domains);

    await chain.mintTestTokens(node.address, disputeBond);
    const liars = [first, second].map((word) => operatorOf(word?.verifier));
    const [before, ...had] = await wealth(node.address, ...liars);
    const balance = await chain.tokenBalance(node.address);
    await chain.dispute(signed.terms, signed.signature, signed.permit);
    expect(balance - (await chain.tokenBalance(node.address))).toBe(disputeBond);
    await expect(chain.dispute(signed.terms, signed.signature, signed.permit)).rejects.toMatchObject({
      ...{ code: 'CHAIN_REVERTED', details: { error: 'WrongBatchState' } },
    });
    await farm.voteAs(key, 'pass', 3);
    await chain.settleMany([key]);
    expect(await batchOf(key)).toMatchObject({
      state: 'settled',
      outcome: 'pass',
      paid: AMOUNT,
      slashed: 0n,
    });
    const [after, ...have] = await wealth(node.address, ...liars);
    expect(after?.stake).toBe(before?.stake);
    // Of what each of the liars loses half is burnt, and half of the rest is the disputer's.
    const gained = (after?.credit ?? 0n) - (before?.credit ?? 0n);
    expect(gained).toBe(disputeBond + AMOUNT + (2n * verifierPenalty) / 4n);
    expect(have.map(({ stake }, at) => (had[at]?.stake ?? 0n) - stake)).toEqual([
      verifierPenalty,
      verifierPenalty,
    ]);
  });

  it('that nobody answers leaves the judgement as it was and gives the bond back', async () => {
    const { stranger } = farm;
    const { jobKey } = await farm.open();
    const key = await farm.batchIn(jobKey, 'fail');
    const evidence = (await batchOf(key)).evidence;
    const [before] = await wealth(stranger.address);
    await farm.dispute(key, stranger);
    await farm.passTime(EMBEDDED_TERMS.committeeWindowS + 60);
    await farm.chain.closeCommittee(key);
    expect(await batchOf(key)).toMatchObject({
      ...{ state: 'judged', outcome: 'fail', agreed: true, last: true, disputer: null, bond: 0n, evidence },
    });
    const [after] = await wealth(stranger.address);
    expect((after?.credit ?? 0n) - (before?.credit ?? 0n)).toBe(EMBEDDED_TERMS.disputeBond);
  });
});

describe('silence', () => {
  it('of a verifier lets anybody have another asked, and costs it', async () => {
    const { jobKey } = await farm.open();
    const key = await farm.batchIn(jobKey, 'drawn');
    const [silent] = (await batchOf(key)).asked;
    const [before] = await wealth(operatorOf(silent));
    await farm.passTime(EMBEDDED_TERMS.verdictWindowS + 60);
    await farm.chain.replace(key);
    const { state, asked } = await batchOf(key);
    expect(state).toBe('drawn');
    expect(asked).toHaveLength(1);
    expect(asked[0]).not.toBe(silent);
    const [after] = await wealth(operatorOf(silent));
    expect((before?.stake ?? 0n) - (after?.stake ?? 0n)).toBe(EMBEDDED_TERMS.missPenalty);
    await farm.attestAs(key, 'pass');
    expect(await batchOf(key)).toMatchObject({ state: 'judged', outcome: 'pass' });
  });

  it('of a second verifier the same, and neither the first nor the silent one is asked again', async () => {
    const { jobKey } = await farm.open();
    const key = await farm.batchIn(jobKey, 'drawn');
    await farm.attestAs(key, 'fail');
    const { asked: silent, first } = await batchOf(key);
    await farm.passTime(EMBEDDED_TERMS.verdictWindowS + 60);
    await farm.chain.replace(key);
    const { state, asked } = await batchOf(key);
    expect(state).toBe('second');
    expect([silent[0], first?.verifier]).not.toContain(asked[0]);
    await farm.attestAs(key, 'fail');
    expect(await batchOf(key)).toMatchObject({ outcome: 'fail', agreed: true });
  });

  it('of a drawer gives the batch a new anchor and costs it, while its block can still be seen', async () => {
    const { chain } = farm;
    const { jobKey } = await farm.open();
    const key = await farm.batchIn(jobKey, 'committed');
    await chain.waitUntilDrawable([key]);
    const drawer = (await chain.drawerOf(key)) ?? ('' as Address);
    const [before] = await wealth(operatorOf(drawer));
    const write = await chain.reanchor(key);
    const batch = await batchOf(key);
    expect(batch).toMatchObject({ state: 'committed', reanchors: 1, anchor: write.blockNumber });
    expect(batch.since).toBe(await farm.now());
    const [after] = await wealth(operatorOf(drawer));
    expect((before?.stake ?? 0n) - (after?.stake ?? 0n)).toBe(EMBEDDED_TERMS.missPenalty);
    await farm.drawNext(key);
    expect((await batchOf(key)).state).toBe('drawn');
  });

  it('of everybody gives back reserved money, and lets anyone ask for it', async () => {
    const { chain } = farm;
    const { jobKey, budget } = await farm.open();
    const committed = await farm.batchIn(jobKey, 'committed');
    const drawn = await farm.batchIn(jobKey, 'drawn');
    const second = await farm.batchIn(jobKey, 'drawn');
    await farm.attestAs(second, 'fail');
    await farm.passTime(EMBEDDED_TERMS.expireWindowS + 60);
    await farm.sendAs(farm.stranger, 'expire', [committed, await farm.struct(committed)]);
    await chain.expire(drawn);
    await chain.expire(second);
    const states = (await chain.batches([committed, drawn, second])).map(({ state }) => state);
    expect(states).toEqual(['expired', 'expired', 'expired']);
    expect(await books(jobKey)).toMatchObject({ free: budget, reserved: 0n });
    await farm.sendAs(farm.stranger, 'closeJob', [jobKey]);
    expect(await books(jobKey)).toMatchObject({ state: 'closed', refunded: budget });
  });
});

describe('stake', () => {
  it('is put down, thaws, can be slashed meanwhile, and comes out', async () => {
    const { chain, deployment } = farm;
    const node = party();
    await farm.rpc.call('anvil_setBalance', [node.address, '0xde0b6b3a7640000']);
    await farm.addNode(node);
    expect(await chain.node(node.address)).toEqual({
      ...{ operator: node.address, deviceClass: deviceClassKey('cpu-avx2'), ask: 10n },
    });
    expect(await chain.operator(node.address)).toMatchObject({ stake: EMBEDDED_STAKE, nonce: 2n });
    const { jobKey } = await farm.open();
    const signed = farm.signedCommit(jobKey, {}, node);
    await chain.commitMany([signed]);
    await farm.registerAs(node, 'thaw', [EMBEDDED_STAKE]);
    const thawing = await chain.operator(node.address);
    expect(thawing).toMatchObject({ stake: 0n, thawing: EMBEDDED_STAKE });
    await farm.drawNext(signed.commit.batchKey);
    await farm.attestAs(signed.commit.batchKey, 'fail');
    await farm.attestAs(signed.commit.batchKey, 'fail');
    await chain.settleMany([signed.commit.batchKey]);
    expect(await batchOf(signed.commit.batchKey)).toMatchObject({ slashed: SLASH });
    await farm.passTime(thawing.thawsAt - (await farm.now()) + 1);
    await farm.registerAs(farm.stranger, 'unstake', [node.address]);
    expect(await chain.tokenBalance(node.address)).toBe(EMBEDDED_STAKE - SLASH);
    expect(await chain.operator(node.address)).toMatchObject({ stake: 0n, thawing: 0n });
    const stranger = await chain.operator(deployment.tokenAddress);
    expect(stranger).toEqual({ stake: 0n, thawing: 0n, thawsAt: 0, nonce: 0n });
    expect(await chain.node(farm.stranger.address)).toBeNull();
  });

  it('of a verifier that leaves: it is not asked any more, and another is asked in its place', async () => {
    const { chain } = farm;
    const { jobKey } = await farm.open();
    const key = await farm.batchIn(jobKey, 'drawn');
    const [leaving] = (await batchOf(key)).asked;
    const verifier = farm.verifierOf(leaving ?? ('' as Address));
    const [before] = await wealth(verifier.operator.address);
    await farm.registerAs(verifier.operator, 'leaveVerifier', [verifier.address]);
    const left = await chain.verifiers();
    expect(left).toHaveLength(7);
    expect(left).not.toContain(verifier.address);
    await chain.replace(key);
    expect((await batchOf(key)).asked[0]).not.toBe(verifier.address);
    const [after] = await wealth(verifier.operator.address);
    expect(after?.stake).toBe(before?.stake);
  });

  it('has the terms that the contracts were made with', async () => {
    expect(await farm.chain.terms()).toEqual(EMBEDDED_TERMS);
  });
});
