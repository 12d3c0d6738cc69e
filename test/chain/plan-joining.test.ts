import fc from 'fast-check';
import { expect, it } from 'vitest';
import { type JoiningFacts, planJoining } from '../../platform/chain/plan-joining.ts';

const money = fc.bigInt({ min: 0n, max: 10n ** 12n });
const anyFacts: fc.Arbitrary<JoiningFacts> = fc.record({
  terms: fc.record({ minVerifierStake: fc.bigInt({ min: 1n, max: 10n ** 10n }), verifierPenalty: money }),
  operator: fc.record({ stake: money, places: fc.nat({ max: 3 }) }),
  balance: money,
  active: fc.boolean(),
  hasPlace: fc.boolean(),
  activeFrom: fc.oneof(fc.constant(0), fc.integer({ min: 1, max: 100 })),
  nowS: fc.integer({ min: 1, max: 100 }),
});
const leastOf = ({ terms, operator, hasPlace }: JoiningFacts) =>
  terms.minVerifierStake * BigInt(operator.places + (hasPlace ? 0 : 1));

it('what is put down is enough for the registry, and asked for once', () => {
  fc.assert(
    fc.property(anyFacts, (facts) => {
      const { toStake, missing } = planJoining(facts);
      expect(missing).toBe(toStake > facts.balance ? toStake - facts.balance : 0n);
      if (facts.active || missing > 0n) return;
      const stake = facts.operator.stake + toStake;
      expect(stake).toBeGreaterThanOrEqual(leastOf(facts));
      const after = { ...facts, operator: { ...facts.operator, stake }, balance: facts.balance - toStake };
      expect(planJoining(after).toStake).toBe(0n);
    }),
  );
});

it('a penalty is put down on top, and what was lost since is not put down again while it is enough', () => {
  const terms = { minVerifierStake: 1_000n, verifierPenalty: 10n };
  const facts = { terms, balance: 0n, active: false, hasPlace: false, activeFrom: 0, nowS: 50 };
  const planOf = (stake: bigint) => planJoining({ ...facts, operator: { stake, places: 0 } });
  expect(planOf(0n)).toEqual({ next: 'join', toStake: 1_010n, missing: 1_010n });
  expect(planOf(999n)).toMatchObject({ toStake: 11n });
  expect(planOf(1_000n)).toMatchObject({ toStake: 0n });
});

it('one that is in the list has nothing to do; the others join, wait, and are activated, in this order', () => {
  fc.assert(
    fc.property(anyFacts, (facts) => {
      const { active, activeFrom, nowS } = facts;
      const joined = activeFrom > nowS ? 'wait' : 'activate';
      const expected = active ? 'nothing' : activeFrom === 0 ? 'join' : joined;
      expect(planJoining(facts).next).toBe(expected);
    }),
  );
});
