import { describe, expect, it } from 'vitest';
import { comparedPasses, type Luma } from '../../proof/compared-passes.ts';
import { hammingDistance, perceptualHash, perceptualHashHex } from '../../proof/perceptual-hash.ts';
import type { PixelImage } from '../../proof/pixels.ts';
import { edit, hashed, render } from './synthetic.ts';

function hashOf(image: PixelImage): bigint {
  return perceptualHash(comparedPasses(image)[0]?.luma as Luma);
}

describe('perceptual hash', () => {
  it('is the same for the same picture, at any noise, brightness within a few per cent, and size', () => {
    const hash = hashOf(render());
    expect(hashOf(render())).toBe(hash);
    expect(hammingDistance(hash, hashOf(render({ samples: 4 })))).toBeLessThanOrEqual(10);
    expect(hammingDistance(hash, hashOf(render({ seed: 9 })))).toBeLessThanOrEqual(4);
    expect(hammingDistance(hash, hashOf(edit(render(), (value) => value * 1.03)))).toBeLessThanOrEqual(4);
    expect(hammingDistance(hash, hashOf(render({ side: 128 })))).toBeLessThanOrEqual(10);
  });

  it('is far away for another picture', () => {
    const hashes = [1, 2, 3, 4, 5, 6].map((scene) => hashOf(render({ scene })));
    for (const [i, a] of hashes.entries()) {
      for (const b of hashes.slice(i + 1)) expect(hammingDistance(a, b)).toBeGreaterThan(10);
    }
  });

  it('does not flip on a flat picture with the noise of honest renders', () => {
    const flat = edit(render(), () => 0.5);
    const noisy = edit(flat, (value, pixel) => value * (1 + 1e-3 * (hashed(pixel, 1, 2, 3) - 0.5)));
    expect(hammingDistance(hashOf(flat), hashOf(noisy))).toBe(0);
  });

  it('survives values that are no light: NaN, infinity, below zero', () => {
    const broken = edit(
      render(),
      (_value, pixel) => [Number.NaN, Number.POSITIVE_INFINITY, -5][pixel % 3] as number,
    );
    expect(hashOf(broken)).toBeGreaterThan(-1n);
  });

  it('works for crops smaller than 32 and not square', () => {
    const luma = Float32Array.from({ length: 5 * 3 }, (_, i) => i / 15);
    const hash = (values: Float32Array) => perceptualHash({ values, width: 5, height: 3 });
    expect(hash(luma)).not.toBe(0n);
    expect(hash(luma)).not.toBe(hash(luma.toReversed()));
  });

  it('prints 16 digits and counts bits', () => {
    expect(perceptualHashHex(255n)).toBe('00000000000000ff');
    expect(perceptualHashHex(hashOf(render()))).toMatch(/^[0-9a-f]{16}$/);
    expect(hammingDistance(0n, 2n ** 64n - 1n)).toBe(64);
    expect(hammingDistance(0b1010n, 0b0110n)).toBe(2);
  });
});
