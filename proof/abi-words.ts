/**
 * Solidity's ABI encoding of fields of fixed size: one 32-byte word each, numbers big-endian and to the right. A general
 * encoder takes half a millisecond for a receipt's sixteen words, and a farm makes thousands of receipts a second.
 */

/** Bytes of a word. */
const WORD = 32;
const BITS_PER_BYTE = 8n;
const BYTE_MASK = 0xffn;

export class AbiWords {
  readonly bytes: Uint8Array;
  #place = 0;

  constructor(words: number) {
    this.bytes = new Uint8Array(words * WORD);
  }

  /** A bytes32: 64 hex digits, with or without 0x. */
  bytes32(hex: string): this {
    return this.#hex(hex, WORD);
  }

  /** An address: 40 hex digits. */
  address(hex: string): this {
    return this.#hex(hex, 20);
  }

  /** Throws a RangeError for what `bits` cannot hold. */
  uint(value: number | bigint, bits: 8 | 32 | 96): this {
    const rest = BigInt(value);
    if (rest < 0n || rest >> BigInt(bits) !== 0n) throw new RangeError(`${value} is no uint${bits}`);
    return this.#number(rest);
  }

  int32(value: number): this {
    if (!Number.isInteger(value) || value < -(2 ** 31) || value >= 2 ** 31)
      throw new RangeError(`${value} is no int32`);
    // Two's complement: of a negative number the whole word is filled with ones.
    return this.#number(value < 0 ? (1n << 256n) + BigInt(value) : BigInt(value));
  }

  #number(value: bigint): this {
    let rest = value;
    for (let place = this.#next(WORD) + WORD - 1; rest > 0n; place--) {
      this.bytes[place] = Number(rest & BYTE_MASK);
      rest >>= BITS_PER_BYTE;
    }
    return this;
  }

  #hex(hex: string, length: number): this {
    const start = hex.startsWith('0x') ? 2 : 0;
    if (hex.length - start !== 2 * length) throw new RangeError(`${hex} has not ${length} bytes`);
    const place = this.#next(WORD) + WORD - length;
    for (let index = 0; index < length; index++) this.bytes[place + index] = byteOf(hex, start + 2 * index);
    return this;
  }

  #next(length: number): number {
    const place = this.#place;
    if (place + length > this.bytes.length) throw new RangeError('more words than were announced');
    this.#place += length;
    return place;
  }
}

/** The byte that two hex digits are. */
export function byteOf(hex: string, place: number): number {
  const value = digitOf(hex.charCodeAt(place)) * 16 + digitOf(hex.charCodeAt(place + 1));
  if (Number.isNaN(value)) throw new RangeError(`${hex} is not hexadecimal`);
  return value;
}

function digitOf(code: number): number {
  if (code >= 48 && code <= 57) return code - 48;
  if (code >= 97 && code <= 102) return code - 87;
  if (code >= 65 && code <= 70) return code - 55;
  return Number.NaN;
}
