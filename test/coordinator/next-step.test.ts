import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type BatchStep, nextStep } from '../../coordinator/settlement/next-step.ts';
import type { BatchState as ChainState } from '../../platform/chain/chain.ts';
import { type Bytes32, bytes32Schema } from '../../protocol/ids.ts';
import { type BatchState, batchStateSchema, type Outcome } from '../../protocol/verdict.ts';

const seedOf = (draw: number): Bytes32 => bytes32Schema.parse(`0x${draw.toString(16).padStart(64, '0')}`);
const CHAIN_STATES: ChainState[] = ['none', 'committed', 'drawn', 'attested', 'settled', 'expired'];
const UNSETTLED: BatchState[] = ['closed', 'committed', 'drawn', 'judged'];

describe('the next step of a batch', () => {
  it.each(CHAIN_STATES)('is nothing for an open or a settled batch while the chain says %s', (state) => {
    for (const row of ['open', 'settled'] as const) {
      expect(
        nextStep({ state: row, outcome: 'pass', seed: seedOf(1) }, { state, seed: seedOf(1) }),
      ).toBeNull();
    }
  });

  const byChain: [ChainState, BatchStep][] = [
    ['none', 'commit'],
    ['committed', 'await-secret'],
    ['attested', 'settle'],
    ['settled', 'apply'],
    ['expired', 'apply-expired'],
  ];
  it.each(byChain)('follows the chain alone where it says %s: %s', (state, step) => {
    for (const row of UNSETTLED) {
      for (const outcome of ['pass', 'fail', 'inconclusive', null] as const) {
        expect(nextStep({ state: row, outcome, seed: seedOf(1) }, { state, seed: null })).toBe(step);
      }
    }
  });

  it('waits for a verdict on a drawn batch that has none', () => {
    for (const state of ['closed', 'committed', 'drawn'] as const) {
      expect(nextStep({ state, outcome: null, seed: seedOf(1) }, { state: 'drawn', seed: seedOf(1) })).toBe(
        'await-verdict',
      );
    }
  });

  it.each(['pass', 'fail', 'inconclusive'] as const)(
    'attests the verdict %s on the seed that was drawn',
    (outcome) => {
      const row = { state: 'judged' as const, outcome, seed: seedOf(1) };
      expect(nextStep(row, { state: 'drawn', seed: seedOf(1) })).toBe('attest');
    },
  );

  it('waits for another verdict when the chain drew another seed', () => {
    const row = { state: 'judged' as const, outcome: 'pass' as const, seed: seedOf(1) };
    expect(nextStep(row, { state: 'drawn', seed: seedOf(2) })).toBe('await-verdict');
    expect(nextStep({ ...row, seed: null }, { state: 'drawn', seed: seedOf(2) })).toBe('await-verdict');
  });

  it('has an answer for every state of database and chain', () => {
    for (const row of batchStateSchema.options) {
      for (const state of CHAIN_STATES) {
        const step = nextStep({ state: row, outcome: 'pass', seed: seedOf(1) }, { state, seed: seedOf(1) });
        expect(step === null).toBe(row === 'open' || row === 'settled');
      }
    }
  });
});

/** A batch in the database, on the chain, and at the verifier's, as settle-batches.ts moves it. */
class World {
  row: { state: BatchState; outcome: Outcome | null; seed: Bytes32 | null } = {
    state: 'closed',
    outcome: null,
    seed: null,
  };
  chain: { state: ChainState; seed: Bytes32 | null } = { state: 'none', seed: null };
  attestedOnOtherSeed = false;
  #verdictFor: Bytes32 | null = null;
  #draws = 0;

  /** One round. `noted`: whether the process lives long enough to write down what the round changed. */
  round(noted: boolean): void {
    const step = nextStep(this.row, this.chain);
    switch (step) {
      case 'commit':
        this.chain = { state: 'committed', seed: null };
        return;
      case 'await-secret':
        if (noted && this.row.state !== 'committed')
          this.row = { ...this.row, state: 'committed', seed: null };
        return;
      case 'await-verdict':
        if (noted && !(this.row.state === 'drawn' && this.row.seed === this.chain.seed)) {
          this.row = { state: 'drawn', outcome: null, seed: this.chain.seed };
        }
        return;
      case 'attest':
        if (this.#verdictFor !== this.chain.seed) this.attestedOnOtherSeed = true;
        this.chain = { ...this.chain, state: 'attested' };
        return;
      case 'settle':
        this.chain = { ...this.chain, state: 'settled' };
        return;
      case 'apply':
      case 'apply-expired':
        if (noted) this.row = { ...this.row, state: 'settled' };
        return;
      case null:
        return;
    }
  }

  /** The verifier does what the database shows it. */
  verify(): void {
    if (this.row.state === 'committed' && this.chain.state === 'committed') {
      this.#draws += 1;
      this.chain = { state: 'drawn', seed: seedOf(this.#draws) };
    } else if (this.row.state === 'drawn') {
      this.#verdictFor = this.row.seed;
      this.row = { ...this.row, state: 'judged', outcome: 'pass' };
    }
  }

  /** kill -9 of the embedded chain: it falls back to what it had saved. What was settled was waited for. */
  forget(depth: number): void {
    const order: ChainState[] = ['none', 'committed', 'drawn', 'attested'];
    const at = order.indexOf(this.chain.state);
    if (at < 0) return;
    const state = order[Math.max(0, at - depth)] ?? 'none';
    this.chain = { state, seed: state === 'drawn' || state === 'attested' ? this.chain.seed : null };
  }
}

describe('settling a batch, whatever dies on the way', () => {
  const trouble = fc.array(
    fc.oneof(
      fc.record({ kind: fc.constant('round' as const), noted: fc.boolean() }),
      fc.constant({ kind: 'verify' as const }),
      fc.record({ kind: fc.constant('forget' as const), depth: fc.integer({ min: 1, max: 3 }) }),
      fc.constant({ kind: 'expire' as const }),
    ),
    { maxLength: 40 },
  );

  it('reaches settled once the trouble is over, and never attests a verdict on another seed', () => {
    fc.assert(
      fc.property(trouble, (events) => {
        const world = new World();
        for (const event of events) {
          if (event.kind === 'round') world.round(event.noted);
          else if (event.kind === 'verify') world.verify();
          else if (event.kind === 'forget') world.forget(event.depth);
          else if (world.chain.state === 'committed' || world.chain.state === 'drawn') {
            world.chain = { ...world.chain, state: 'expired' };
          }
        }
        for (let calm = 0; calm < 12 && world.row.state !== 'settled'; calm++) {
          world.round(true);
          world.verify();
        }
        expect(world.row.state).toBe('settled');
        expect(['settled', 'expired']).toContain(world.chain.state);
        expect(world.attestedOnOtherSeed).toBe(false);
      }),
      { numRuns: 1_000 },
    );
  });
});
