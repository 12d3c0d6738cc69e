import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  type BatchStep,
  CLOCK_SLACK_S,
  type HeldWord,
  type Known,
  majority,
  nextStep,
} from '../../coordinator/settlement/next-step.ts';
import type { BatchState as ChainState } from '../../platform/chain/chain.ts';
import { type Address, addressSchema, type Bytes32, bytes32Schema } from '../../protocol/ids.ts';
import { type BatchState, batchStateSchema, type Outcome } from '../../protocol/verdict.ts';
import { FAKE_TERMS } from './fake-escrow.ts';

const seedOf = (draw: number): Bytes32 => bytes32Schema.parse(`0x${draw.toString(16).padStart(64, '0')}`);
const verifier = (nth: number): Address => addressSchema.parse(`0x${nth.toString(16).padStart(40, '0')}`);
const [ONE, TWO, THREE] = [verifier(1), verifier(2), verifier(3)];
const CHAIN_STATES: ChainState[] = [
  ...(['none', 'committed', 'drawn', 'second', 'committee', 'judged', 'settled', 'expired'] as const),
];
const UNSETTLED = batchStateSchema.options.filter((state) => state !== 'open' && state !== 'settled');
const SEED = seedOf(1);

type OnChain = Parameters<typeof nextStep>[1];
const onChain = (state: ChainState, changes: Partial<OnChain> = {}): OnChain => ({
  ...{ state, seed: SEED, asked: [], members: [], since: 0, committedAt: 0, outcome: null, last: false },
  ...changes,
});
const known = (changes: Partial<Known> = {}): Known => ({
  ...{ words: [], disputed: null, appeal: 'none', active: [ONE, TWO, THREE], nowS: 0, terms: FAKE_TERMS },
  ...changes,
});
const word = (by: Address, outcome: Outcome, seed = SEED): HeldWord => ({ verifier: by, outcome, seed });
const step = (chain: OnChain, facts: Partial<Known> = {}, row: BatchState = 'drawn'): BatchStep | null =>
  nextStep({ state: row }, chain, known(facts));
const past = (windowS: number): Partial<Known> => ({ nowS: windowS + CLOCK_SLACK_S + 1 });

describe('the next step of a batch', () => {
  it('is nothing for an open or a settled batch, and something for every other, whatever the chain says', () => {
    for (const state of CHAIN_STATES) {
      for (const row of ['open', 'settled'] as const) expect(step(onChain(state), {}, row)).toBeNull();
      for (const row of UNSETTLED) expect(step(onChain(state), {}, row)).not.toBeNull();
    }
  });

  it.each<[string, OnChain, Partial<Known>, BatchStep]>([
    ['one the chain does not have', onChain('none', { seed: null }), {}, 'commit'],
    ['one without a seed', onChain('committed', { seed: null }), {}, 'await-secret'],
    ['a secret that does not come', onChain('committed'), past(FAKE_TERMS.verdictWindowS), 'reanchor'],
    ['a secret that never came', onChain('committed'), past(FAKE_TERMS.expireWindowS), 'expire'],
    ['one that a verifier looks at', onChain('drawn', { asked: [ONE] }), {}, 'wait'],
    ['a word', onChain('drawn', { asked: [ONE] }), { words: [word(ONE, 'pass')] }, 'attest'],
    ['a word of another', onChain('drawn', { asked: [ONE] }), { words: [word(TWO, 'pass')] }, 'wait'],
    [
      'a word on another draw',
      onChain('drawn', { asked: [ONE] }),
      { words: [word(ONE, 'pass', seedOf(2))] },
      'wait',
    ],
    ['a silent verifier', onChain('drawn', { asked: [ONE] }), past(FAKE_TERMS.verdictWindowS), 'replace'],
    ['a verifier that left', onChain('drawn', { asked: [ONE] }), { active: [TWO] }, 'replace'],
    ['silence all week', onChain('drawn', { asked: [ONE] }), past(FAKE_TERMS.expireWindowS), 'expire'],
    [
      'a late word, for it still counts',
      onChain('drawn', { asked: [ONE] }),
      { ...past(FAKE_TERMS.expireWindowS), words: [word(ONE, 'fail')] },
      'attest',
    ],
    ['one that a second looks at', onChain('second', { asked: [TWO] }), {}, 'wait'],
    [
      'a second word, and not the first again',
      onChain('second', { asked: [TWO] }),
      { words: [word(ONE, 'fail')] },
      'wait',
    ],
    ['the second word', onChain('second', { asked: [TWO] }), { words: [word(TWO, 'fail')] }, 'attest'],
    ['a silent second', onChain('second', { asked: [TWO] }), past(FAKE_TERMS.verdictWindowS), 'replace'],
    [
      'a committee that does not agree',
      onChain('committee', { members: [ONE, TWO, THREE] }),
      { words: [word(ONE, 'fail'), word(TWO, 'pass')] },
      'wait',
    ],
    [
      'a committee in which more than half agree',
      onChain('committee', { members: [ONE, TWO, THREE] }),
      { words: [word(ONE, 'fail'), word(TWO, 'pass'), word(THREE, 'pass')] },
      'attest-committee',
    ],
    ['a silent committee', onChain('committee'), past(FAKE_TERMS.committeeWindowS), 'close-committee'],
    ['a judgement', onChain('judged', { outcome: 'pass' }), {}, 'settle'],
    [
      'a judgement that can be disputed',
      onChain('judged', { outcome: 'pass' }),
      { terms: { ...FAKE_TERMS, disputeWindowS: 600 } },
      'wait',
    ],
    [
      'one that nobody disputed',
      onChain('judged', { outcome: 'pass' }),
      { ...past(600), terms: { ...FAKE_TERMS, disputeWindowS: 600 } },
      'settle',
    ],
    [
      'the last judgement, at once',
      onChain('judged', { outcome: 'pass', last: true }),
      { terms: { ...FAKE_TERMS, disputeWindowS: 600 } },
      'settle',
    ],
    ['a signed dispute', onChain('judged', { outcome: 'fail' }), { disputed: SEED }, 'dispute'],
    ['a dispute of another draw', onChain('judged', { outcome: 'fail' }), { disputed: seedOf(2) }, 'settle'],
    [
      'a dispute of what a committee said',
      onChain('judged', { outcome: 'fail', last: true }),
      { disputed: SEED },
      'settle',
    ],
    [
      'a dispute where nobody could tell',
      onChain('judged', { outcome: 'inconclusive' }),
      { disputed: SEED },
      'settle',
    ],
    [
      'a fail that its node may appeal',
      onChain('judged', { outcome: 'fail' }),
      { appeal: 'awaited' },
      'wait',
    ],
    ['an appeal', onChain('judged', { outcome: 'fail' }), { appeal: 'signed' }, 'appeal'],
    [
      "an appeal beside the farm's own dispute",
      onChain('judged', { outcome: 'fail' }),
      { appeal: 'signed', disputed: SEED },
      'dispute',
    ],
    ['an appeal against a pass', onChain('judged', { outcome: 'pass' }), { appeal: 'signed' }, 'settle'],
    [
      'an appeal against what a committee said',
      onChain('judged', { outcome: 'fail', last: true }),
      { appeal: 'signed' },
      'settle',
    ],
    ['money that has moved', onChain('settled'), {}, 'apply'],
    ['money that went back', onChain('expired'), {}, 'apply-expired'],
  ])('for %s', (_what, chain, facts, expected) => {
    for (const row of UNSETTLED) expect(step(chain, facts, row)).toBe(expected);
  });
});

it('a majority is more than half of the members, whoever else says something', () => {
  const members = [ONE, TWO, THREE];
  expect(majority(members, [word(ONE, 'fail')])).toBeNull();
  expect(majority(members, [word(ONE, 'fail'), word(verifier(9), 'fail')])).toBeNull();
  expect(majority(members, [word(ONE, 'fail'), word(ONE, 'fail')])).toBeNull();
  expect(majority(members, [word(ONE, 'fail'), word(TWO, 'fail')])).toBe('fail');
  expect(majority([], [])).toBeNull();
});

/** A batch on the chain and in the words of its verifiers, as settle-batches.ts moves it; the row follows the chain. */
class World {
  row: BatchState = 'closed';
  chain: OnChain = onChain('none', { seed: null });
  words: HeldWord[] = [];
  attestedOnOtherSeed = false;
  #draws = 0;

  /** One round. `noted`: whether the process lives long enough to write down what the round changed. */
  round(noted: boolean): void {
    const { state, seed, asked } = this.chain;
    if (noted && state !== 'none' && state !== 'settled' && state !== 'expired') this.row = state;
    const taken = nextStep({ state: this.row }, this.chain, known({ words: this.words }));
    const own = this.words.find((one) => one.seed === seed && asked.includes(one.verifier));
    switch (taken) {
      case 'commit':
        this.chain = onChain('committed', { seed: null });
        return;
      case 'attest':
        if (own === undefined) {
          this.attestedOnOtherSeed = true;
          return;
        }
        if (state === 'drawn' && own.outcome !== 'pass')
          this.chain = { ...this.chain, state: 'second', asked: [TWO] };
        else this.chain = { ...this.chain, state: 'judged', asked: [], outcome: own.outcome };
        return;
      case 'settle':
        this.chain = { ...this.chain, state: 'settled' };
        return;
      case 'apply':
      case 'apply-expired':
        if (noted) this.row = 'settled';
        return;
      default:
        return;
    }
  }

  /** The verifiers do what the database shows them. */
  verify(outcome: Outcome): void {
    const { state, seed, asked } = this.chain;
    if (this.row === 'committed' && state === 'committed') {
      this.#draws += 1;
      this.chain = onChain('drawn', { seed: seedOf(this.#draws), asked: [ONE] });
    } else if (seed !== null && asked[0] !== undefined && (this.row === 'drawn' || this.row === 'second')) {
      this.words = [...this.words, word(asked[0], outcome, seed)];
    }
  }

  /** kill -9 of the embedded chain: it falls back to what it had saved. What was settled was waited for. */
  forget(depth: number): void {
    const order: ChainState[] = ['none', 'committed', 'drawn', 'second', 'judged'];
    const at = order.indexOf(this.chain.state);
    if (at < 0) return;
    const state = order[Math.max(0, at - depth)] ?? 'none';
    const drawn = state === 'drawn' || state === 'second' || state === 'judged';
    const asked = state === 'drawn' ? [ONE] : state === 'second' ? [TWO] : [];
    this.chain = { ...this.chain, state, asked, seed: drawn ? this.chain.seed : null };
  }
}

describe('settling a batch, whatever dies on the way', () => {
  const outcome = fc.constantFrom<Outcome[]>('pass', 'fail', 'inconclusive');
  const trouble = fc.array(
    fc.oneof(
      fc.record({ kind: fc.constant('round' as const), noted: fc.boolean() }),
      fc.record({ kind: fc.constant('verify' as const), outcome }),
      fc.record({ kind: fc.constant('forget' as const), depth: fc.integer({ min: 1, max: 4 }) }),
      fc.constant({ kind: 'expire' as const }),
    ),
    { maxLength: 40 },
  );

  it('reaches settled once the trouble is over, and never attests a word on another seed', () => {
    fc.assert(
      fc.property(trouble, (events) => {
        const world = new World();
        for (const event of events) {
          if (event.kind === 'round') world.round(event.noted);
          else if (event.kind === 'verify') world.verify(event.outcome);
          else if (event.kind === 'forget') world.forget(event.depth);
          else if (['committed', 'drawn', 'second'].includes(world.chain.state))
            world.chain = { ...world.chain, state: 'expired' };
        }
        for (let calm = 0; calm < 14 && world.row !== 'settled'; calm++) {
          world.round(true);
          world.verify('pass');
        }
        expect(world.row).toBe('settled');
        expect(['settled', 'expired']).toContain(world.chain.state);
        expect(world.attestedOnOtherSeed).toBe(false);
      }),
      { numRuns: 1_000 },
    );
  });
});
