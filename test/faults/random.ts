/** Chance that can be had again: whatever a seed chose, it chooses the next time. */

export type Random = () => number;

/** A stream of numbers from 0 to 1 that one seed always gives (mulberry32). */
export function randomFrom(from: number): Random {
  let state = from >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
