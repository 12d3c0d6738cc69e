/** Verifiers that lie, against the coordinator's own settlement and desk: what each costs whom. */
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { disputeBatch } from '../../coordinator/settlement/disputes.ts';
import type { Address } from '../../protocol/ids.ts';
import { LYING_VERIFIERS } from '../adversaries/verifiers.ts';
import { type TestCoordinator, testCoordinator } from '../support/coordinator-context.ts';
import { everybody, type Says, Scene } from './batch-scene.ts';

vi.setConfig({ testTimeout: 60_000, hookTimeout: 120_000 });

const [STAKE, PENALTY] = [100_000_000n, 10_000_000n];

let farm: TestCoordinator;
beforeAll(async () => {
  farm = await testCoordinator();
});
afterAll(() => farm[Symbol.asyncDispose]());

describe('two verifiers that find the same', () => {
  it('cost a cheat its batch, its stake and an hour; the tasks are rendered again', async () => {
    const scene = await Scene.make(farm);
    const batch = await scene.play(everybody('fail'));
    expect(batch).toMatchObject({ state: 'settled', outcome: 'fail', agreed: true, slashed: '20000' });
    expect(await farm.node(scene.node.id)).toMatchObject({ tasks_forfeited: 2, slashed: '20000' });
    expect((await farm.node(scene.node.id)).quarantined_until).not.toBeNull();
    expect(scene.escrow.stakeOf(scene.node.address)).toBe(STAKE - 20_000n);
    expect(scene.escrow.payments).toEqual([]);
    for (const tile of scene.job.tiles) expect((await farm.task(tile.id)).state).toBe('queued');
    expect(new Set(scene.asked.map(({ address }) => address)).size).toBe(2);
  });
});

describe('one verifier that finds a fail, with no second to be asked', () => {
  it('costs the node this batch and no more, and the words say so', async () => {
    const scene = await Scene.make(farm, 1);
    const batch = await scene.play(everybody('fail'));
    expect(batch).toMatchObject({ state: 'settled', outcome: 'fail', agreed: false, slashed: '0' });
    expect(await farm.node(scene.node.id)).toMatchObject({ tasks_forfeited: 2, quarantined_until: null });
    const events = await farm.eventsOf(scene.job.id);
    const requeued = events.flatMap((event) => (event.type === 'task.requeued' ? [event.reason] : []));
    expect(requeued[0]).toContain('one verifier alone found this');
  });
});

describe('a verifier that fails whatever a rival rendered', () => {
  const accuser = LYING_VERIFIERS.accuser.word('pass', 'rival');

  it('is overturned by a committee and loses its penalty; the node is paid', async () => {
    const scene = await Scene.make(farm);
    const batch = await scene.play((state) => (state === 'drawn' ? accuser : 'pass'));
    expect(batch).toMatchObject({ state: 'settled', outcome: 'pass', slashed: '0' });
    expect(scene.escrow.payments).toMatchObject([{ node: scene.node.address, amount: 2_000n }]);
    expect(scene.escrow.stakeOf(scene.first())).toBe(STAKE - PENALTY);
    expect(scene.stakes().filter((stake) => stake === STAKE)).toHaveLength(4);
    expect(await farm.node(scene.node.id)).toMatchObject({ quarantined_until: null, tasks_verified: 2 });
    // The committee is of others than the two that disagreed.
    const members = scene.asked.filter(({ state }) => state === 'committee').map(({ address }) => address);
    expect(new Set(members).size).toBeGreaterThanOrEqual(2);
    expect(members).not.toContain(scene.first());
  });

  it('costs the node nothing where there are too few for a committee: it is rendered again', async () => {
    const scene = await Scene.make(farm, 2);
    const batch = await scene.play((state) => (state === 'drawn' ? accuser : 'pass'));
    expect(batch).toMatchObject({ state: 'settled', outcome: 'inconclusive', slashed: '0' });
    expect(await farm.node(scene.node.id)).toMatchObject({ tasks_forfeited: 0, quarantined_until: null });
    expect(scene.escrow.stakeOf(scene.node.address)).toBe(STAKE);
  });
});

describe('a verifier that passes everything', () => {
  it.each([LYING_VERIFIERS.lazy, LYING_VERIFIERS.colluder])(
    'is found out by a dispute: the committee renders, the cheat is not paid ($name)',
    async ({ word }) => {
      const scene = await Scene.make(farm);
      await disputeBatch(scene.context, (await scene.batch()).id, { outcome: 'pass' });
      const batch = await scene.play((state) => (state === 'drawn' ? word('fail', 'friend') : 'fail'));
      expect(batch).toMatchObject({ state: 'settled', outcome: 'fail', agreed: true });
      expect(scene.escrow.payments).toEqual([]);
      expect(scene.escrow.stakeOf(scene.first())).toBe(STAKE - PENALTY);
      expect((await farm.node(scene.node.id)).quarantined_until).not.toBeNull();
      expect(await farm.eventsOf(scene.job.id)).toContainEqual(
        expect.objectContaining({ type: 'batch.disputed', outcome: 'pass' }),
      );
    },
  );

  it('is believed where nobody doubts it: what a batch is worth is what a dispute is for', async () => {
    const scene = await Scene.make(farm);
    expect(await scene.play(everybody('pass'))).toMatchObject({ outcome: 'pass' });
    expect(scene.escrow.payments).toHaveLength(1);
  });
});

describe('a dispute', () => {
  it('that the committee does not share changes nothing, and the honest verifier keeps its stake', async () => {
    const scene = await Scene.make(farm);
    await disputeBatch(scene.context, (await scene.batch()).id, { outcome: 'pass' });
    expect(await scene.play(everybody('pass'))).toMatchObject({ outcome: 'pass' });
    expect(scene.escrow.payments).toHaveLength(1);
    expect(scene.stakes().every((stake) => stake === STAKE)).toBe(true);
  });

  it('is not raised where the judgement is another than the doubted one', async () => {
    const scene = await Scene.make(farm);
    await disputeBatch(scene.context, (await scene.batch()).id, { outcome: 'fail' });
    expect(await scene.play(everybody('pass'))).toMatchObject({ outcome: 'pass' });
    expect(scene.asked.every(({ state }) => state === 'drawn')).toBe(true);
  });

  it('that finds too few verifiers is told, and the judgement stands', async () => {
    const scene = await Scene.make(farm, 2);
    await disputeBatch(scene.context, (await scene.batch()).id, { outcome: 'pass' });
    expect(await scene.play(everybody('pass'))).toMatchObject({ state: 'settled', outcome: 'pass' });
    expect(await farm.eventsOf(scene.job.id)).toContainEqual(
      expect.objectContaining({
        type: 'batch.undisputed',
        reason: expect.stringContaining('three verifiers'),
      }),
    );
  });

  it('of what is settled, or not judged and not named, is refused', async () => {
    const scene = await Scene.make(farm);
    const { id } = await scene.batch();
    const refused = { code: 'NOT_DISPUTABLE' };
    await expect(disputeBatch(scene.context, id, {})).rejects.toMatchObject(refused);
    await scene.play(everybody('pass'));
    await expect(disputeBatch(scene.context, id, { outcome: 'pass' })).rejects.toMatchObject(refused);
  });
});

describe('a verifier that has vanished', () => {
  it('is replaced when its time is over, at its own cost', async () => {
    const scene = await Scene.make(farm);
    let silent: Address | undefined;
    const says: Says = (_state, { address }) => {
      silent ??= address;
      return address === silent ? 'silent' : 'pass';
    };
    expect((await scene.play(says)).state).toBe('drawn');
    farm.clock.advance((scene.escrow.terms.verdictWindowS + 61) * 1_000);
    expect(await scene.play(says)).toMatchObject({ state: 'settled', outcome: 'pass' });
    expect(scene.escrow.stakeOf(silent as Address)).toBe(STAKE - scene.escrow.terms.missPenalty);
  });

  it('is replaced at once when it has left the list', async () => {
    const scene = await Scene.make(farm);
    let gone: Address | undefined;
    const says: Says = (_state, { address }) => {
      gone ??= address;
      return address === gone ? 'silent' : 'pass';
    };
    await scene.play(says);
    scene.escrow.leave(gone as Address);
    expect(await scene.play(says)).toMatchObject({ state: 'settled', outcome: 'pass' });
    expect(scene.escrow.stakeOf(gone as Address)).toBe(STAKE);
  });
});
