/** Accounts with an address of their own, and what an account may spend. */
import fc from 'fast-check';
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { passedCap } from '../../coordinator/accounts/spending.ts';
import { accountView, changeAccount } from '../../coordinator/api/sharing.ts';
import type { CoordinatorContext } from '../../coordinator/context.ts';
import { openEscrow } from '../../coordinator/settlement/job-escrow.ts';
import { submitJob } from '../../coordinator/submission/jobs.ts';
import { Scenes } from '../../coordinator/submission/scenes.ts';
import type { ChainJob, ChainWrite, FarmChain } from '../../platform/chain/chain.ts';
import { sealKey, unsealKey } from '../../platform/chain/sealed-key.ts';
import {
  addressOf,
  escrowDomain,
  newPrivateKey,
  type PrivateKey,
  recoverOpenJobSigner,
  recoverPermitSigner,
  tokenDomain,
} from '../../platform/chain/signing.ts';
import type { Address, Bytes32, JobId } from '../../protocol/ids.ts';
import { SCENE, someBytes32, type TestCoordinator, testCoordinator } from '../support/coordinator-context.ts';

vi.setConfig({ testTimeout: 30_000, hookTimeout: 120_000 });

const { signal } = new AbortController();
const masterKey = someBytes32();

let farm: TestCoordinator;
let context: CoordinatorContext;
let scenes: Scenes;
/** Arguments of each opening. */
let opened: Parameters<FarmChain['openJob']>[];
/** A job of this costs this many units, found out by asking. */
let price: bigint;
let account: string;
let count = 0;

beforeAll(async () => {
  farm = await testCoordinator();
  const { chainId, escrowAddress, tokenAddress } = farm.context.chain;
  const chain: Partial<FarmChain> = {
    ...{ chainId, escrowAddress, tokenAddress },
    job: async () => ({ state: 'none' }) as ChainJob,
    permitNonce: async () => 0n,
    tokenBalance: async () => 10n ** 12n,
    openJob: async (...sent) => {
      opened.push(sent);
      return { txHash: someBytes32(), gasUsed: 1n, blockNumber: 1n } satisfies ChainWrite;
    },
    waitUntilFunded: async () => undefined,
  };
  const secrets = { ...farm.context.secrets, accountsKey: masterKey };
  context = { ...farm.context, chain: chain as FarmChain, secrets };
  scenes = new Scenes(context);
  price = BigInt((await farm.job(await submit('default'))).quote);
});
afterAll(() => farm[Symbol.asyncDispose]());
beforeEach(() => {
  opened = [];
  account = `films-${++count}`;
});

function submit(of = account, from = context): Promise<JobId> {
  const tiles = { columns: 1, rows: 1 };
  const request = { scene: SCENE, name: 'scene.blend', frames: [1], tiles, account: of };
  return submitJob(from, scenes, request, signal);
}

const jobsOf = (name: string) => farm.db.selectFrom('jobs').selectAll().where('account', '=', name).execute();

/** Terms and permit of the one opening there was, by who signed both. */
function signerOf([opening]: typeof opened): Address | null {
  if (opening === undefined || opened.length !== 1) throw new Error('not opened once');
  const [terms, signature, permit] = opening;
  const { chainId, escrowAddress: spender, tokenAddress } = context.chain;
  const { requester: owner, budget: value, deadline } = terms;
  const signed = recoverOpenJobSigner(escrowDomain(chainId, spender), terms, signature);
  const permitTerms = { owner, spender, value, nonce: 0n, deadline };
  if (permit === null) return null;
  const pulled = recoverPermitSigner(tokenDomain(chainId, tokenAddress), permitTerms, permit.signature);
  return signed === pulled && signed === owner ? signed : null;
}

describe('a sealed key', () => {
  const key = newPrivateKey();

  it('opens for its account under its master key, and for no other and under no other', () => {
    const sealed = sealKey(key, 'films', masterKey);
    expect(unsealKey(sealed, 'films', masterKey)).toBe(key);
    expect(unsealKey(sealed, 'film', masterKey)).toBeNull();
    expect(unsealKey(sealed, 'films', someBytes32())).toBeNull();
    expect(sealed).not.toContain(Buffer.from(key.slice(2), 'hex').toString('base64url'));
    expect(sealKey(key, 'films', masterKey)).not.toBe(sealed);
  });

  it('does not open when anything of it was changed', () => {
    const parts = sealKey(key, 'films', masterKey).split('.');
    fc.assert(
      fc.property(fc.constantFrom(1, 2, 3), fc.nat({ max: 255 }), (part, bit) => {
        const bytes = Buffer.from(parts[part] ?? '', 'base64url');
        const at = Math.floor(bit / 8) % bytes.length;
        bytes[at] = (bytes[at] ?? 0) ^ (1 << (bit % 8));
        const changed = parts.with(part, bytes.toString('base64url'));
        expect(unsealKey(changed.join('.'), 'films', masterKey)).toBeNull();
      }),
    );
    // A short tag is as good as none.
    const short = parts.with(
      2,
      Buffer.from(parts[2] ?? '', 'base64url')
        .subarray(0, 4)
        .toString('base64url'),
    );
    for (const text of ['', 'v1', 'v2.a.b.c', 'v1..', short.join('.')])
      expect(unsealKey(text, 'films', masterKey)).toBeNull();
  });
});

describe('an account with a key of its own', () => {
  it('pays for its jobs; others are paid from the farm’s account as before', async () => {
    const { address } = await changeAccount(context, account, { ownKey: true });
    expect(address).toMatch(/^0x/);
    const id = await submit();
    await openEscrow(context, await farm.job(id), signal);
    expect(signerOf(opened)).toBe(address);
    opened = [];
    const other = await submit('default');
    await openEscrow(context, await farm.job(other), signal);
    expect(signerOf(opened)).toBe(addressOf(context.secrets.requesterKey as string as PrivateKey));
  });

  it('is given no money on a chain that others run, and neither is the farm', async () => {
    const mintTestTokens = vi.fn();
    const farms = addressOf(context.secrets.requesterKey as string as PrivateKey);
    const elsewhere = (balance: bigint): CoordinatorContext => {
      const chain = { ...context.chain, chainId: 10, mintTestTokens, tokenBalance: async () => balance };
      return { ...context, chain };
    };
    await expect(submit('default', elsewhere(price - 1n))).rejects.toMatchObject({
      code: 'WALLET_EMPTY',
      details: { wallet: farms, balance: `${price - 1n}` },
    });
    const id = await submit('default', elsewhere(price));
    // Spent since: the escrow is asked all the same, and it is the one to refuse.
    await openEscrow(elsewhere(0n), await farm.job(id), signal);
    expect(opened).toHaveLength(1);
    expect(mintTestTokens).not.toHaveBeenCalled();
  });

  it('keeps its key for good, and the key is nowhere in the clear', async () => {
    const { address } = await changeAccount(context, account, { ownKey: true });
    expect(await changeAccount(context, account, { ownKey: true })).toMatchObject({ address });
    const row = await farm.db
      .selectFrom('accounts')
      .selectAll()
      .where('name', '=', account)
      .executeTakeFirstOrThrow();
    const key = unsealKey(row.sealed_key ?? '', account, masterKey);
    expect(key === null ? null : addressOf(key)).toBe(address);
    expect(JSON.stringify(row)).not.toContain(key?.slice(2));
  });

  it('is not the farm’s own, which has its key already', async () => {
    await expect(changeAccount(context, 'default', { ownKey: true, maxNodes: 3 })).rejects.toMatchObject({
      code: 'USAGE',
      kept: 'nothing was changed',
    });
    expect(await accountView(context, 'default')).toMatchObject({ address: null, maxNodes: null });
  });

  async function expectLocked(from: CoordinatorContext): Promise<void> {
    await expect(submit(account, from)).rejects.toMatchObject({ code: 'ACCOUNT_KEY_LOCKED' });
    expect(await jobsOf(account)).toEqual([]);
  }
  const withMaster = (accountsKey: Bytes32): CoordinatorContext => {
    return { ...context, secrets: { ...context.secrets, accountsKey } };
  };

  it('takes no job while its key does not open, and every job again once it does', async () => {
    await changeAccount(context, account, { ownKey: true });
    await expectLocked(withMaster(someBytes32()));
    await expectLocked({ ...context, secrets: farm.context.secrets });
    const id = await submit();
    await expect(openEscrow(withMaster(someBytes32()), await farm.job(id), signal)).rejects.toMatchObject({
      code: 'ACCOUNT_KEY_LOCKED',
    });
    expect(await farm.job(id)).toMatchObject({ state: 'opening', escrow: 'none' });
    expect(opened).toEqual([]);
    await openEscrow(context, await farm.job(id), signal);
    expect(opened).toHaveLength(1);
  });

  it('cannot be given the key of another by exchanging rows', async () => {
    const other = `${account}-b`;
    for (const name of [account, other]) await changeAccount(context, name, { ownKey: true });
    const rich = await farm.db
      .selectFrom('accounts')
      .select(['address', 'sealed_key'])
      .where('name', '=', other)
      .executeTakeFirstOrThrow();
    await farm.db.updateTable('accounts').set(rich).where('name', '=', account).execute();
    await expectLocked(context);
  });
});

describe('a cap', () => {
  it('refuses one job that costs too much, before anything is written', async () => {
    await changeAccount(context, account, { capPerJob: price - 1n });
    await expect(submit()).rejects.toMatchObject({
      code: 'ACCOUNT_CAP',
      message: expect.stringContaining(`${price - 1n} units on a job, and this one costs ${price}`),
      kept: 'nothing was submitted, no money moved',
    });
    expect(await jobsOf(account)).toEqual([]);
    await changeAccount(context, account, { capPerJob: price });
    await submit();
    expect(await jobsOf(account)).toHaveLength(1);
  });

  it('counts what open jobs may cost, what ended ones did cost, and no wallet’s', async () => {
    await changeAccount(context, account, { capInAll: 2n * price });
    const [first] = [await submit(), await submit()];
    await expect(submit()).rejects.toMatchObject({ code: 'ACCOUNT_CAP' });
    expect(await accountView(context, account)).toMatchObject({ spent: 0n, promised: 2n * price });
    // The first one ends and its money moves: a unit was used, the rest is free again.
    await farm.db
      .updateTable('jobs')
      .set({ state: 'cancelled', escrow: 'closed', spent: '1' })
      .where('id', '=', first)
      .execute();
    expect(await accountView(context, account)).toMatchObject({ spent: 1n, promised: price });
    await expect(submit()).rejects.toMatchObject({ code: 'ACCOUNT_CAP' });
    await changeAccount(context, account, { capInAll: 2n * price + 1n });
    const third = await submit();
    await expect(submit()).rejects.toMatchObject({ code: 'ACCOUNT_CAP' });
    const signatures = { openJob: '0x', permit: '0x' };
    await farm.db
      .updateTable('jobs')
      .set({ wallet_terms: JSON.stringify({ permitNonce: '0', signatures }) })
      .where('id', '=', third)
      .execute();
    await submit();
  });

  it('is not passed by jobs of the same moment', async () => {
    await changeAccount(context, account, { capInAll: 3n * price });
    const results = await Promise.allSettled(Array.from({ length: 8 }, () => submit()));
    const refused = results.filter((result) => result.status === 'rejected');
    expect(refused).toHaveLength(5);
    for (const { reason } of refused) expect(reason).toMatchObject({ code: 'ACCOUNT_CAP' });
    expect(await accountView(context, account)).toMatchObject({ promised: 3n * price });
  });

  it('stays as it is when something else is said, and is lifted by null', async () => {
    await changeAccount(context, account, { capPerJob: 5n, capInAll: 7n });
    expect(await changeAccount(context, account, { maxNodes: 2 })).toEqual({
      ...{ name: account, maxNodes: 2, capPerJob: 5n, capInAll: 7n, address: null, spent: 0n, promised: 0n },
    });
    await changeAccount(context, account, { capPerJob: null, capInAll: null });
    await submit();
    expect(await jobsOf(account)).toHaveLength(1);
  });

  it('lets a job through exactly where the sum stays within it', () => {
    const money = fc.bigInt({ min: 0n, max: 100n });
    fc.assert(
      fc.property(
        fc.option(money),
        fc.option(money),
        money,
        money,
        money,
        (perJob, inAll, spent, promised, cost) => {
          const fits =
            cost <= (perJob ?? cost) && spent + promised + cost <= (inAll ?? spent + promised + cost);
          expect(passedCap({ perJob, inAll }, { spent, promised }, cost) === null).toBe(fits);
        },
      ),
    );
  });
});
