import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  canonicalBytes,
  combinedPasses,
  crop,
  imageFromPlanes,
  type PixelImage,
  pixelDigest,
  plane,
  readRawPixels,
  selectLayer,
} from '../../proof/pixels.ts';
import { samePixels } from '../../proof/same-pixels.ts';
import { isFarmError } from '../../protocol/errors.ts';
import vectors from './vectors/pixels.json' with { type: 'json' };

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

function invalid(run: () => unknown): boolean {
  try {
    run();
    return false;
  } catch (error) {
    if (!isFarmError(error, 'MESSAGE_INVALID')) throw error;
    return true;
  }
}

/** Images of any bit patterns, made through Uint32 so that NaN payloads survive. */
const anyImage: fc.Arbitrary<PixelImage> = fc
  .record({
    width: fc.integer({ min: 1, max: 9 }),
    height: fc.integer({ min: 1, max: 9 }),
    names: fc.uniqueArray(fc.stringMatching(/^[A-Za-zäß😀.]{1,12}$/u), { minLength: 1, maxLength: 5 }),
  })
  .chain(({ width, height, names }) =>
    fc
      .array(fc.oneof(fc.nat(0xffffffff), fc.constantFrom(0, 0x80000000, 0x7fc00001, 0xff800000)), {
        minLength: width * height * names.length,
        maxLength: width * height * names.length,
      })
      .map((bits) => ({
        width,
        height,
        channels: names.sort((a, b) => (a < b ? -1 : 1)),
        data: new Float32Array(Uint32Array.from(bits).buffer),
      })),
  );

/** Zero and NaN in two forms each, which are one value; and numbers that are not, with a sign or without. */
const TWOFOLD = fc.constantFrom(0, 0x80000000, 0x7fc00000, 0xffc00001, 1, 0x3f800000, 0xbf800000, 0xff800000);

describe('canonical pixels', () => {
  for (const vector of vectors) {
    it(`gives the bytes and digest of the vector: ${vector.name}`, () => {
      const bits = Uint32Array.from(vector.bits, (word) => Number.parseInt(word, 16));
      const image = { ...vector, data: new Float32Array(bits.buffer) };
      expect(hex(canonicalBytes(image))).toBe(vector.canonical);
      expect(pixelDigest(image)).toBe(vector.digest);
    });
  }

  it('is stable under the sign of zero and the payload of NaN', () => {
    const bits = (words: number[]): PixelImage => ({
      width: words.length,
      height: 1,
      channels: ['Z'],
      data: new Float32Array(Uint32Array.from(words).buffer),
    });
    expect(pixelDigest(bits([0x80000000, 0xff800001, 5]))).toBe(pixelDigest(bits([0, 0x7fffffff, 5])));
    expect(pixelDigest(bits([0x80000001, 0, 5]))).not.toBe(pixelDigest(bits([1, 0, 5])));
  });

  it('are equal exactly where samePixels says so, wherever in memory the values begin', () => {
    const images = fc.record({
      words: fc.array(TWOFOLD, { minLength: 1, maxLength: 9 }),
      changes: fc.array(fc.tuple(fc.nat(8), TWOFOLD), { maxLength: 2 }),
      offsets: fc.tuple(fc.nat(1), fc.nat(1)),
    });
    const at = (offset: number, words: readonly number[]): PixelImage => {
      const data = new Float32Array(words.length + offset).subarray(offset);
      new Uint32Array(data.buffer, data.byteOffset, data.length).set(words);
      return { width: words.length, height: 1, channels: ['Z'], data };
    };
    fc.assert(
      fc.property(images, ({ words, changes, offsets }) => {
        const changed = [...words];
        for (const [position, word] of changes) changed[position % words.length] = word;
        const [left, right] = [at(offsets[0], words), at(offsets[1], changed)];
        expect(samePixels(left, right)).toBe(hex(canonicalBytes(left)) === hex(canonicalBytes(right)));
      }),
      { numRuns: 500 },
    );
  });

  it('reads back what it wrote, at any offset in a buffer', () => {
    fc.assert(
      fc.property(anyImage, fc.integer({ min: 0, max: 3 }), (image, offset) => {
        const bytes = canonicalBytes(image);
        const moved = new Uint8Array(bytes.length + offset).subarray(offset);
        moved.set(bytes);
        const read = readRawPixels(moved);
        expect(read.channels).toEqual(image.channels);
        expect(hex(canonicalBytes(read))).toBe(hex(bytes));
        expect(pixelDigest(read)).toBe(pixelDigest(image));
      }),
    );
  });

  it('changes with any changed value, name or shape', () => {
    const image = imageFromPlanes(2, 1, { 'L.Combined.R': Float32Array.of(1, 2) });
    const others = [
      imageFromPlanes(2, 1, { 'L.Combined.R': Float32Array.of(1, 2.0000002) }),
      imageFromPlanes(2, 1, { 'L.Combined.G': Float32Array.of(1, 2) }),
      imageFromPlanes(1, 2, { 'L.Combined.R': Float32Array.of(1, 2) }),
    ];
    expect(new Set([image, ...others].map(pixelDigest)).size).toBe(4);
  });
});

describe('reading raw pixels from a stranger', () => {
  const text = (head: string, valueBytes: number): Uint8Array =>
    Buffer.concat([Buffer.from(head, 'utf8'), Buffer.alloc(valueBytes)]);

  it.each([
    ['nothing', text('', 0)],
    ['another magic', text('TESSERA-PIXELS-2\n1 1 1\nR\n', 4)],
    ['no line end', text('TESSERA-PIXELS-1', 0)],
    ['a size of 0', text('TESSERA-PIXELS-1\n0 1 1\nR\n', 0)],
    ['a leading zero', text('TESSERA-PIXELS-1\n01 1 1\nR\n', 4)],
    ['a sign', text('TESSERA-PIXELS-1\n-1 1 1\nR\n', 4)],
    ['two spaces', text('TESSERA-PIXELS-1\n1  1 1\nR\n', 4)],
    ['a carriage return', text('TESSERA-PIXELS-1\n1 1 1\r\nR\n', 4)],
    ['a size past the limit', text('TESSERA-PIXELS-1\n65537 1 1\nR\n', 4)],
    ['more values than memory', text('TESSERA-PIXELS-1\n65536 65536 1\nR\n', 4)],
    ['too many channels', text(`TESSERA-PIXELS-1\n1 1 1025\n${'R\n'.repeat(1025)}`, 4100)],
    ['fewer names than channels', text('TESSERA-PIXELS-1\n1 1 2\nR\n', 8)],
    ['an empty name', text('TESSERA-PIXELS-1\n1 1 1\n\n', 4)],
    ['a long name', text(`TESSERA-PIXELS-1\n1 1 1\n${'R'.repeat(256)}\n`, 4)],
    ['names out of order', text('TESSERA-PIXELS-1\n1 1 2\nR\nG\n', 8)],
    ['a name twice', text('TESSERA-PIXELS-1\n1 1 2\nR\nR\n', 8)],
    ['a control character', text('TESSERA-PIXELS-1\n1 1 1\nR\t\n', 4)],
    ['a missing value', text('TESSERA-PIXELS-1\n1 1 1\nR\n', 3)],
    ['a byte too many', text('TESSERA-PIXELS-1\n1 1 1\nR\n', 5)],
    ['a -0', Buffer.concat([text('TESSERA-PIXELS-1\n1 1 1\nR\n', 0), Buffer.from([0, 0, 0, 0x80])])],
    [
      'another NaN',
      Buffer.concat([text('TESSERA-PIXELS-1\n1 1 1\nR\n', 0), Buffer.from([1, 0, 0xc0, 0x7f])]),
    ],
    ['no UTF-8', Buffer.concat([text('TESSERA-PIXELS-1\n1 1 1\n', 0), Buffer.from([0xff, 10, 0, 0, 0, 0])])],
  ])('refuses %s', (_name, bytes) => {
    expect(invalid(() => readRawPixels(bytes))).toBe(true);
  });

  it('accepts the longest name and refuses nothing else silently: what it reads is canonical', () => {
    const longest = text(`TESSERA-PIXELS-1\n1 1 1\n${'R'.repeat(255)}\n`, 4);
    expect(readRawPixels(longest).channels).toEqual(['R'.repeat(255)]);
    fc.assert(
      fc.property(anyImage, fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 4 }), (image, edits) => {
        const bytes = canonicalBytes(image);
        for (const [position, value] of edits) bytes[position % bytes.length] = value;
        let read: PixelImage;
        try {
          read = readRawPixels(bytes);
        } catch (error) {
          expect(isFarmError(error, 'MESSAGE_INVALID')).toBe(true);
          return;
        }
        expect(hex(canonicalBytes(read))).toBe(hex(bytes));
      }),
      { numRuns: 500 },
    );
  });

  it('never throws anything but MESSAGE_INVALID on noise', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (noise) => invalid(() => readRawPixels(noise))),
      { numRuns: 500 },
    );
  });
});

describe('cutting and selecting', () => {
  const side = 6;
  const ramp = (start: number): Float32Array =>
    Float32Array.from({ length: side * side }, (_, i) => start + i);
  const image = imageFromPlanes(side, side, {
    'View.Layer.Combined.R': ramp(0),
    'View.Layer.Combined.G': ramp(100),
    'View.Layer.Combined.B': ramp(200),
    'View.Layer.Combined.A': ramp(300),
    'View.Layer.Depth.Z': ramp(400),
    'Fog.Combined.R': ramp(500),
    'Fog.Crypto.Combined00.R': ramp(600),
  });

  it('sorts the channels and keeps each with its plane', () => {
    expect(image.channels[0]).toBe('Fog.Combined.R');
    expect(plane(image, 'View.Layer.Depth.Z')?.[0]).toBe(400);
    expect(plane(image, 'nothing')).toBeUndefined();
  });

  it('lists the Combined passes, dots in layer names included', () => {
    expect(combinedPasses(image)).toEqual(['Fog.Combined', 'View.Layer.Combined']);
    expect(combinedPasses(imageFromPlanes(1, 1, { 'Combined.R': ramp(0).slice(0, 1) }))).toEqual([
      'Combined',
    ]);
    expect(combinedPasses(imageFromPlanes(1, 1, { Combined: ramp(0).slice(0, 1) }))).toEqual([]);
  });

  it('selects one pass with its own four planes', () => {
    const layer = selectLayer(image, 'View.Layer.Combined');
    expect(layer.channels).toEqual(['A', 'B', 'G', 'R'].map((letter) => `View.Layer.Combined.${letter}`));
    expect(plane(layer, 'View.Layer.Combined.B')?.[7]).toBe(207);
    expect(invalid(() => selectLayer(image, 'ViewLayer.Combined'))).toBe(true);
    expect(invalid(() => selectLayer(image, ''))).toBe(true);
  });

  it('crops any rectangle inside and refuses any other', () => {
    const at = fc.integer({ min: -2, max: 8 });
    fc.assert(
      fc.property(fc.record({ x: at, y: at, width: at, height: at }), (rect) => {
        const { x, y, width, height } = rect;
        const inside = x >= 0 && y >= 0 && width > 0 && height > 0 && x + width <= side && y + height <= side;
        if (!inside) return invalid(() => crop(image, rect));
        const part = crop(image, rect);
        for (const channel of image.channels) {
          const whole = plane(image, channel) as Float32Array;
          const cut = plane(part, channel) as Float32Array;
          for (const [i, value] of cut.entries()) {
            expect(value).toBe(whole[(y + Math.floor(i / width)) * side + x + (i % width)]);
          }
        }
        return true;
      }),
      { numRuns: 300 },
    );
  });

  it('refuses planes of another length and images of another length', () => {
    expect(invalid(() => imageFromPlanes(2, 2, { R: new Float32Array(3) }))).toBe(true);
    expect(invalid(() => imageFromPlanes(2, 2, {}))).toBe(true);
    expect(invalid(() => pixelDigest({ ...image, width: 5 }))).toBe(true);
  });
});
