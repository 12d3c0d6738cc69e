import { AbiCoder, hexlify, keccak256, randomBytes, ZeroAddress } from 'ethers';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  agreesWithLane,
  type BatchEvent,
  chainBatchOf,
  foldBatch,
  hashOfBatch,
} from '../../platform/chain/batch-fold.ts';
import { batchKeyOf } from '../../platform/chain/keys.ts';
import { addressOf, newPrivateKey } from '../../platform/chain/signing.ts';
import type { Address, Bytes32 } from '../../protocol/ids.ts';

const bytes32 = (): Bytes32 => hexlify(randomBytes(32)) as Bytes32;
const people = Array.from({ length: 9 }, () => addressOf(newPrivateKey()));
const NOBODY = ZeroAddress as Address;
const node = people[0] as Address;
const batchKey = batchKeyOf({ node, lane: 1, generation: 4n });
const person = fc.constantFrom(...people.slice(1));
const outcome = fc.integer({ min: 1, max: 3 });

/** Every way of a batch that the contract allows, as its events tell it; each at a later second. */
const life: fc.Arbitrary<BatchEvent[]> = fc
  .record({
    reanchors: fc.nat({ max: 2 }),
    replaced: fc.boolean(),
    replacedSecond: fc.boolean(),
    first: outcome,
    second: outcome,
    people: fc.tuple(person, person, person, person, person),
    disputed: fc.boolean(),
    votes: fc.integer({ min: 0, max: 3 }),
    word: outcome,
    amount: fc.bigInt(0n, 2n ** 96n - 1n),
    count: fc.integer({ min: 1, max: 64 }),
    length: fc.integer({ min: 1, max: 20 }),
  })
  .map((made) => {
    const events: BatchEvent[] = [];
    let since = 1_800_000_000;
    let turns = 0;
    const [asked, next, other, drawer, disputer] = made.people;
    const tell = (event: BatchEvent): void => {
      since += 1;
      if ('since' in event.args) event.args.since = since;
      events.push(event);
    };
    const { amount, count } = made;
    const anchor = 100n;
    const promised = { jobKey: bytes32(), operator: node, root: bytes32(), stake: 7n };
    tell({ name: 'Committed', args: { batchKey, ...promised, count, amount, anchor, since } });
    for (let at = 1; at <= made.reanchors; at++) {
      const moved = { anchor: anchor + 300n * BigInt(at), missedBy: drawer };
      tell({ name: 'Reanchored', args: { batchKey, ...moved, since } });
    }
    const seed = bytes32();
    const hashes = { preimage: bytes32(), blockHash: bytes32(), seed };
    tell({ name: 'Drawn', args: { batchKey, ...hashes, verifier: asked, since } });
    const replace = (silent: Address): void => {
      turns += 1;
      tell({ name: 'Replaced', args: { batchKey, silent, verifier: other, turns, since } });
    };
    const judge = (said: number, agreed: boolean, last: boolean): void =>
      tell({ name: 'Judged', args: { batchKey, outcome: said, agreed, last, since } });
    if (made.replaced) replace(asked);
    const evidence = bytes32();
    const word = { batchKey, by: asked, outcome: made.first, evidence };
    tell({ name: 'Attested', args: { ...word, next: made.first === 1 ? NOBODY : next, since } });
    let judged = made.first;
    if (made.first !== 1) {
      if (made.replacedSecond) replace(next);
      const later = { by: next, outcome: made.second, evidence: bytes32(), next: NOBODY };
      tell({ name: 'Attested', args: { batchKey, ...later, since } });
      judged = made.first === 2 && made.second === 1 ? 0 : made.second;
    }
    if (judged !== 0) judge(judged, judged === 2, false);
    if (judged === 0 || made.disputed) {
      const bond = judged === 0 ? {} : { disputer, bond: 5n };
      const called = { members: people.slice(4, 7), disputer: NOBODY, bond: 0n, ...bond };
      tell({ name: 'CommitteeCalled', args: { batchKey, ...called, since } });
      for (let at = 0; at < made.votes; at++) {
        const vote = { by: people[4 + at] as Address, outcome: made.word, evidence: bytes32() };
        tell({ name: 'Voted', args: { batchKey, ...vote } });
      }
      judge(made.votes < 2 ? judged || 3 : made.word, made.word === 2, true);
    }
    return events.slice(0, made.length);
  });

/** Parts of a life between two transactions: a word that judges is told by two events of one. */
function isWhole(events: readonly BatchEvent[]): boolean {
  const last = events.at(-1);
  if (last?.name === 'Voted') return false;
  if (last?.name !== 'Attested') return true;
  const asksAnother = last.args.next !== NOBODY;
  return asksAnother;
}

const wordOf = (events: readonly BatchEvent[]): Bytes32 =>
  hashOfBatch(batchKey, foldBatch(batchKey, events).struct);

describe('a batch folded from its events', () => {
  it('is hashed as the contract does: the key and 22 words behind it', () => {
    const { struct } = foldBatch(batchKey, []);
    const words = Object.values(struct).map((value) => {
      if (typeof value === 'string') return value.slice(2).padStart(64, '0');
      return BigInt(value).toString(16).padStart(64, '0');
    });
    expect(words).toHaveLength(22);
    expect(hashOfBatch(batchKey, struct)).toBe(keccak256(`${batchKey}${words.join('')}`));
  });

  it('agrees with its lane, and no longer when any event is left out', () => {
    let left = 0;
    fc.assert(
      fc.property(life.filter(isWhole), (events) => {
        const word = wordOf(events);
        expect(agreesWithLane(foldBatch(batchKey, events), word)).toBe(true);
        for (const [at, event] of events.entries()) {
          // Votes are told for those who read; what they decide is in the event after them.
          if (event.name === 'Voted') continue;
          const without = events.toSpliced(at, 1);
          // A replaced anchor, verifier or time that a later event sets again leaves no trace in the struct.
          if (isCovered(events, at)) continue;
          left += 1;
          expect(agreesWithLane(foldBatch(batchKey, without), word), event.name).toBe(without.length === 0);
        }
      }),
      { numRuns: 100 },
    );
    expect(left).toBeGreaterThan(100);
  });

  it('waits for one verifier, for all of a committee, or for nobody', () => {
    fc.assert(
      fc.property(life.filter(isWhole), (events) => {
        const batch = chainBatchOf(foldBatch(batchKey, events));
        const awaited = { drawn: 1, second: 1, committee: 3 }[batch.state as string] ?? 0;
        expect(batch.asked).toHaveLength(awaited);
        expect(batch.node).toBe(node);
        expect(batch.evidence === null || batch.outcome !== null).toBe(true);
      }),
      { numRuns: 100 },
    );
  });

  it('never was while there is no event, unless its own generation ended in the lane', () => {
    const none = foldBatch(batchKey, []);
    const generation = (of: number) => `0x${of.toString(16).padStart(64, '0')}` as Bytes32;
    expect(agreesWithLane(none, generation(0))).toBe(true);
    expect(agreesWithLane(none, generation(3))).toBe(true);
    expect(agreesWithLane(none, generation(4))).toBe(false);
    // A generation can be skipped.
    expect(agreesWithLane(none, generation(5))).toBe(true);
    expect(agreesWithLane(none, bytes32())).toBe(true);
  });

  it('has ended only where the lane says so, too', () => {
    const generation = (of: number) => `0x${of.toString(16).padStart(64, '0')}` as Bytes32;
    fc.assert(
      fc.property(life.filter(isWhole), (events) => {
        const ended = foldBatch(batchKey, [...events, { name: 'Expired', args: { batchKey, amount: 1n } }]);
        expect(agreesWithLane(ended, generation(3))).toBe(false);
        expect(agreesWithLane(ended, generation(4))).toBe(true);
        expect(agreesWithLane(ended, generation(9))).toBe(true);
        // The lane is used again.
        expect(agreesWithLane(ended, bytes32())).toBe(true);
      }),
      { numRuns: 100 },
    );
  });

  it('holds the panel of its committee as the contract hashes it', () => {
    const members = people.slice(0, 3);
    const called = { batchKey, members, disputer: NOBODY, bond: 0n, since: 1 };
    const { struct } = foldBatch(batchKey, [{ name: 'CommitteeCalled', args: called }]);
    const encoded = AbiCoder.defaultAbiCoder().encode(['address[]'], [members]);
    expect(struct.panel).toBe(keccak256(encoded));
  });
});

/** Whether all that this event changed was changed again by a later one of the same kind. */
function isCovered(events: readonly BatchEvent[], at: number): boolean {
  const { name } = events[at] ?? {};
  const later = events.slice(at + 1);
  if (name === 'Reanchored') return later.length > 0 && later[0]?.name === 'Reanchored';
  // Another is asked, is silent, or speaks: the count of turns tells only the last.
  if (name === 'Replaced') return later.some((event) => event.name === 'Replaced');
  // A judgement that a committee confirms leaves what the last one says.
  if (name === 'Judged') return later.length > 0;
  return false;
}
