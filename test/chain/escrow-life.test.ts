import { AbiCoder, keccak256, Signature } from 'ethers';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { signOpenJob, signPermit, tokenDomain } from '../../platform/chain/signing.ts';
import { escrowInterface, tokenInterface, transactionSender } from '../../platform/chain/transactions.ts';
import type { Bytes32 } from '../../protocol/ids.ts';
import { type ChainFixture, digestOf, randomBytes32, startChainFixture } from './fixture.ts';

let farm: ChainFixture;
beforeAll(async () => {
  farm = await startChainFixture();
});
afterAll(() => farm.end());

/** What the escrow owes beyond `job`, so that tests can share a chain. */
const books = async (jobKey: Bytes32) => {
  const { budget, free, reserved, released, refunded, state } = await farm.chain.job(jobKey);
  expect(free + reserved + released + refunded).toBe(budget);
  return { free, reserved, released, refunded, state };
};

describe('the life of a job', () => {
  it('opens, commits, draws, attests, settles, pays the node and returns the rest', async () => {
    const { chain } = farm;
    const terms = await farm.open();
    expect(await chain.job(terms.jobKey)).toEqual({
      state: 'open',
      requester: terms.requester,
      budget: terms.budget,
      maxTaskPrice: terms.maxTaskPrice,
      deadline: terms.deadline,
      free: terms.budget,
      reserved: 0n,
      released: 0n,
      refunded: 0n,
    });
    const signed = farm.signedCommit(terms.jobKey);
    const { batchKey, ...promised } = signed.commit;
    const { root, amount } = promised;
    expect((await chain.batch(batchKey)).state).toBe('none');
    const committed = await chain.commitMany([signed]);
    expect(await chain.batch(batchKey)).toMatchObject({
      ...promised,
      state: 'committed',
      commitBlock: committed.blockNumber,
      reanchors: 0,
      seed: null,
      outcome: null,
      evidence: null,
    });
    expect(await books(terms.jobKey)).toMatchObject({ free: terms.budget - amount, reserved: amount });

    await chain.waitUntilDrawable(batchKey);
    const preimage = farm.secrets.nextPreimage(await chain.verifierHead());
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
    expect(await chain.batch(batchKey)).toMatchObject({ state: 'drawn', seed: drawn.seed });
    expect(await chain.verifierHead()).toBe(preimage);

    await farm.attestAs(batchKey, 'pass');
    expect(await chain.batch(batchKey)).toMatchObject({
      state: 'attested',
      outcome: 'pass',
      evidence: digestOf(batchKey),
    });
    await chain.settleMany([batchKey]);
    expect((await chain.batch(batchKey)).state).toBe('settled');
    expect(await books(terms.jobKey)).toMatchObject({ reserved: 0n, released: amount });
    expect(await chain.credit(farm.node.address)).toBe(amount);

    await chain.withdrawFor(farm.node.address);
    expect(await chain.tokenBalance(farm.node.address)).toBe(amount);
    expect(await chain.credit(farm.node.address)).toBe(0n);

    await chain.closeJob(terms.jobKey);
    expect(await books(terms.jobKey)).toMatchObject({
      state: 'closed',
      free: 0n,
      refunded: terms.budget - amount,
    });
    await farm.sendAs(farm.requester, 'withdraw', []);
    expect(await chain.tokenBalance(farm.requester.address)).toBe(terms.budget - amount);
    expect(await chain.tokenBalance(farm.deployment.escrowAddress)).toBe(0n);
  });

  it.each(['fail', 'inconclusive'] as const)(
    'gives the money back to the job when the verdict is %s',
    async (outcome) => {
      const { jobKey, budget } = await farm.open();
      const before = await farm.chain.credit(farm.node.address);
      const batchKey = await farm.batchIn(jobKey, outcome);
      await farm.chain.settleMany([batchKey]);
      expect(await books(jobKey)).toMatchObject({ free: budget, reserved: 0n, released: 0n });
      expect(await farm.chain.credit(farm.node.address)).toBe(before);
    },
  );

  it('settles batches that are under way when the job closes, either way', async () => {
    const { chain, requester, node } = farm;
    const { jobKey, budget } = await farm.open();
    const good = await farm.batchIn(jobKey, 'pass');
    const bad = await farm.batchIn(jobKey, 'drawn');
    const amount = 1_000_000n;
    const [nodeHad, requesterHad] = [await chain.credit(node.address), await chain.credit(requester.address)];
    await chain.closeJob(jobKey);
    expect(await books(jobKey)).toMatchObject({
      free: 0n,
      reserved: 2n * amount,
      refunded: budget - 2n * amount,
    });
    await farm.attestAs(bad, 'fail');
    await chain.settleMany([good, bad]);
    expect(await books(jobKey)).toMatchObject({ reserved: 0n, released: amount, refunded: budget - amount });
    expect(await chain.credit(node.address)).toBe(nodeHad + amount);
    expect(await chain.credit(requester.address)).toBe(requesterHad + budget - amount);
  });

  it('opens although somebody used the permit before', async () => {
    const { chain, deployment, domain, requester, stranger } = farm;
    const terms = {
      requester: requester.address,
      jobKey: randomBytes32(),
      budget: 5n,
      maxTaskPrice: 1n,
      deadline: (await farm.now()) + 1_000,
    };
    await chain.mintTestTokens(requester.address, 5n);
    const permit = signPermit(
      tokenDomain(deployment.chainId, deployment.tokenAddress),
      {
        owner: requester.address,
        spender: deployment.escrowAddress,
        value: 5n,
        nonce: await chain.permitNonce(requester.address),
        deadline: terms.deadline,
      },
      requester.key,
    );
    const { v, r, s } = Signature.from(permit.signature);
    await transactionSender(farm.rpc, deployment.chainId, stranger.key).send({
      to: deployment.tokenAddress,
      data: tokenInterface.encodeFunctionData('permit', [
        requester.address,
        deployment.escrowAddress,
        5n,
        permit.deadline,
        v,
        r,
        s,
      ]),
      label: 'permit',
    });
    await chain.openJob(terms, signOpenJob(domain, terms, requester.key), permit);
    expect((await chain.job(terms.jobKey)).state).toBe('open');
  });

  it('anchors a batch anew when its block hash is gone, keeps the secret, and can then be drawn', async () => {
    const { chain } = farm;
    const { jobKey } = await farm.open();
    const batchKey = await farm.batchIn(jobKey, 'committed');
    await farm.mine(300);
    const head = await chain.verifierHead();
    const preimage = farm.secrets.nextPreimage(head);
    expect((await chain.draw(batchKey, preimage)).kind).toBe('reanchored');
    expect(await chain.verifierHead()).toBe(head);
    expect(await chain.batch(batchKey)).toMatchObject({ state: 'committed', reanchors: 1 });
    await farm.drawNext(batchKey);
    expect((await chain.batch(batchKey)).state).toBe('drawn');

    // The same through draw itself, as when a draw is stuck on its way until the hash is gone.
    const late = await farm.batchIn(jobKey, 'committed');
    await farm.mine(300);
    const next = farm.secrets.nextPreimage(await chain.verifierHead());
    const receipt = await farm.sendAs(farm.stranger, 'draw', [late, next]);
    expect(receipt.logs.map((log) => escrowInterface.parseLog(log)?.name)).toEqual(['Reanchored']);
    expect(await chain.batch(late)).toMatchObject({
      state: 'committed',
      reanchors: 1,
      commitBlock: receipt.blockNumber,
    });
  });

  it('gives back reserved money when no verdict came in time, and lets anyone ask for it', async () => {
    const { chain } = farm;
    const { jobKey, budget } = await farm.open();
    const committed = await farm.batchIn(jobKey, 'committed');
    const drawn = await farm.batchIn(jobKey, 'drawn');
    await farm.passTime(7 * 86_400 + 60);
    await farm.sendAs(farm.stranger, 'expire', [committed]);
    await chain.expire(drawn);
    expect((await chain.batch(drawn)).state).toBe('expired');
    expect(await books(jobKey)).toMatchObject({ free: budget, reserved: 0n });
    await farm.sendAs(farm.stranger, 'closeJob', [jobKey]);
    expect(await books(jobKey)).toMatchObject({ state: 'closed', refunded: budget });
  });

  it('costs what it costs: gas per operation', async () => {
    const { chain, node } = farm;
    const rows: Record<string, bigint> = {};
    const terms = {
      requester: farm.requester.address,
      jobKey: randomBytes32(),
      budget: 50_000_000n,
      maxTaskPrice: 100_000n,
      deadline: (await farm.now()) + 1_000,
    };
    await chain.mintTestTokens(farm.requester.address, terms.budget);
    const permit = signPermit(
      tokenDomain(farm.deployment.chainId, farm.deployment.tokenAddress),
      {
        owner: farm.requester.address,
        spender: farm.deployment.escrowAddress,
        value: terms.budget,
        nonce: await chain.permitNonce(farm.requester.address),
        deadline: terms.deadline,
      },
      farm.requester.key,
    );
    const { jobKey } = terms;
    rows['openWithPermit'] = (
      await chain.openJob(terms, signOpenJob(farm.domain, terms, farm.requester.key), permit)
    ).gasUsed;
    const one = farm.signedCommit(jobKey);
    rows['commitOne'] = (await chain.commitMany([one])).gasUsed;
    const sixteen = Array.from({ length: 16 }, () => farm.signedCommit(jobKey));
    rows['commitOf16'] = (await chain.commitMany(sixteen)).gasUsed;
    const keys = [one, ...sixteen].map((signed) => signed.commit.batchKey);
    for (const key of keys) {
      await chain.waitUntilDrawable(key);
      rows['draw'] = (await chain.draw(key, farm.secrets.nextPreimage(await chain.verifierHead()))).gasUsed;
      await farm.attestAs(key, 'pass');
    }
    rows['settleOne'] = (await chain.settleMany(keys.slice(0, 1))).gasUsed;
    rows['settleOf16'] = (await chain.settleMany(keys.slice(1))).gasUsed;
    rows['withdraw'] = (await chain.withdrawFor(node.address)).gasUsed;
    rows['close'] = (await chain.closeJob(jobKey)).gasUsed;
    console.info(rows);
    expect(rows['commitOf16']).toBeLessThan(16n * 160_000n);
  });
});
