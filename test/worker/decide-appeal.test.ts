import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { EMBEDDED_TERMS } from '../../platform/chain/deploy.ts';
import { type Outcome, outcomeSchema } from '../../protocol/verdict.ts';
import {
  type AppealFacts,
  DEFAULT_APPEAL_BOND,
  decideAppeal,
  type LookedAgain,
  whyNotLook,
} from '../../worker/decide-appeal.ts';

const GOOD: AppealFacts = { bond: 1_000n, mostBond: 1_000n, leftMs: 60_000, own: true, withheld: 0 };
const found = (outcome: Outcome): LookedAgain => ({ outcome, reason: 'crop 2' });

const facts = fc.record({
  bond: fc.bigInt({ min: 0n, max: 5n }),
  mostBond: fc.bigInt({ min: 0n, max: 5n }),
  leftMs: fc.integer({ min: -1_000, max: 5_000 }),
  own: fc.boolean(),
  withheld: fc.nat(2),
});
const looked = fc.option(
  fc.record({ outcome: fc.constantFrom(...outcomeSchema.options), reason: fc.string() }),
);

describe('a node whose batch was failed', () => {
  it('appeals where it finds the same once more', () => {
    expect(decideAppeal(GOOD, found('pass'))).toMatchObject({ appeals: true });
  });

  it.each<[string, Partial<AppealFacts>, LookedAgain | null, RegExp]>([
    ['its operator lets it put down nothing', { mostBond: 0n }, found('pass'), /appeal against nothing/],
    ['the bond is more than its operator allows', { bond: 1_001n }, found('pass'), /operator allows 1000/],
    ['the time is over', { leftMs: 0 }, found('pass'), /time/],
    ['the receipts are not its own', { own: false }, found('pass'), /did not sign/],
    ['it did not hand a file over', { withheld: 2 }, found('pass'), /2 of the drawn files/],
    ['it could not look', {}, null, /could not be rendered/],
    ['it finds another picture', {}, found('fail'), /not what was committed: crop 2/],
    ['it finds nothing clear', {}, found('inconclusive'), /not clear: crop 2/],
  ])('does not where %s, and says so', (_why, changes, again, words) => {
    const { appeals, reason } = decideAppeal({ ...GOOD, ...changes }, again);
    expect(appeals).toBe(false);
    expect(reason).toMatch(words);
  });

  it('never bets more than it may, on work that is not its own, or on what it did not find right', () => {
    fc.assert(
      fc.property(facts, looked, (known, again) => {
        const { appeals, reason } = decideAppeal(known, again);
        expect(reason).not.toBe('');
        if (!appeals) return;
        expect(known.bond).toBeLessThanOrEqual(known.mostBond);
        expect(known.mostBond).toBeGreaterThan(0n);
        expect(known).toMatchObject({ own: true, withheld: 0 });
        expect(again?.outcome).toBe('pass');
      }),
    );
  });

  it('renders again only where that could change what it says', () => {
    fc.assert(
      fc.property(facts, (known) => {
        const changes = decideAppeal(known, found('pass')).appeals;
        expect(whyNotLook(known) === null).toBe(changes);
      }),
    );
  });

  it('may put down by default what a dispute costs on a farm of its own, and no more', () => {
    expect(BigInt(DEFAULT_APPEAL_BOND)).toBe(EMBEDDED_TERMS.disputeBond);
  });
});
