/** An account without money for gas: seen once a round, nothing given up, and all of it done once there is some. */
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import type { CoordinatorContext } from '../../coordinator/context.ts';
import { closeBatches } from '../../coordinator/settlement/open-batch.ts';
import { settleBatches } from '../../coordinator/settlement/settle-batches.ts';
import { SettlementLoop } from '../../coordinator/settlement/settlement-loop.ts';
import { addressOf, newPrivateKey } from '../../platform/chain/signing.ts';
import { type TestCoordinator, testCoordinator } from '../support/coordinator-context.ts';
import { deliver } from './delivery.ts';
import { FakeEscrow } from './fake-escrow.ts';

vi.setConfig({ testTimeout: 30_000, hookTimeout: 120_000 });

const { signal } = new AbortController();
const verifier = addressOf(newPrivateKey());
const EIGHT_DAYS_MS = 8 * 86_400_000;

let farm: TestCoordinator;
beforeAll(async () => {
  farm = await testCoordinator();
});
afterAll(() => farm[Symbol.asyncDispose]());

function escrow(): FakeEscrow {
  return new FakeEscrow(farm.context.chain, {
    verifiers: [{ address: verifier, operator: verifier }],
    nowMs: () => farm.clock.now(),
  });
}

it('ends the round at the first write, and the next round does everything', async () => {
  const chain = escrow();
  const context: CoordinatorContext = { ...farm.context, chain: chain.port };
  const jobs = await Promise.all([1, 2, 3].map(() => farm.addJob({ frames: [1], tilesPerFrame: 1 })));
  for (const job of jobs) await deliver(farm, await farm.addNode(), job.tiles);
  await closeBatches(farm.db, new Date(farm.clock.now()), 1_000);
  await settleBatches(context, signal);
  // Each of them is to be expired by itself.
  farm.clock.advance(EIGHT_DAYS_MS);
  const before = chain.asked;
  chain.poor = true;
  await expect(settleBatches(context, signal)).rejects.toMatchObject({ code: 'CHAIN_GAS_MONEY' });
  expect(chain.asked).toBe(before + 1);
  for (const { id } of jobs) expect((await farm.batchOf(id)).state).toBe('committed');
  chain.poor = false;
  for (let round = 0; round < 2; round++) await settleBatches(context, signal);
  for (const { id } of jobs) expect((await farm.batchOf(id)).state).toBe('settled');
});

it('is said, and costs no job its life: it opens as soon as there is money', async () => {
  const chain = escrow();
  const warn = vi.fn();
  const error = vi.fn();
  const context = {
    ...farm.context,
    chain: {
      ...chain.port,
      job: async () => ({ state: 'none' }),
      tokenBalance: async () => 10n ** 12n,
      openJob: () => chain.port.mintTestTokens(verifier, 1n),
      waitUntilFunded: async () => undefined,
    },
    log: { warn, error },
    secrets: { requesterKey: newPrivateKey() },
  } as unknown as CoordinatorContext;
  const [first, second] = [await farm.addJob({ state: 'opening' }), await farm.addJob({ state: 'opening' })];
  chain.poor = true;
  const loop = new SettlementLoop(context, () => undefined);
  const stop = new AbortController();
  const running = loop.run(stop.signal);
  await vi.waitFor(() => expect(warn).toHaveBeenCalled());
  expect(warn.mock.calls[0]?.[0]).toMatchObject({ err: { code: 'CHAIN_GAS_MONEY' } });
  // Not once for every job: nothing is wrong with any of them.
  expect(error).not.toHaveBeenCalled();
  for (const { id } of [first, second])
    expect(await farm.job(id)).toMatchObject({ state: 'opening', escrow: 'none' });
  chain.poor = false;
  loop.wake();
  await vi.waitFor(
    async () => {
      for (const { id } of [first, second])
        expect(await farm.job(id)).toMatchObject({ state: 'active', escrow: 'open' });
    },
    { timeout: 10_000 },
  );
  stop.abort();
  await running;
});
