/** Draws and words of many batches in one transaction: the same as one by one, for less gas, and all or none. */
import { afterAll, beforeAll, expect, it } from 'vitest';
import { signVerdict } from '../../platform/chain/signing.ts';
import type { Bytes32 } from '../../protocol/ids.ts';
import { type ChainFixture, digestOf, randomBytes32, startChainFixture } from './fixture.ts';

const TOGETHER = 16;
/** Of the 21,000 that a transaction costs before it does anything: less would not be worth the code. */
const SAVED_AT_LEAST = 15_000n;

let farm: ChainFixture;
beforeAll(async () => {
  // One, so that all draws take its secrets, which have to come in their order.
  farm = await startChainFixture({ verifiers: 1 });
});
afterAll(() => farm.end());

async function committed(count: number): Promise<Bytes32[]> {
  const { jobKey } = await farm.open({ budget: 100_000_000n });
  const commits = Array.from({ length: count }, () => farm.signedCommit(jobKey));
  await farm.chain.commitMany(commits);
  const keys = commits.map(({ commit }) => commit.batchKey);
  await farm.chain.waitUntilDrawable(keys);
  return keys;
}

async function secretsFor(keys: readonly Bytes32[]) {
  const [verifier] = farm.verifiers;
  if (verifier === undefined) throw new Error('no verifier');
  let head = await farm.chain.verifierHead(verifier.address);
  return keys.map((batchKey) => {
    head = verifier.secrets.nextPreimage(head);
    return { batchKey, preimage: head };
  });
}

async function wordsOn(keys: readonly Bytes32[]) {
  const [verifier] = farm.verifiers;
  const batches = await farm.chain.batches(keys);
  return keys.map((batchKey, at) => {
    const seed = batches[at]?.seed ?? randomBytes32();
    const verdict = { batchKey, seed, outcome: 'pass' as const, evidence: digestOf(batchKey) };
    return { verdict, signature: signVerdict(farm.domain, verdict, verifier?.key ?? ('' as never)) };
  });
}

const statesOf = async (keys: readonly Bytes32[]) =>
  (await farm.chain.batches(keys)).map(({ state }) => state);

it('cost less together than alone', async () => {
  const { chain } = farm;
  // Twice, so that no account is written for the first time in what is measured.
  const alone = { draw: 0n, attest: 0n };
  for (const key of await committed(2)) {
    const [secret] = await secretsFor([key]);
    alone.draw = (await chain.draw(key, secret?.preimage ?? randomBytes32())).gasUsed;
    const [word] = await wordsOn([key]);
    if (word === undefined) throw new Error('no word');
    alone.attest = (await chain.attest(word.verdict, word.signature)).gasUsed;
  }
  const keys = await committed(TOGETHER);
  expect(new Set(await chain.drawersOf(keys))).toEqual(new Set([farm.verifiers[0]?.address]));
  const draw = (await chain.drawMany(await secretsFor(keys))).gasUsed / BigInt(TOGETHER);
  expect(new Set(await statesOf(keys))).toEqual(new Set(['drawn']));
  const attest = (await chain.attestMany(await wordsOn(keys))).gasUsed / BigInt(TOGETHER);
  expect(new Set(await statesOf(keys))).toEqual(new Set(['judged']));
  console.info({ alone, each: { draw, attest } });
  expect(alone.draw - draw).toBeGreaterThan(SAVED_AT_LEAST);
  expect(alone.attest - attest).toBeGreaterThan(SAVED_AT_LEAST);
});

it('are refused together where one is wrong, and nothing has happened', async () => {
  const { chain } = farm;
  const keys = await committed(3);
  const secrets = await secretsFor(keys);
  const shown = [...secrets]
    .reverse()
    .map(({ preimage }, at) => ({ batchKey: keys[at] as Bytes32, preimage }));
  await expect(chain.drawMany(shown)).rejects.toMatchObject({ code: 'CHAIN_REVERTED' });
  expect(await statesOf(keys)).toEqual(['committed', 'committed', 'committed']);
  await chain.drawMany(secrets);
  const words = await wordsOn(keys);
  const [first, second, third] = words;
  const wrong = [first, { ...second, signature: third?.signature }, third] as typeof words;
  await expect(chain.attestMany(wrong)).rejects.toMatchObject({ code: 'CHAIN_REVERTED' });
  expect(await statesOf(keys)).toEqual(['drawn', 'drawn', 'drawn']);
  await expect(chain.attestMany([])).rejects.toMatchObject({ code: 'INTERNAL' });
});
