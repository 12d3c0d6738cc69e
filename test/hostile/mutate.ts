/** Broken copies of a file, the same for the same seed. */

/** Mulberry32: a small generator with a period of 2^32, enough to choose bytes. */
function generator(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Changes 1 to 256 bytes: noise, zeros and all ones, alone and in runs of a pointer's length. */
export function mutated(source: Buffer, seed: number): Buffer {
  const random = generator(seed);
  const bytes = Buffer.from(source);
  const changes = 2 ** Math.floor(random() * 6);
  for (let change = 0; change < changes; change++) {
    const start = Math.floor(random() * bytes.length);
    const length = random() < 0.5 ? 1 : 8;
    const kind = random();
    for (let offset = start; offset < Math.min(start + length, bytes.length); offset++) {
      bytes[offset] = kind < 0.6 ? Math.floor(random() * 256) : kind < 0.8 ? 0 : 255;
    }
  }
  return bytes;
}
