/** A wallet's job on a chain: opened with what the wallet signed elsewhere, and what is left over goes back to it. */
import { Wallet } from 'ethers';
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import type { CoordinatorContext } from '../../coordinator/context.ts';
import { closeEscrow, openEscrow } from '../../coordinator/settlement/job-escrow.ts';
import { Scenes } from '../../coordinator/submission/scenes.ts';
import { quoteForWallet, submitSigned } from '../../coordinator/submission/wallet-jobs.ts';
import { jobKey } from '../../platform/chain/keys.ts';
import type { TypedData } from '../../platform/chain/signing.ts';
import { systemClock } from '../../platform/clock.ts';
import type { Signature } from '../../protocol/ids.ts';
import { SCENE, type TestCoordinator, testCoordinator } from '../support/coordinator-context.ts';
import { type ChainFixture, party, startChainFixture } from './fixture.ts';

vi.setConfig({ testTimeout: 60_000, hookTimeout: 120_000 });

const { signal } = new AbortController();

let chain: ChainFixture;
let farm: TestCoordinator;
beforeAll(async () => {
  [chain, farm] = await Promise.all([startChainFixture(), testCoordinator()]);
});
afterAll(async () => {
  await farm[Symbol.asyncDispose]();
  await chain.end();
});

it('takes exactly the price from the wallet, once, and gives back what nobody earned', async () => {
  // The chain's blocks have today's time.
  const context: CoordinatorContext = { ...farm.context, chain: chain.chain, clock: systemClock };
  const scenes = new Scenes(context);
  const wallet = party();
  const sign = async ({ types, domain, message }: TypedData): Promise<Signature> => {
    const { EIP712Domain: _implied, ...own } = types;
    return (await new Wallet(wallet.key).signTypedData(domain, own, message)) as Signature;
  };
  const job = { scene: SCENE, name: 'scene.blend', frames: [1], tiles: { columns: 1, rows: 1 } };
  const quote = await quoteForWallet(context, scenes, { job, wallet: wallet.address }, signal);
  const { budget, permitNonce } = quote.terms;
  await chain.chain.mintTestTokens(wallet.address, budget + 7n);
  const { terms } = quote;
  const signatures = { openJob: await sign(quote.openJob), permit: await sign(quote.permit) };
  await submitSigned(context, scenes, quote.job, { job, wallet: wallet.address, terms, signatures }, signal);

  await openEscrow(context, await farm.job(quote.job), signal);
  expect(await farm.job(quote.job)).toMatchObject({ state: 'active', escrow: 'open' });
  expect(await chain.chain.job(jobKey(quote.job))).toMatchObject({ requester: wallet.address, budget });
  expect(await chain.chain.tokenBalance(wallet.address)).toBe(7n);
  expect(await chain.chain.permitNonce(wallet.address)).toBe(permitNonce + 1n);

  // Its answer was lost: nothing is sent again.
  const lost = { ...(await farm.job(quote.job)), escrow: 'none' as const, state: 'opening' as const };
  await openEscrow(context, lost, signal);
  expect(await chain.chain.tokenBalance(wallet.address)).toBe(7n);

  await farm.db.updateTable('jobs').set({ state: 'cancelled' }).where('id', '=', quote.job).execute();
  await closeEscrow(context, await farm.job(quote.job), signal);
  expect(await chain.chain.tokenBalance(wallet.address)).toBe(budget + 7n);
  expect(await farm.job(quote.job)).toMatchObject({ escrow: 'closed', spent: '0', refunded: String(budget) });
});
