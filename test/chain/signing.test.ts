import { TypedDataEncoder, Wallet } from 'ethers';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { batchKey, jobKey } from '../../platform/chain/keys.ts';
import {
  addressOf,
  escrowDomain,
  newPrivateKey,
  recoverCommitSigner,
  recoverOpenJobSigner,
  recoverVerdictSigner,
  signCommit,
  signOpenJob,
  signVerdict,
} from '../../platform/chain/signing.ts';
import { batchIdSchema, jobIdSchema, type Signature, signatureSchema } from '../../protocol/ids.ts';
import { randomBytes32 } from './fixture.ts';

const key = newPrivateKey();
const node = addressOf(key);
const domain = escrowDomain(31_337, addressOf(newPrivateKey()));
const commit = {
  jobKey: randomBytes32(),
  batchKey: randomBytes32(),
  node,
  root: randomBytes32(),
  count: 3,
  amount: 12n,
};

describe('signatures', () => {
  it('of a commit recover to the node, and to somebody else when anything changes', () => {
    const signature = signCommit(domain, commit, key);
    expect(signatureSchema.safeParse(signature).success).toBe(true);
    expect(recoverCommitSigner(domain, commit, signature)).toBe(node);
    expect(recoverCommitSigner(domain, { ...commit, amount: 13n }, signature)).not.toBe(node);
    expect(recoverCommitSigner({ ...domain, chainId: 1 }, commit, signature)).not.toBe(node);
  });

  it('of a commit recover for any terms', () => {
    const terms = fc.record({
      count: fc.integer({ min: 1, max: 64 }),
      amount: fc.bigInt(0n, 2n ** 96n - 1n),
    });
    fc.assert(
      fc.property(terms, (changed) => {
        const any = { ...commit, ...changed };
        return recoverCommitSigner(domain, any, signCommit(domain, any, key)) === node;
      }),
      { numRuns: 50 },
    );
  });

  it('are the ones that every wallet makes', async () => {
    const wallet = new Wallet(key);
    const types = {
      Commit: [
        { type: 'bytes32', name: 'jobKey' },
        { type: 'bytes32', name: 'batchKey' },
        { type: 'address', name: 'node' },
        { type: 'bytes32', name: 'root' },
        { type: 'uint16', name: 'count' },
        { type: 'uint96', name: 'amount' },
      ],
    };
    expect(TypedDataEncoder.getPrimaryType(types)).toBe('Commit');
    expect(signCommit(domain, commit, key)).toBe(await wallet.signTypedData(domain, types, commit));
  });

  it('of verdicts and jobs recover to who made them', () => {
    const verdict = { batchKey: commit.batchKey, outcome: 'fail' as const, evidence: randomBytes32() };
    expect(recoverVerdictSigner(domain, verdict, signVerdict(domain, verdict, key))).toBe(node);
    const { jobKey: job } = commit;
    const terms = { requester: node, jobKey: job, budget: 5n, maxTaskPrice: 1n, deadline: 2_000_000_000 };
    expect(recoverOpenJobSigner(domain, terms, signOpenJob(domain, terms, key))).toBe(node);
  });

  it('that are none recover to nobody', () => {
    const none = `0x${'00'.repeat(65)}` as Signature;
    expect(recoverCommitSigner(domain, commit, none)).toBeNull();
    expect(recoverCommitSigner(domain, commit, '0x' as Signature)).toBeNull();
  });

  it('of a commit cost little, since every finished task makes one', () => {
    const times = 100;
    signCommit(domain, commit, key);
    const startedMs = performance.now();
    for (let round = 0; round < times; round++) signCommit(domain, { ...commit, amount: BigInt(round) }, key);
    const eachMs = (performance.now() - startedMs) / times;
    console.info(`signCommit: ${eachMs.toFixed(2)} ms`);
    expect(eachMs).toBeLessThan(50);
  });
});

describe('keys', () => {
  it('are hashes of the ids, 32 bytes each', () => {
    const job = jobKey(jobIdSchema.parse('job_abc'));
    expect(job).toMatch(/^0x[0-9a-f]{64}$/);
    expect(batchKey(batchIdSchema.parse('batch_abc'))).not.toBe(job);
  });
});
