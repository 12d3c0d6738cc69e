/** Jobs that a wallet pays for whose key only its owner has: what is signed elsewhere is looked at before anything is kept. */
import { Wallet } from 'ethers';
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import type { CoordinatorContext } from '../../coordinator/context.ts';
import { openEscrow } from '../../coordinator/settlement/job-escrow.ts';
import { Scenes } from '../../coordinator/submission/scenes.ts';
import { type Agreed, quoteForWallet, submitSigned } from '../../coordinator/submission/wallet-jobs.ts';
import type { ChainJob, FarmChain } from '../../platform/chain/chain.ts';
import type { PrivateKey } from '../../platform/chain/signing.ts';
import { addressOf, newPrivateKey, type TypedData } from '../../platform/chain/signing.ts';
import { toJson } from '../../platform/json.ts';
import type { Address, Signature } from '../../protocol/ids.ts';
import type { JobRequest } from '../../protocol/job.ts';
import { signedJobSchema, type WalletQuote, walletQuoteSchema } from '../../protocol/wallet.ts';
import { SCENE, type TestCoordinator, testCoordinator } from '../support/coordinator-context.ts';

vi.setConfig({ testTimeout: 30_000, hookTimeout: 120_000 });

const { signal } = new AbortController();
const request: JobRequest = {
  scene: SCENE,
  name: 'scene.blend',
  frames: [1],
  tiles: { columns: 2, rows: 1 },
};
const HOUR_MS = 3_600_000;

let farm: TestCoordinator;
let scenes: Scenes;
let context: CoordinatorContext;
let key: PrivateKey;
let wallet: Address;
let nonce: bigint;
/** What came to the chain, in order. */
let calls: unknown[][];

beforeAll(async () => {
  farm = await testCoordinator();
  scenes = new Scenes(farm.context);
});
afterAll(() => farm[Symbol.asyncDispose]());
beforeEach(() => {
  key = newPrivateKey();
  wallet = addressOf(key);
  nonce = 3n;
  calls = [];
  context = onChain({});
});

function onChain(changes: Partial<FarmChain>): CoordinatorContext {
  const { chainId, escrowAddress, tokenAddress, registryAddress } = farm.context.chain;
  const chain: Partial<FarmChain> = {
    ...{ chainId, escrowAddress, tokenAddress, registryAddress },
    permitNonce: async () => nonce,
    job: async () => ({ state: 'none' }) as ChainJob,
    tokenBalance: async () => 10n ** 12n,
    openJob: async (...sent) => {
      calls.push(['openJob', ...sent.slice(0, 3)]);
      return { txHash: `0x${'11'.repeat(32)}`, gasUsed: 1n, blockNumber: 7n } as Awaited<
        ReturnType<FarmChain['openJob']>
      >;
    },
    waitUntilDurable: async (block) => void calls.push(['waitUntilDurable', block]),
    ...changes,
  };
  return { ...farm.context, chain: chain as FarmChain };
}

/** As a wallet of somebody else's making signs: from the JSON alone. */
async function sign(data: TypedData, by = key): Promise<Signature> {
  const { EIP712Domain: _implied, ...types } = data.types;
  return (await new Wallet(by).signTypedData(data.domain, types, data.message)) as Signature;
}

/** Through JSON, as it travels. */
async function quote(of = context): Promise<WalletQuote> {
  return walletQuoteSchema.parse(
    JSON.parse(toJson(await quoteForWallet(of, scenes, { job: request, wallet }, signal))),
  );
}

async function agreeTo({ openJob, permit, terms }: WalletQuote, by = key): Promise<Agreed> {
  const signatures = { openJob: await sign(openJob, by), permit: await sign(permit, by) };
  return signedJobSchema.parse(JSON.parse(toJson({ job: request, wallet, terms, signatures })));
}

const submit = (id: WalletQuote['job'], agreed: Agreed, to = context): Promise<void> =>
  submitSigned(to, scenes, id, agreed, signal);

const jobsOf = (address: Address) =>
  farm.db.selectFrom('jobs').selectAll().where('requester', '=', address).execute();

describe('a job of a wallet', () => {
  it('is quoted with nothing written, and taken with both signatures', async () => {
    const quoted = await quote();
    expect(await jobsOf(wallet)).toEqual([]);
    expect(quoted.openJob.message).toMatchObject({ requester: wallet, budget: String(quoted.terms.budget) });
    expect(quoted.permit.message).toMatchObject({ owner: wallet, spender: context.chain.escrowAddress });
    await submit(quoted.job, await agreeTo(quoted));
    const [job] = await jobsOf(wallet);
    expect(job).toMatchObject({ id: quoted.job, state: 'opening', quote: String(quoted.terms.budget) });
    expect(job?.deadline_at.getTime()).toBe(quoted.terms.deadline * 1_000);
    expect(await farm.eventsOf(quoted.job)).toMatchObject([{ type: 'job.submitted' }]);
  });

  it('is one job however often the same is sent, at once or later', async () => {
    const quoted = await quote();
    const agreed = await agreeTo(quoted);
    await Promise.all([submit(quoted.job, agreed), submit(quoted.job, agreed)]);
    nonce += 1n;
    await submit(quoted.job, agreed);
    expect(await jobsOf(wallet)).toHaveLength(1);
    expect(await farm.eventsOf(quoted.job)).toHaveLength(1);
  });

  it('is opened with what the wallet signed, and counts once the chain cannot forget it', async () => {
    const quoted = await quote();
    const agreed = await agreeTo(quoted);
    await submit(quoted.job, agreed);
    await openEscrow(context, await farm.job(quoted.job), signal);
    const { budget, deadline, maxTaskPrice } = quoted.terms;
    expect(calls).toEqual([
      [
        'openJob',
        expect.objectContaining({ requester: wallet, budget, deadline, maxTaskPrice }),
        agreed.signatures.openJob,
        { value: budget, deadline, signature: agreed.signatures.permit },
      ],
      ['waitUntilDurable', 7n],
    ]);
    expect(await farm.job(quoted.job)).toMatchObject({ state: 'active', escrow: 'open' });
  });

  it('does not begin when somebody else has opened one of its name', async () => {
    const quoted = await quote();
    await submit(quoted.job, await agreeTo(quoted));
    const opened = {
      ...{ state: 'open', requester: wallet, budget: quoted.terms.budget },
      ...{ maxTaskPrice: quoted.terms.maxTaskPrice, deadline: quoted.terms.deadline },
    } as ChainJob;
    const row = await farm.job(quoted.job);
    for (const wrong of [
      { requester: addressOf(newPrivateKey()) },
      { budget: 1n },
      { maxTaskPrice: 1n },
      { deadline: 1 },
    ]) {
      const other = onChain({ job: async () => ({ ...opened, ...wrong }) });
      await expect(openEscrow(other, row, signal)).rejects.toMatchObject({ code: 'CHAIN_REVERTED' });
      expect(await farm.job(quoted.job)).toMatchObject({ state: 'opening', escrow: 'none' });
    }
    await openEscrow(onChain({ job: async () => opened }), row, signal);
    expect(await farm.job(quoted.job)).toMatchObject({ state: 'active', escrow: 'open' });
    expect(calls).toEqual([]);
  });

  it('waits for the one before it, whose permit has the same nonce', async () => {
    const [first, second] = [await quote(), await quote()];
    await submit(first.job, await agreeTo(first));
    const again = await agreeTo(second);
    await expect(submit(second.job, again)).rejects.toMatchObject({ code: 'QUOTE_STALE' });
    await openEscrow(context, await farm.job(first.job), signal);
    // The chain was asked just before the first one used the nonce.
    await expect(submit(second.job, again)).rejects.toMatchObject({ code: 'QUOTE_STALE' });
    nonce += 1n;
    const third = await quote();
    await submit(third.job, await agreeTo(third));
    expect(await jobsOf(wallet)).toHaveLength(2);
  });
});

describe('what is not what the quote says', () => {
  type Change = (agreed: Agreed, quoted: WalletQuote) => Agreed | Promise<Agreed>;
  const changed: [string, 'WALLET_REFUSED' | 'QUOTE_STALE', Change][] = [
    ['another signer of both', 'WALLET_REFUSED', async (_agreed, quoted) => agreeTo(quoted, newPrivateKey())],
    [
      'another signer of the permit',
      'WALLET_REFUSED',
      async ({ signatures, ...rest }, quoted) => {
        const permit = await sign(quoted.permit, newPrivateKey());
        return { ...rest, signatures: { ...signatures, permit } };
      },
    ],
    [
      'signatures in each other’s place',
      'WALLET_REFUSED',
      ({ signatures: { openJob, permit }, ...rest }) => ({
        ...rest,
        signatures: { openJob: permit, permit: openJob },
      }),
    ],
    ...(['value', 'spender', 'nonce', 'deadline'] as const).map(
      (field): [string, 'WALLET_REFUSED', Change] => [
        `a permit with another ${field}`,
        'WALLET_REFUSED',
        async ({ signatures, ...rest }, { permit }) => {
          const other = field === 'spender' ? addressOf(newPrivateKey()) : '17';
          const message = { ...permit.message, [field]: other };
          return { ...rest, signatures: { ...signatures, permit: await sign({ ...permit, message }) } };
        },
      ],
    ),
    [
      'a job with a smaller budget',
      'WALLET_REFUSED',
      async ({ signatures, ...rest }, { openJob }) => {
        const message = { ...openJob.message, budget: '1' };
        return { ...rest, signatures: { ...signatures, openJob: await sign({ ...openJob, message }) } };
      },
    ],
    [
      'a signature for another escrow',
      'WALLET_REFUSED',
      async ({ signatures, ...rest }, { openJob }) => {
        const domain = { ...openJob.domain, verifyingContract: addressOf(newPrivateKey()) };
        return { ...rest, signatures: { ...signatures, openJob: await sign({ ...openJob, domain }) } };
      },
    ],
    ['another price', 'QUOTE_STALE', ({ terms, ...rest }) => ({ ...rest, terms: { ...terms, budget: 1n } })],
    [
      'another request than was quoted',
      'QUOTE_STALE',
      (agreed) => ({ ...agreed, job: { ...agreed.job, samples: 7 } }),
    ],
    [
      'a deadline far off',
      'QUOTE_STALE',
      ({ terms, ...rest }) => ({ ...rest, terms: { ...terms, deadline: terms.deadline + 86_400 } }),
    ],
  ];
  it.each(changed)('%s is refused: %s', async (_name, code, change) => {
    const quoted = await quote();
    const agreed = await change(await agreeTo(quoted), quoted);
    await expect(submit(quoted.job, agreed)).rejects.toMatchObject({
      code,
      kept: 'nothing was submitted, no money moved',
    });
    expect(await jobsOf(wallet)).toEqual([]);
  });

  it('is refused when it is old, and when the wallet has used another permit since', async () => {
    const quoted = await quote();
    const agreed = await agreeTo(quoted);
    nonce += 1n;
    await expect(submit(quoted.job, agreed)).rejects.toMatchObject({ code: 'QUOTE_STALE' });
    nonce -= 1n;
    farm.clock.advance(HOUR_MS + 1_000);
    await expect(submit(quoted.job, agreed)).rejects.toMatchObject({ code: 'QUOTE_STALE' });
    expect(await jobsOf(wallet)).toEqual([]);
  });

  it('is not taken under the name of another job', async () => {
    const quoted = await quote();
    await submit(quoted.job, await agreeTo(quoted));
    const other = await agreeTo(quoted, newPrivateKey());
    await expect(submit(quoted.job, other)).rejects.toMatchObject({ code: 'QUOTE_STALE' });
    expect(await jobsOf(wallet)).toHaveLength(1);
  });
});

it('refuses a wallet that has too little, where money is not made for it', async () => {
  const elsewhere = onChain({ chainId: 10, tokenBalance: async () => 5n });
  await expect(quote(elsewhere)).rejects.toMatchObject({
    code: 'WALLET_EMPTY',
    details: { wallet, balance: '5' },
  });
  const rich = onChain({ chainId: 10 });
  const quoted = await quote(rich);
  const poor = onChain({ chainId: 10, tokenBalance: async () => quoted.terms.budget - 1n });
  await expect(submit(quoted.job, await agreeTo(quoted), poor)).rejects.toMatchObject({
    code: 'WALLET_EMPTY',
  });
  await submit(quoted.job, await agreeTo(quoted), rich);
  expect(await jobsOf(wallet)).toHaveLength(1);
});
