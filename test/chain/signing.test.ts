import { hexlify, randomBytes, SigningKey, Wallet } from 'ethers';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { batchKeyOf, deviceClassKey, jobKey, partsOfBatchKey } from '../../platform/chain/keys.ts';
import { signHash } from '../../platform/chain/sign-hash.ts';
import {
  addressOf,
  escrowDomain,
  newPrivateKey,
  type PrivateKey,
  recoverCommitSigner,
  recoverDisputeSigner,
  recoverNodeTermsSigner,
  recoverOpenJobSigner,
  recoverPermitSigner,
  recoverStakeTermsSigner,
  recoverVerdictSigner,
  recoverVerifierTermsSigner,
  registryDomain,
  type SigningDomain,
  signCommit,
  signDispute,
  signNodeTerms,
  signOpenJob,
  signPermit,
  signStakeTerms,
  signVerdict,
  signVerifierTerms,
  tokenDomain,
} from '../../platform/chain/signing.ts';
import {
  type Address,
  type Bytes32,
  jobIdSchema,
  type Signature,
  signatureSchema,
} from '../../protocol/ids.ts';

const bytes32 = (): Bytes32 => hexlify(randomBytes(32)) as Bytes32;
const key = newPrivateKey();
const node = addressOf(key);
const somebody = addressOf(newPrivateKey());
const escrow = escrowDomain(31_337, addressOf(newPrivateKey()));
const registry = registryDomain(31_337, addressOf(newPrivateKey()));
const money = tokenDomain(31_337, addressOf(newPrivateKey()));
const batchKey = batchKeyOf({ node, lane: 3, generation: 7n });
const commit = { jobKey: bytes32(), batchKey, root: bytes32(), count: 3, amount: 12n };

type Case<Terms> = {
  type: string;
  domain: SigningDomain;
  terms: Terms;
  /** What the wallet is shown, where it is not the terms themselves. */
  shown?: Record<string, unknown>;
  changed: Partial<Terms>;
  fields: Record<string, string>;
  sign(domain: SigningDomain, terms: Terms, key: PrivateKey): Signature;
  recover(domain: SigningDomain, terms: Terms, signature: Signature): Address | null;
};

/** Each kind with the Solidity fields as the interfaces in contracts/ have them. */
const one = <Terms>(of: Case<Terms>) => of as unknown as Case<Record<string, unknown>>;
const verdict = { batchKey, seed: bytes32(), outcome: 'fail' as const, evidence: bytes32() };
const cases = [
  one({
    type: 'OpenJob',
    domain: escrow,
    terms: { requester: node, jobKey: bytes32(), budget: 5n, maxTaskPrice: 1n, deadline: 2_000_000_000 },
    changed: { budget: 6n },
    fields: {
      requester: 'address',
      jobKey: 'bytes32',
      budget: 'uint96',
      maxTaskPrice: 'uint96',
      deadline: 'uint40',
    },
    sign: signOpenJob,
    recover: recoverOpenJobSigner,
  }),
  one({
    type: 'Commit',
    domain: escrow,
    terms: commit,
    changed: { batchKey: batchKeyOf({ node, lane: 3, generation: 8n }) },
    fields: { jobKey: 'bytes32', batchKey: 'bytes32', root: 'bytes32', count: 'uint16', amount: 'uint96' },
    sign: signCommit,
    recover: recoverCommitSigner,
  }),
  one({
    type: 'Verdict',
    domain: escrow,
    terms: verdict,
    shown: { ...verdict, outcome: 2 },
    changed: { seed: bytes32() },
    fields: { batchKey: 'bytes32', seed: 'bytes32', outcome: 'uint8', evidence: 'bytes32' },
    sign: signVerdict,
    recover: recoverVerdictSigner,
  }),
  one({
    type: 'Dispute',
    domain: escrow,
    terms: { batchKey, seed: bytes32(), disputer: node, bond: 1_000_000n },
    changed: { seed: bytes32() },
    fields: { batchKey: 'bytes32', seed: 'bytes32', disputer: 'address', bond: 'uint96' },
    sign: signDispute,
    recover: recoverDisputeSigner,
  }),
  one({
    type: 'NodeTerms',
    domain: registry,
    terms: { node, operator: somebody, deviceClass: deviceClassKey('cpu-avx2'), ask: 9n, nonce: 0n },
    changed: { nonce: 1n },
    fields: {
      node: 'address',
      operator: 'address',
      deviceClass: 'bytes32',
      ask: 'uint96',
      nonce: 'uint64',
    },
    sign: signNodeTerms,
    recover: recoverNodeTermsSigner,
  }),
  one({
    type: 'StakeTerms',
    domain: registry,
    terms: { operator: node, amount: 100_000_000n, nonce: 2n },
    changed: { amount: 100_000_001n },
    fields: { operator: 'address', amount: 'uint96', nonce: 'uint64' },
    sign: signStakeTerms,
    recover: recoverStakeTermsSigner,
  }),
  one({
    type: 'VerifierTerms',
    domain: registry,
    terms: { verifier: node, operator: somebody, head: bytes32(), nonce: 3n },
    changed: { head: bytes32() },
    fields: { verifier: 'address', operator: 'address', head: 'bytes32', nonce: 'uint64' },
    sign: signVerifierTerms,
    recover: recoverVerifierTermsSigner,
  }),
  one({
    type: 'Permit',
    domain: money,
    terms: { owner: node, spender: somebody, value: 5n, nonce: 0n, deadline: 2_000_000_000 },
    changed: { value: 6n },
    fields: {
      owner: 'address',
      spender: 'address',
      value: 'uint256',
      nonce: 'uint256',
      deadline: 'uint256',
    },
    sign: (domain, terms, by) => signPermit(domain, terms, by).signature,
    recover: recoverPermitSigner,
  }),
];

describe.each(cases)('a signature of $type', ({ type, domain, terms, shown, changed, fields, ...made }) => {
  it('is the one that every wallet makes', async () => {
    const types = { [type]: Object.entries(fields).map(([name, of]) => ({ name, type: of })) };
    const wallet = await new Wallet(key).signTypedData(domain, types, shown ?? terms);
    expect(made.sign(domain, terms, key)).toBe(wallet);
  });

  it('recovers to who made it, and to nobody known when the terms, contract or chain is another', () => {
    const signature = made.sign(domain, terms, key);
    expect(signatureSchema.safeParse(signature).success).toBe(true);
    expect(made.recover(domain, terms, signature)).toBe(node);
    expect(made.recover(domain, { ...terms, ...changed }, signature)).not.toBe(node);
    expect(made.recover({ ...domain, chainId: 1 }, terms, signature)).not.toBe(node);
    expect(made.recover({ ...domain, verifyingContract: somebody }, terms, signature)).not.toBe(node);
  });
});

describe('signatures', () => {
  it('of the first version of the contract are worth nothing in the second', () => {
    const old = signCommit({ ...escrow, version: '1' }, commit, key);
    expect(recoverCommitSigner(escrow, commit, old)).not.toBe(node);
  });

  it('of a commit recover for any terms', () => {
    const terms = fc.record({
      count: fc.integer({ min: 1, max: 64 }),
      amount: fc.bigInt(0n, 2n ** 96n - 1n),
    });
    fc.assert(
      fc.property(terms, (changed) => {
        const any = { ...commit, ...changed };
        return recoverCommitSigner(escrow, any, signCommit(escrow, any, key)) === node;
      }),
      { numRuns: 50 },
    );
  });

  it('of a hash are those that ethers makes', () => {
    const bytes = fc.uint8Array({ minLength: 32, maxLength: 32 }).map((some) => hexlify(some) as Bytes32);
    fc.assert(
      fc.property(bytes, (hash) => {
        const own = newPrivateKey();
        expect(signHash(hash, own)).toBe(new SigningKey(own).sign(hash).serialized);
      }),
      { numRuns: 50 },
    );
  });

  it('that are none, or of terms that no contract could hold, recover to nobody', () => {
    const none = `0x${'00'.repeat(65)}` as Signature;
    expect(recoverCommitSigner(escrow, commit, none)).toBeNull();
    expect(recoverCommitSigner(escrow, commit, '0x' as Signature)).toBeNull();
    const signature = signCommit(escrow, commit, key);
    expect(recoverCommitSigner(escrow, { ...commit, amount: 2n ** 96n }, signature)).toBeNull();
  });

  it('of a commit cost little, since every batch makes one', () => {
    const times = 100;
    signCommit(escrow, commit, key);
    const startedMs = performance.now();
    for (let round = 0; round < times; round++) signCommit(escrow, { ...commit, amount: BigInt(round) }, key);
    const eachMs = (performance.now() - startedMs) / times;
    console.info(`signCommit: ${eachMs.toFixed(2)} ms`);
    expect(eachMs).toBeLessThan(50);
  });
});

describe('keys', () => {
  it('of jobs and device classes are hashes of their names, 32 bytes each', () => {
    const job = jobKey(jobIdSchema.parse('job_abc'));
    expect(job).toMatch(/^0x[0-9a-f]{64}$/);
    expect(deviceClassKey('job_abc')).toBe(job);
    expect(deviceClassKey('cpu-avx2')).not.toBe(job);
  });

  it('of batches hold node, lane and generation, and give them back', () => {
    const parts = fc.record({
      lane: fc.integer({ min: 0, max: 2 ** 32 - 1 }),
      generation: fc.bigInt(0n, 2n ** 64n - 1n),
    });
    fc.assert(
      fc.property(parts, (made) => {
        const whole = batchKeyOf({ node, ...made });
        expect(whole).toMatch(/^0x[0-9a-f]{64}$/);
        expect(partsOfBatchKey(whole)).toEqual({ node, ...made });
      }),
    );
  });
});
