/**
 * A 64-bit perceptual hash: the classic DCT hash (C. Zauner, "Implementation and Benchmarking of Perceptual Image Hash
 * Functions", 2010) over 32 x 32 tone-mapped luma. A cheap gate against a wrong frame or scene, never a proof: every
 * fake of the right frame passes it (facts.md section 2).
 */
import type { Luma } from './compared-passes.ts';

/** The hash looks at this many samples a side, and at the lowest frequencies of them. */
const SIDE = 32;
const LOW = 8;

/**
 * Coefficients are rounded to this before they are compared. A flat crop has none but float noise (about 1e-3 for
 * the tolerance of honest renders); unrounded, half its bits would flip at random and the gate would hit honest nodes.
 */
const COEFFICIENT_STEP = 1 / 64;

/** cos((2 x + 1) u pi / 64), scaled so that the transform is orthonormal; row u, column x. */
const BASIS = Float64Array.from({ length: LOW * SIDE }, (_, i) => {
  const u = Math.floor(i / SIDE);
  const scale = Math.sqrt((u === 0 ? 1 : 2) / SIDE);
  return scale * Math.cos(((2 * (i % SIDE) + 1) * u * Math.PI) / (2 * SIDE));
});

/**
 * Linear light to 0..1. x / (1 + x) (Reinhard) rather than a clamp: a crop that is brighter than white keeps its
 * structure, and one firefly of 10,000 weighs no more than a white pixel. The root stands for the display's curve.
 */
function toneMap(luma: number): number {
  return Math.sqrt(luma / (1 + luma));
}

/**
 * Averaging `length` samples into 32 by area: output i covers input from i * length / 32 to (i + 1) * length / 32. Entry
 * n says that input `inputs[n]` goes into output `outputs[n]` with `weights[n]`; plain arrays, since a frame has millions.
 */
function areaWeights(length: number): { inputs: Uint32Array; outputs: Uint8Array; weights: Float64Array } {
  const entries: [number, number, number][] = [];
  for (let output = 0; output < SIDE; output++) {
    const from = (output * length) / SIDE;
    const to = ((output + 1) * length) / SIDE;
    for (let input = Math.floor(from); input < to && input < length; input++) {
      const weight = (Math.min(to, input + 1) - Math.max(from, input)) / (to - from);
      if (weight > 0) entries.push([input, output, weight]);
    }
  }
  return {
    inputs: Uint32Array.from(entries, ([input]) => input),
    outputs: Uint8Array.from(entries, ([, output]) => output),
    weights: Float64Array.from(entries, ([, , weight]) => weight),
  };
}

function resize(luma: Float32Array, width: number, height: number): Float64Array {
  const columns = areaWeights(width);
  const rows = areaWeights(height);
  const small = new Float64Array(SIDE * SIDE);
  const toned = new Float64Array(width);
  const narrow = new Float64Array(SIDE);
  let tonedRow = -1;
  for (let n = 0; n < rows.inputs.length; n++) {
    const y = rows.inputs[n] as number;
    // A row on a border goes into two outputs, one after the other.
    if (y !== tonedRow) narrowRow(luma, y * width, toned, columns, narrow);
    tonedRow = y;
    const weight = rows.weights[n] as number;
    const start = (rows.outputs[n] as number) * SIDE;
    for (let x = 0; x < SIDE; x++) {
      small[start + x] = (small[start + x] as number) + weight * (narrow[x] as number);
    }
  }
  return small;
}

/** One row, tone mapped and averaged into `narrow`. A function of its own, so that it compiles tight. */
function narrowRow(
  luma: Float32Array,
  start: number,
  toned: Float64Array,
  { inputs, outputs, weights }: ReturnType<typeof areaWeights>,
  narrow: Float64Array,
): void {
  for (let x = 0; x < toned.length; x++) toned[x] = toneMap(luma[start + x] as number);
  narrow.fill(0);
  for (let n = 0; n < inputs.length; n++) {
    const output = outputs[n] as number;
    narrow[output] =
      (narrow[output] as number) + (weights[n] as number) * (toned[inputs[n] as number] as number);
  }
}

/** The 8 x 8 lowest coefficients of the 32 x 32 DCT-II, row v (vertical), column u, rounded to whole steps. */
function lowFrequencies(small: Float64Array): number[] {
  const rows = new Float64Array(SIDE * LOW);
  for (let y = 0; y < SIDE; y++) {
    for (let u = 0; u < LOW; u++) {
      let sum = 0;
      for (let x = 0; x < SIDE; x++) sum += (BASIS[u * SIDE + x] as number) * (small[y * SIDE + x] as number);
      rows[y * LOW + u] = sum;
    }
  }
  return Array.from({ length: LOW * LOW }, (_, i) => {
    let sum = 0;
    for (let y = 0; y < SIDE; y++) {
      sum += (BASIS[Math.floor(i / LOW) * SIDE + y] as number) * (rows[y * LOW + (i % LOW)] as number);
    }
    return Math.round(sum / COEFFICIENT_STEP);
  });
}

/**
 * The hash of a plane of linear luma. Bit 63 is the
 * lowest frequency, then row by row; a bit is set where the coefficient is above the median of the 63 without DC,
 * which would only say how bright the crop is.
 */
export function perceptualHash({ values, width, height }: Luma): bigint {
  const coefficients = lowFrequencies(resize(values, width, height));
  const sorted = coefficients.slice(1).sort((a, b) => a - b);
  const median = sorted[Math.floor(sorted.length / 2)] as number;
  return coefficients.reduce((hash, value) => (hash << 1n) | (value > median ? 1n : 0n), 0n);
}

/** A hash as 16 lower-case hex digits. */
export function perceptualHashHex(hash: bigint): string {
  return hash.toString(16).padStart(16, '0');
}

/** In how many of their bits two hashes differ, 0 to 64. */
export function hammingDistance(a: bigint, b: bigint): number {
  let distance = 0;
  for (let rest = a ^ b; rest > 0n; rest &= rest - 1n) distance++;
  return distance;
}
