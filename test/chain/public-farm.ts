/** A farm's contracts on a chain that is not its own: real transactions, real confirmations. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { FarmChain, SignedCommit } from '../../platform/chain/chain.ts';
import { token } from '../../platform/chain/contracts.ts';
import { deployEmbedded } from '../../platform/chain/deploy.ts';
import { type EthersChainOptions, ethersChain } from '../../platform/chain/ethers-chain.ts';
import { batchKeyOf, deviceClassKey } from '../../platform/chain/keys.ts';
import { secretChain } from '../../platform/chain/secret-chain.ts';
import {
  escrowDomain,
  registryDomain,
  signCommit,
  signNodeTerms,
  signOpenJob,
  signPermit,
  signVerdict,
  tokenDomain,
} from '../../platform/chain/signing.ts';
import { transactionSender } from '../../platform/chain/transactions.ts';
import type { Bytes32 } from '../../protocol/ids.ts';
import { digestOf, party, randomBytes32 } from './fixture.ts';
import { PUBLIC_CHAIN_ID, type PublicChain } from './public-chain.ts';

export type PublicFarm = {
  chain: FarmChain;
  options: EthersChainOptions;
  files: { journalFile: string; eventsFile: string };
  /** A batch of a fresh job, committed. */
  committed(): Promise<{ key: Bytes32; signed: SignedCommit }>;
  drawAndPass(key: Bytes32): Promise<void>;
  end(): Promise<void>;
};

/** Ends the chain with `end()`. */
export async function publicFarm(on: PublicChain, confirmations: number): Promise<PublicFarm> {
  const folder = await mkdtemp(join(tmpdir(), 'tessera-public-'));
  const [coordinator, verifier, operator, node, requester] = [party(), party(), party(), party(), party()];
  const secrets = secretChain(randomBytes32(), 50);
  const deployment = await deployEmbedded(on.url, {
    coordinatorKey: coordinator.key,
    verifiers: [{ verifierKey: verifier.key, operatorKey: operator.key, head: secrets.head }],
    signal: new AbortController().signal,
  });
  const { escrowAddress, registryAddress, tokenAddress } = deployment;
  const files = { journalFile: join(folder, 'journal.json'), eventsFile: join(folder, 'events.jsonl') };
  const options: EthersChainOptions = {
    ...{ ...deployment, url: on.url, coordinatorKey: coordinator.key, embedded: null, confirmations },
  };
  const chain = ethersChain({ ...options, ...files });
  const domain = escrowDomain(PUBLIC_CHAIN_ID, escrowAddress);
  const nodeTerms = {
    ...{ node: node.address, operator: node.address, deviceClass: deviceClassKey('cpu-avx2') },
    ...{ ask: 1n, nonce: 0n },
  };
  const nodeSignature = signNodeTerms(registryDomain(PUBLIC_CHAIN_ID, registryAddress), nodeTerms, node.key);
  await chain.registerNode(nodeTerms, nodeSignature, nodeSignature);
  // The coordinator has the token's money, since it made the token: without the farm's own faucet, which is for its own chain.
  const bank = transactionSender(on.rpc, PUBLIC_CHAIN_ID, coordinator.key);
  const data = token.encode('mint', [requester.address, 1_000_000n]);
  await bank.send({ to: tokenAddress, data, label: 'mint' });

  return {
    ...{ chain, options, files },

    async committed() {
      const deadline = Math.floor(Date.now() / 1_000) + 86_400;
      const job = {
        ...{ requester: requester.address, jobKey: randomBytes32(), budget: 1_000_000n },
        ...{ maxTaskPrice: 100n, deadline },
      };
      const owner = requester.address;
      const allowance = { owner, spender: escrowAddress, value: job.budget, nonce: 0n, deadline };
      const permit = signPermit(tokenDomain(PUBLIC_CHAIN_ID, tokenAddress), allowance, requester.key);
      await chain.openJob(job, signOpenJob(domain, job, requester.key), permit);
      const key = batchKeyOf({ node: node.address, lane: 0, generation: 1n });
      const commit = { jobKey: job.jobKey, batchKey: key, root: randomBytes32(), count: 1, amount: 100n };
      const signed = { commit, signature: signCommit(domain, commit, node.key) };
      await chain.commitMany([signed]);
      return { key, signed };
    },

    async drawAndPass(key) {
      await chain.waitUntilDrawable([key]);
      await chain.draw(key, secrets.nextPreimage(await chain.verifierHead(verifier.address)));
      const { seed } = await chain.batch(key);
      if (seed === null) throw new Error('this batch is not drawn');
      const verdict = { batchKey: key, seed, outcome: 'pass' as const, evidence: digestOf(key) };
      await chain.attest(verdict, signVerdict(domain, verdict, verifier.key));
    },

    async end() {
      await on.end();
      await rm(folder, { recursive: true, force: true });
    },
  };
}
