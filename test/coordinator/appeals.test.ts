/** Two verifiers fail an honest node together, and the node appeals: what the coordinator tells it, takes of it and relays. */
import fc from 'fast-check';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { batchView } from '../../coordinator/api/views.ts';
import { appealLeftMs, isAppealable } from '../../coordinator/settlement/appealable.ts';
import { graceAppeals, relayAppeal, takeAppeal } from '../../coordinator/settlement/appeals.ts';
import { settleBatches } from '../../coordinator/settlement/settle-batches.ts';
import { AppealDesk } from '../../coordinator/verification/appeal-desk.ts';
import type { FarmChain } from '../../platform/chain/chain.ts';
import { signAppeal } from '../../platform/chain/sign-appeal.ts';
import { newPrivateKey, type PrivateKey } from '../../platform/chain/signing.ts';
import { toJson } from '../../platform/json.ts';
import { requireHonestDraw } from '../../proof/check-draw.ts';
import { RECEIPTS_PER_CHALLENGE } from '../../proof/policy.ts';
import { FarmError } from '../../protocol/errors.ts';
import type { NodeId } from '../../protocol/ids.ts';
import { type Appeal, appealSchema, type FailedBatch, failedReplySchema } from '../../protocol/messages.ts';
import type { Outcome } from '../../protocol/verdict.ts';
import { type TestCoordinator, testCoordinator } from '../support/coordinator-context.ts';
import { everybody, type Says, Scene, VERIFIERS } from './batch-scene.ts';

vi.setConfig({ testTimeout: 60_000, hookTimeout: 120_000 });

const [STAKE, PENALTY] = [100_000_000n, 10_000_000n];
const signal = new AbortController().signal;

let farm: TestCoordinator;
beforeAll(async () => {
  farm = await testCoordinator();
});
afterAll(() => farm[Symbol.asyncDispose]());
// Each test has a chain of its own, which knows nothing of the others' batches.
afterEach(async () => {
  await farm.db.updateTable('batches').set({ state: 'settled' }).where('state', '<>', 'settled').execute();
});

/** Two liars, and whoever is in a committee is honest. */
const twoLie: Says = (state) => (state === 'committee' ? 'pass' : 'fail');

/** What a node hears at once; null: nothing. */
async function told(scene: Scene, nodeId: NodeId = scene.node.id): Promise<FailedBatch | null> {
  const batch = await new AppealDesk(scene.context).answer(nodeId, AbortSignal.abort());
  // As it travels.
  return failedReplySchema.parse(JSON.parse(toJson({ batch }))).batch;
}

function signed(
  scene: Scene,
  batch: FailedBatch,
  { key = scene.node.key, permitNonce = batch.permitNonce, bond = batch.bond } = {},
): Appeal {
  const { chainId, escrowAddress: escrow, tokenAddress: token } = scene.escrow.port;
  const { batchId, seed } = batch.challenge;
  const nowS = farm.clock.now() / 1_000;
  const dispute = signAppeal(
    { chainId, escrow, token },
    { ...batch, permitNonce, bond },
    key as PrivateKey,
    nowS,
  );
  return appealSchema.parse(JSON.parse(toJson({ batchId, seed, reason: 'it is right', dispute })));
}

const declined = (batch: FailedBatch): Appeal => {
  const { batchId, seed } = batch.challenge;
  return { batchId, seed, reason: 'it is wrong here, too', dispute: null };
};

const take = (scene: Scene, appeal: Appeal, context = scene.context): Promise<void> =>
  takeAppeal(context, scene.node.id, appeal, signal);

/** The same chain under a number that is not the embedded one's. */
const onChainOne = (port: FarmChain): FarmChain =>
  new Proxy(port, { get: (own, name) => (name === 'chainId' ? 1 : own[name as keyof FarmChain]) });

const listens = (scene: Scene, appeals = true) =>
  farm.db.updateTable('nodes').set({ appeals }).where('id', '=', scene.node.id).execute();

/** An honest batch that two verifiers have failed, of a node that may appeal. */
async function failed(
  verifiers = VERIFIERS.length,
  terms = {},
): Promise<{ scene: Scene; batch: FailedBatch }> {
  const scene = await Scene.make(farm, verifiers, terms);
  await listens(scene);
  expect(await scene.play(twoLie)).toMatchObject({ state: 'judged', outcome: 'fail', agreed: true });
  const batch = await told(scene);
  if (batch === null) throw new Error('the node was not told');
  return { scene, batch };
}

const appealsOf = async (scene: Scene) => await batchView(scene.context, (await scene.batch()).id);

describe('a node that two verifiers fail wrongly', () => {
  it('hears of it before the money moves, with all that it takes to look again', async () => {
    const { scene, batch } = await failed();
    const onChain = scene.escrow.get(batch.challenge.batchKey);
    expect(batch).toMatchObject({ bond: 1_000_000n, permitNonce: 0n, withheld: [] });
    expect(batch.leftMs).toBe(farm.context.config.appealMs);
    expect(requireHonestDraw(batch.challenge, batch.receipts, onChain, RECEIPTS_PER_CHALLENGE)).toHaveLength(
      2,
    );
    expect(await told(scene, (await farm.addNode()).id)).toBeNull();
  });

  it('appeals once: a committee passes it, it is paid, keeps its stake, and the liars lose theirs', async () => {
    const { scene, batch } = await failed();
    await take(scene, signed(scene, batch));
    await take(scene, signed(scene, batch));
    expect(await told(scene)).toBeNull();
    expect(await scene.play(twoLie)).toMatchObject({ state: 'settled', outcome: 'pass', slashed: '0' });
    expect(scene.escrow.payments).toMatchObject([{ node: scene.node.address, amount: 2_000n }]);
    expect(scene.escrow.stakeOf(scene.node.address)).toBe(STAKE);
    expect(await scene.escrow.port.credit(scene.node.address)).toBe(batch.bond);
    expect(scene.stakes().filter((stake) => stake === STAKE - PENALTY)).toHaveLength(2);
    expect(await farm.node(scene.node.id)).toMatchObject({ quarantined_until: null, tasks_verified: 2 });
    const events = (await farm.eventsOf(scene.job.id)).filter(({ type }) => type === 'batch.disputed');
    expect(events).toMatchObject([{ outcome: 'fail', disputer: scene.node.address, appeal: true }]);
    expect((await appealsOf(scene)).appeal).toEqual({ appeals: true, reason: 'it is right', refused: null });
  });

  it('that says it makes none loses the batch at once', async () => {
    const { scene, batch } = await failed();
    await take(scene, declined(batch));
    expect(await scene.play(twoLie)).toMatchObject({ state: 'settled', outcome: 'fail', agreed: true });
    expect((await appealsOf(scene)).appeal).toMatchObject({ appeals: false });
    await expect(take(scene, signed(scene, batch))).rejects.toMatchObject({ code: 'NOT_DISPUTABLE' });
  });

  it('that says nothing loses it when its time is over, and is too late then', async () => {
    const { scene, batch } = await failed();
    farm.clock.advance(farm.context.config.appealMs);
    // Said in the last moment it would have been written down before the money moves.
    expect((await scene.play(twoLie)).state).toBe('judged');
    expect(await told(scene)).toBeNull();
    await expect(take(scene, signed(scene, batch))).rejects.toMatchObject({
      code: 'NOT_DISPUTABLE',
      message: expect.stringContaining('time to appeal is over'),
    });
    farm.clock.advance(10_000);
    expect(await scene.play(twoLie)).toMatchObject({ state: 'settled', outcome: 'fail' });
  });

  it('has its time once more after a coordinator that was away', async () => {
    const { scene, batch } = await failed();
    farm.clock.advance(farm.context.config.appealMs + 60_000);
    await graceAppeals(scene.context);
    expect((await told(scene))?.leftMs).toBe(farm.context.config.appealMs);
    await take(scene, signed(scene, batch));
    expect(await scene.play(twoLie)).toMatchObject({ outcome: 'pass' });
  });

  it('is paid what the escrow owes it where its bond takes that, on a chain where nobody makes money', async () => {
    const { scene, batch } = await failed();
    const { port } = scene.escrow;
    const [disputer, bond] = [scene.node.address, batch.bond];
    await port.mintTestTokens(disputer, bond / 4n);
    scene.escrow.owe(disputer, bond);
    await take(scene, signed(scene, batch));
    const minted = vi.spyOn(port, 'mintTestTokens');
    const context = { ...scene.context, chain: onChainOne(port) };
    await relayAppeal(context, await scene.batch(), { seed: batch.challenge.seed }, signal);
    expect(await port.tokenBalance(disputer)).toBe(bond / 4n);
    expect(minted).not.toHaveBeenCalled();
    expect(await scene.play(twoLie)).toMatchObject({ outcome: 'pass' });
    expect(await port.credit(disputer)).toBe(bond);
  });

  it('has as long as the window of the escrow where that is longer', async () => {
    const { scene, batch } = await failed(VERIFIERS.length, { disputeWindowS: 3_600 });
    expect(batch.leftMs).toBe(3_600_000);
    farm.clock.advance(3_500_000);
    expect((await scene.play(twoLie)).state).toBe('judged');
    await take(scene, signed(scene, batch));
    expect(await scene.play(twoLie)).toMatchObject({ state: 'settled', outcome: 'pass' });
  });

  it('is not waited for where it would not appeal, or where nobody could decide it', async () => {
    const deaf = await Scene.make(farm);
    expect(await deaf.play(everybody('fail'))).toMatchObject({ state: 'settled', outcome: 'fail' });
    const few = await Scene.make(farm, 4);
    await listens(few);
    expect(await few.play(everybody('fail'))).toMatchObject({ state: 'settled', outcome: 'fail' });
  });

  it('and a committee that agrees with them: the bond is lost, and nobody is asked again', async () => {
    const { scene, batch } = await failed();
    await take(scene, signed(scene, batch));
    expect(await scene.play(everybody('fail'))).toMatchObject({
      state: 'settled',
      outcome: 'fail',
      agreed: true,
    });
    const members = scene.asked.filter(({ state }) => state === 'committee').map(({ address }) => address);
    expect(new Set(members).size).toBe(3);
    expect(await scene.escrow.port.credit(scene.node.address)).toBe(0n);
    expect(scene.escrow.stakeOf(scene.node.address)).toBe(STAKE - 20_000n);
  });
});

describe('an appeal that is refused changes nothing', () => {
  it.each<[string, (scene: Scene, batch: FailedBatch) => Appeal, RegExp]>([
    ['a bond too small', (scene, batch) => signed(scene, batch, { bond: batch.bond - 1n }), /costs 1000000/],
    [
      'the key of somebody else',
      (scene, batch) => signed(scene, batch, { key: newPrivateKey() }),
      /takes, not of/,
    ],
    [
      'a permit that is used',
      (scene, batch) => signed(scene, batch, { permitNonce: 1n }),
      /the token awaits 0: sign it again/,
    ],
    [
      'a dispute that the operator did not sign',
      (scene, batch) => {
        const [own, other] = [signed(scene, batch), signed(scene, batch, { key: newPrivateKey() })];
        if (own.dispute === null || other.dispute === null) throw new Error('not signed');
        return { ...own, dispute: { ...own.dispute, signature: other.dispute.signature } };
      },
      /dispute is not signed/,
    ],
    [
      'a permit that the operator did not sign',
      (scene, batch) => {
        const own = signed(scene, batch);
        if (own.dispute === null) throw new Error('not signed');
        const { permit } = own.dispute;
        return { ...own, dispute: { ...own.dispute, permit: { ...permit, deadline: permit.deadline + 1 } } };
      },
      /permit of the bond is not signed/,
    ],
  ])('with %s', async (_what, change, words) => {
    const { scene, batch } = await failed();
    const refused = { code: 'MESSAGE_INVALID', message: expect.stringMatching(words) };
    await expect(take(scene, change(scene, batch))).rejects.toMatchObject(refused);
    expect(await told(scene)).not.toBeNull();
    // It may still be made rightly.
    await take(scene, signed(scene, batch));
    expect(await scene.play(twoLie)).toMatchObject({ outcome: 'pass' });
  });

  it("of another node's batch", async () => {
    const { scene, batch } = await failed();
    const other = await farm.addNode();
    const appeal = signed(scene, batch, { key: other.key });
    await expect(takeAppeal(scene.context, other.id, appeal, signal)).rejects.toMatchObject({
      code: 'UNAUTHORIZED',
    });
  });

  it('of another draw, or of what was passed', async () => {
    const { scene, batch } = await failed();
    const other = { ...batch, challenge: { ...batch.challenge, seed: newPrivateKey() as never } };
    await expect(take(scene, signed(scene, other))).rejects.toMatchObject({ code: 'NOT_DISPUTABLE' });
    const passed = await Scene.make(farm, VERIFIERS.length, { disputeWindowS: 3_600 });
    await passed.play(everybody('pass'));
    const row = await passed.batch();
    const bait = { ...batch.challenge, batchId: row.id, batchKey: row.chain_key, seed: row.seed };
    const appeal = signed(passed, { ...batch, challenge: bait as never });
    await expect(take(passed, appeal)).rejects.toMatchObject({
      code: 'NOT_DISPUTABLE',
      message: expect.stringContaining('judged pass'),
    });
  });

  it('without the bond, on a chain where nobody makes money', async () => {
    const { scene, batch } = await failed();
    const chain = onChainOne(scene.escrow.port);
    const context = { ...scene.context, chain };
    const { escrowAddress: escrow, tokenAddress: token } = chain;
    const { batchId, seed } = batch.challenge;
    const nowS = farm.clock.now() / 1_000;
    const dispute = signAppeal({ chainId: 1, escrow, token }, batch, scene.node.key, nowS);
    await expect(take(scene, { batchId, seed, reason: '', dispute }, context)).rejects.toMatchObject({
      code: 'WALLET_EMPTY',
      message: expect.stringContaining('the bond is 1000000'),
    });
    expect(await told(scene)).not.toBeNull();
  });
});

describe('an appeal on its way to the escrow', () => {
  it.each(['before', 'after'] as const)('that is lost %s it arrives is made once', async (trouble) => {
    const { scene, batch } = await failed();
    await scene.escrow.port.mintTestTokens(scene.node.address, batch.bond);
    await take(scene, signed(scene, batch));
    scene.escrow.trouble = trouble;
    await expect(scene.play(twoLie)).rejects.toMatchObject({ code: 'CHAIN_UNAVAILABLE' });
    expect(await scene.play(twoLie)).toMatchObject({ state: 'settled', outcome: 'pass' });
    const events = await farm.eventsOf(scene.job.id);
    expect(events.filter(({ type }) => type === 'batch.disputed')).toHaveLength(1);
    expect(scene.escrow.payments).toHaveLength(1);
    expect(await scene.escrow.port.credit(scene.node.address)).toBe(batch.bond);
  });

  it('that the chain forgets is told it again', async () => {
    const { scene, batch } = await failed();
    await scene.escrow.port.waitUntilDurable(0n);
    await take(scene, signed(scene, batch));
    const silent: Says = () => 'silent';
    expect((await scene.play(silent)).state).toBe('committee');
    scene.escrow.forget();
    expect(scene.escrow.get(batch.challenge.batchKey).state).toBe('judged');
    expect(await scene.play(twoLie)).toMatchObject({ state: 'settled', outcome: 'pass' });
  });

  it('that finds too few verifiers is told, and the fail stands', async () => {
    const { scene, batch } = await failed();
    await take(scene, signed(scene, batch));
    const spoke = scene.asked.map(({ address }) => address);
    for (const { address } of VERIFIERS) if (!spoke.includes(address)) scene.escrow.leave(address);
    expect(await scene.play(twoLie)).toMatchObject({ state: 'settled', outcome: 'fail', agreed: true });
    expect(await farm.eventsOf(scene.job.id)).toContainEqual(
      expect.objectContaining({
        type: 'batch.undisputed',
        reason: expect.stringContaining('three verifiers'),
      }),
    );
    expect((await appealsOf(scene)).appeal?.refused).toContain('three verifiers');
  });

  it('whose permit was overtaken is asked for again', async () => {
    const { scene, batch } = await failed();
    await take(scene, signed(scene, batch));
    const moved = new Proxy(scene.escrow.port, {
      get(port, name) {
        if (name === 'permitNonce') return async () => 1n;
        if (name === 'dispute') return () => Promise.reject(new FarmError('CHAIN_REVERTED', 'no allowance'));
        return port[name as keyof FarmChain];
      },
    });
    const context = { ...scene.context, chain: moved };
    await settleBatches(context, signal);
    const again = await new AppealDesk(context).answer(scene.node.id, AbortSignal.abort());
    expect(again?.permitNonce).toBe(1n);
    await take(scene, signed(scene, batch));
    expect(await scene.play(twoLie)).toMatchObject({ outcome: 'pass' });
  });
});

describe('what can be appealed', () => {
  const [one, two, ...others] = VERIFIERS.map(({ address }) => address);
  const judged = (outcome: Outcome, last = false) => ({
    ...{ state: 'judged' as const, seed: newPrivateKey() as never, outcome, last },
    first: { verifier: one as never, outcome: 'fail' as const, evidence: newPrivateKey() as never },
    second: { verifier: two as never, outcome: 'fail' as const, evidence: newPrivateKey() as never },
  });

  it('is a fail that no committee has spoken on, where three are left to be asked', () => {
    const active = VERIFIERS.map(({ address }) => address);
    expect(isAppealable(judged('fail'), active)).toBe(true);
    expect(isAppealable(judged('fail', true), active)).toBe(false);
    for (const outcome of ['pass', 'inconclusive'] as const)
      expect(isAppealable(judged(outcome), active)).toBe(false);
    expect(isAppealable(judged('fail'), active.slice(1))).toBe(true);
    expect(isAppealable(judged('fail'), others.slice(1))).toBe(false);
    for (const state of ['committee', 'settled', 'second'] as const)
      expect(isAppealable({ ...judged('fail'), state }, active)).toBe(false);
  });

  it('can be for as long as the longer of the two times lasts, whatever the clocks say', () => {
    const time = fc.nat(10_000);
    fc.assert(
      fc.property(
        time,
        time,
        time,
        time,
        time,
        fc.nat(100),
        (atMs, sinceS, ms, chainS, appealMs, windowS) => {
          const left = appealLeftMs({ atMs, sinceS }, { ms, chainS }, { appealMs, disputeWindowS: windowS });
          const open = ms < atMs + appealMs || (windowS > 0 && chainS < sinceS + windowS);
          expect(left > 0).toBe(open);
          expect(left).toBeGreaterThanOrEqual(atMs + appealMs - ms);
        },
      ),
    );
  });
});
