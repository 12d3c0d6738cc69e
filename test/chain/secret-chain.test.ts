import { AbiCoder, keccak256 } from 'ethers';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { hashLink, secretChain } from '../../platform/chain/secret-chain.ts';
import { isFarmError } from '../../protocol/errors.ts';
import { type ChainFixture, randomBytes32, startChainFixture } from './fixture.ts';

describe('the chain of secrets', () => {
  it('hashes as the contract does, keccak256(abi.encode(x))', () => {
    const value = randomBytes32();
    expect(hashLink(value)).toBe(keccak256(AbiCoder.defaultAbiCoder().encode(['bytes32'], [value])));
  });

  it.each([1, 2, 249, 250, 251, 1_000, 1_237])('leads from head to root over %i links', (length) => {
    const root = randomBytes32();
    const chain = secretChain(root, length);
    let head = chain.head;
    for (let index = 1; index <= length; index++) {
      const next = chain.nextPreimage(head);
      expect(hashLink(next)).toBe(head);
      expect(next).toBe(chain.preimage(index));
      head = next;
    }
    expect(head).toBe(root);
    expect(() => chain.nextPreimage(head)).toThrow(/used up/);
  });

  it('finds its place again after a restart, and going backwards', () => {
    const root = randomBytes32();
    const chain = secretChain(root, 2_000);
    const again = secretChain(root, 2_000);
    for (const index of [1_500, 3, 1_999, 0]) {
      expect(again.nextPreimage(chain.preimage(index))).toBe(chain.preimage(index + 1));
    }
  });

  it('reveals nothing for a head that is not its own', () => {
    const attempt = (): unknown => secretChain(randomBytes32(), 300).nextPreimage(randomBytes32());
    expect(attempt).toThrow(expect.toSatisfy((error: unknown) => isFarmError(error, 'CHAIN_REVERTED')));
  });

  it('finds the next secret of a long chain in milliseconds', () => {
    const length = 20_000;
    const startedMs = performance.now();
    const chain = secretChain(randomBytes32(), length);
    const madeMs = performance.now();
    // The best of five: one may meet a collection of garbage.
    const tries = [1, 2, 3, 4, 5].map((index) => {
      const begunMs = performance.now();
      chain.nextPreimage(chain.preimage(index));
      return performance.now() - begunMs;
    });
    const nextMs = Math.min(...tries);
    console.info(
      `${length} links made in ${(madeMs - startedMs).toFixed(0)} ms, next in ${nextMs.toFixed(1)} ms`,
    );
    expect(nextMs).toBeLessThan((madeMs - startedMs) / 4);
  });
});

describe('the chain of secrets on the contract', () => {
  let farm: ChainFixture;
  beforeAll(async () => {
    farm = await startChainFixture();
  });
  afterAll(() => farm.end());

  it('is accepted draw after draw, found by the head alone', async () => {
    const { chain, verifiers } = farm;
    const { jobKey } = await farm.open();
    // Which of the two draws follows from a block's hash: together they move on by one link each time.
    const places = async () => {
      const heads = await Promise.all(verifiers.map(({ address }) => chain.verifierHead(address)));
      return verifiers.map(({ secrets }, at) =>
        [0, 1, 2, 3, 4, 5].findIndex((index) => secrets.preimage(index) === heads[at]),
      );
    };
    expect(await places()).toEqual([0, 0]);
    for (let draw = 1; draw <= 5; draw++) {
      await farm.batchIn(jobKey, 'drawn');
      const now = await places();
      expect(now).not.toContain(-1);
      expect(now.reduce((a, b) => a + b)).toBe(draw);
    }
  });
});
