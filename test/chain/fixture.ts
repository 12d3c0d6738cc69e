/** A farm's chain in a temporary folder, with an account for everybody who has a part in it. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { hexlify, id, keccak256, randomBytes } from 'ethers';
import type { CommitTerms, FarmChain, OpenJobTerms, SignedCommit } from '../../platform/chain/chain.ts';
import { type Deployment, deployEmbedded } from '../../platform/chain/deploy.ts';
import { type EmbeddedChain, startAnvil } from '../../platform/chain/embedded.ts';
import { ethersChain } from '../../platform/chain/ethers-chain.ts';
import { jsonRpc, quantity, type Rpc } from '../../platform/chain/json-rpc.ts';
import { type SecretChain, secretChain } from '../../platform/chain/secret-chain.ts';
import {
  addressOf,
  escrowDomain,
  newPrivateKey,
  type PrivateKey,
  type SigningDomain,
  signCommit,
  signOpenJob,
  signPermit,
  signVerdict,
  tokenDomain,
} from '../../platform/chain/signing.ts';
import { escrowInterface, type Receipt, transactionSender } from '../../platform/chain/transactions.ts';
import type { Bytes32 } from '../../protocol/ids.ts';
import type { Outcome } from '../../protocol/verdict.ts';

const DAY_S = 86_400;

export type Party = { key: PrivateKey; address: ReturnType<typeof addressOf> };

export type ChainFixture = {
  folder: string;
  stateFile: string;
  anvil: EmbeddedChain;
  rpc: Rpc;
  deployment: Deployment;
  chain: FarmChain;
  domain: SigningDomain;
  secrets: SecretChain;
  coordinator: Party;
  verifier: Party;
  requester: Party;
  node: Party;
  stranger: Party;
  /** Opens a job of the requester with fresh money and a permit. */
  open(terms?: Partial<OpenJobTerms>): Promise<OpenJobTerms>;
  /** A commit of `node` that the contract accepts for the job, signed. */
  signedCommit(jobKey: Bytes32, commit?: Partial<CommitTerms>): SignedCommit;
  /** Commits and, if asked, draws and attests. */
  batchIn(
    jobKey: Bytes32,
    upTo: 'committed' | 'drawn' | Outcome,
    commit?: Partial<CommitTerms>,
  ): Promise<Bytes32>;
  drawNext(batchKey: Bytes32): Promise<void>;
  attestAs(batchKey: Bytes32, outcome: Outcome): Promise<void>;
  /** Sends a call of the escrow from any account, by name. */
  sendAs(party: Party, name: string, args: unknown[]): Promise<Receipt>;
  /** Unix seconds of the newest block. */
  now(): Promise<number>;
  passTime(seconds: number): Promise<void>;
  mine(blocks: number): Promise<void>;
  end(): Promise<void>;
};

export function randomBytes32(): Bytes32 {
  return hexlify(randomBytes(32)) as Bytes32;
}

export function digestOf(text: string): Bytes32 {
  return keccak256(id(text)) as Bytes32;
}

export function party(): Party {
  const key = newPrivateKey();
  return { key, address: addressOf(key) };
}

export async function startChainFixture(): Promise<ChainFixture> {
  const folder = await mkdtemp(join(tmpdir(), 'tessera-chain-'));
  const stateFile = join(folder, 'state.json');
  const signal = new AbortController().signal;
  const anvil = await startAnvil({ stateFile, signal });
  const [coordinator, verifier, requester, node, stranger] = [party(), party(), party(), party(), party()];
  const secrets = secretChain(randomBytes32(), 1_000);
  const deployment = await deployEmbedded(anvil.url, {
    coordinatorKey: coordinator.key,
    verifierAddress: verifier.address,
    verifierHead: secrets.head,
    signal,
  });
  const chain = ethersChain({
    ...deployment,
    url: anvil.url,
    coordinatorKey: coordinator.key,
    embedded: { stateFile },
  });
  const rpc = jsonRpc(anvil.url);
  for (const one of [requester, stranger]) {
    await rpc.call('anvil_setBalance', [one.address, `0x${(10n ** 20n).toString(16)}`]);
  }
  const domain = escrowDomain(deployment.chainId, deployment.escrowAddress);
  const money = tokenDomain(deployment.chainId, deployment.tokenAddress);

  const now = async (): Promise<number> => {
    const block = (await rpc.call('eth_getBlockByNumber', ['latest', false])) as { timestamp: string };
    return Number(quantity(block.timestamp));
  };

  const fixture: ChainFixture = {
    folder,
    stateFile,
    anvil,
    rpc,
    deployment,
    chain,
    domain,
    secrets,
    coordinator,
    verifier,
    requester,
    node,
    stranger,
    now,

    async open(overrides = {}) {
      const terms: OpenJobTerms = {
        requester: requester.address,
        jobKey: randomBytes32(),
        budget: 10_000_000n,
        maxTaskPrice: 100_000n,
        deadline: (await now()) + DAY_S,
        ...overrides,
      };
      await chain.mintTestTokens(terms.requester, terms.budget);
      const nonce = await chain.permitNonce(requester.address);
      const permit = signPermit(
        money,
        {
          owner: requester.address,
          spender: deployment.escrowAddress,
          value: terms.budget,
          nonce,
          deadline: (await now()) + DAY_S,
        },
        requester.key,
      );
      await chain.openJob(terms, signOpenJob(domain, terms, requester.key), permit);
      return terms;
    },

    signedCommit(jobKey, overrides = {}) {
      const commit: CommitTerms = {
        jobKey,
        batchKey: randomBytes32(),
        node: node.address,
        root: randomBytes32(),
        count: 16,
        amount: 1_000_000n,
        ...overrides,
      };
      return { commit, signature: signCommit(domain, commit, node.key) };
    },

    async batchIn(jobKey, upTo, overrides) {
      const signed = fixture.signedCommit(jobKey, overrides);
      const { batchKey } = signed.commit;
      await chain.commitMany([signed]);
      if (upTo === 'committed') return batchKey;
      await fixture.drawNext(batchKey);
      if (upTo !== 'drawn') await fixture.attestAs(batchKey, upTo);
      return batchKey;
    },

    async drawNext(batchKey) {
      await chain.waitUntilDrawable(batchKey);
      await chain.draw(batchKey, secrets.nextPreimage(await chain.verifierHead()));
    },

    async attestAs(batchKey, outcome) {
      const verdict = { batchKey, outcome, evidence: digestOf(batchKey) };
      await chain.attest(verdict, signVerdict(domain, verdict, verifier.key));
    },

    sendAs(sender, name, args) {
      const data = escrowInterface.encodeFunctionData(name, args);
      const account = transactionSender(rpc, deployment.chainId, sender.key);
      return account.send({ to: deployment.escrowAddress, data, label: name });
    },

    async passTime(seconds) {
      await rpc.call('evm_increaseTime', [seconds]);
      await rpc.call('evm_mine', []);
    },

    async mine(blocks) {
      await rpc.call('anvil_mine', [`0x${blocks.toString(16)}`]);
    },

    async end() {
      await fixture.anvil.stop();
      await rm(folder, { recursive: true, force: true });
    },
  };
  return fixture;
}
