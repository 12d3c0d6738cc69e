/** A farm's chain in a temporary folder, with an account for everybody who has a part in it. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { hexlify, id, keccak256, randomBytes } from 'ethers';
import type { Arguments, FunctionName } from '../../platform/chain/abi.ts';
import type { NodeRegistry, RenderEscrow } from '../../platform/chain/artifacts.ts';
import type { BatchStruct } from '../../platform/chain/batch-fold.ts';
import { batchReader } from '../../platform/chain/batch-reader.ts';
import type {
  ChainTerms,
  CommitTerms,
  DisputeTerms,
  FarmChain,
  OpenJobTerms,
  SignedCommit,
  SignedPermit,
} from '../../platform/chain/chain.ts';
import { escrow, registry } from '../../platform/chain/contracts.ts';
import { deployEmbedded, EMBEDDED_STAKE } from '../../platform/chain/deploy.ts';
import type { Deployment } from '../../platform/chain/deployment.ts';
import { type EmbeddedChain, startAnvil } from '../../platform/chain/embedded.ts';
import { ethersChain } from '../../platform/chain/ethers-chain.ts';
import { jsonRpc, quantity, type Rpc } from '../../platform/chain/json-rpc.ts';
import { batchKeyOf, deviceClassKey } from '../../platform/chain/keys.ts';
import { type SecretChain, secretChain } from '../../platform/chain/secret-chain.ts';
import {
  addressOf,
  escrowDomain,
  newPrivateKey,
  type PrivateKey,
  registryDomain,
  type SigningDomain,
  signCommit,
  signDispute,
  signNodeTerms,
  signOpenJob,
  signPermit,
  signStakeTerms,
  signVerdict,
  tokenDomain,
} from '../../platform/chain/signing.ts';
import { type Receipt, transactionSender } from '../../platform/chain/transactions.ts';
import type { Address, Bytes32 } from '../../protocol/ids.ts';
import type { Outcome } from '../../protocol/verdict.ts';

const DAY_S = 86_400;

export type Party = { key: PrivateKey; address: Address };
export type VerifierParty = Party & { operator: Party; secrets: SecretChain };

export type ChainFixture = {
  folder: string;
  stateFile: string;
  anvil: EmbeddedChain;
  rpc: Rpc;
  deployment: Deployment;
  chain: FarmChain;
  domain: SigningDomain;
  registryDomain: SigningDomain;
  coordinator: Party;
  verifiers: VerifierParty[];
  requester: Party;
  /** Registered, its own operator, with a stake of 100 TESS. */
  node: Party;
  stranger: Party;
  /** Opens a job of the requester with fresh money and a permit. */
  open(terms?: Partial<OpenJobTerms>): Promise<OpenJobTerms>;
  /** A key of a lane that was never used. */
  newBatchKey(of?: Party): Bytes32;
  /** A commit that the contract accepts for the job, signed by the node of its key. */
  signedCommit(jobKey: Bytes32, commit?: Partial<CommitTerms>, by?: Party): SignedCommit;
  /** Commits and, if asked, draws and has it judged: a fail and an inconclusive by two verifiers. */
  batchIn(
    jobKey: Bytes32,
    upTo: 'committed' | 'drawn' | Outcome,
    commit?: Partial<CommitTerms>,
  ): Promise<Bytes32>;
  drawNext(batchKey: Bytes32): Promise<void>;
  /** The next secret of whoever has to draw this batch. */
  nextSecret(batchKey: Bytes32): Promise<Bytes32>;
  /** The word of the verifier that is asked. */
  attestAs(batchKey: Bytes32, outcome: Outcome): Promise<void>;
  /** The words of this many members of the committee. */
  voteAs(batchKey: Bytes32, outcome: Outcome, votes: number): Promise<void>;
  /** A dispute by `by`, with the bond and its money. */
  dispute(batchKey: Bytes32, by: Party): Promise<DisputeTerms>;
  verifierOf(address: Address): VerifierParty;
  /** Registers a node that is its own operator, with stake of test money. */
  addNode(by: Party, stake?: bigint): Promise<void>;
  permit(owner: Party, spender: Address, value: bigint): Promise<SignedPermit>;
  /** The batch as the contract asks for it. */
  struct(batchKey: Bytes32): Promise<BatchStruct>;
  /** Sends a call of the escrow, or of the registry, from any account. */
  sendAs<const Name extends FunctionName<typeof RenderEscrow.abi>>(
    party: Party,
    name: Name,
    args: Arguments<typeof RenderEscrow.abi, Name>,
  ): Promise<Receipt>;
  registerAs<const Name extends FunctionName<typeof NodeRegistry.abi>>(
    party: Party,
    name: Name,
    args: Arguments<typeof NodeRegistry.abi, Name>,
  ): Promise<Receipt>;
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

export type FixtureOptions = {
  /** Each of an operator of its own; 2 as in a farm. A committee takes three more. */
  verifiers?: number;
  terms?: Partial<ChainTerms>;
};

export async function startChainFixture(options: FixtureOptions = {}): Promise<ChainFixture> {
  const folder = await mkdtemp(join(tmpdir(), 'tessera-chain-'));
  const stateFile = join(folder, 'state.json');
  const signal = new AbortController().signal;
  const anvil = await startAnvil({ stateFile, signal });
  const [coordinator, requester, node, stranger] = [party(), party(), party(), party()];
  const verifiers = Array.from({ length: options.verifiers ?? 2 }, () => ({
    ...party(),
    operator: party(),
    secrets: secretChain(randomBytes32(), 300),
  }));
  const deployment = await deployEmbedded(anvil.url, {
    coordinatorKey: coordinator.key,
    verifiers: verifiers.map(({ key, operator, secrets }) => ({
      ...{ verifierKey: key, operatorKey: operator.key, head: secrets.head },
    })),
    ...(options.terms === undefined ? {} : { terms: options.terms }),
    signal,
  });
  const { chainId, escrowAddress, registryAddress, tokenAddress, deployedBlock } = deployment;
  const embedded = { stateFile };
  const chain = ethersChain({ ...deployment, url: anvil.url, coordinatorKey: coordinator.key, embedded });
  const rpc = jsonRpc(anvil.url);
  const parties = [requester, stranger, node, ...verifiers.map(({ operator }) => operator)];
  for (const one of parties) {
    await rpc.call('anvil_setBalance', [one.address, `0x${(10n ** 20n).toString(16)}`]);
  }
  const domain = escrowDomain(chainId, escrowAddress);
  const stakeDomain = registryDomain(chainId, registryAddress);
  const money = tokenDomain(chainId, tokenAddress);
  const read = batchReader({ rpc, escrowAddress, deployedBlock });
  let lanes = 0;

  const now = async (): Promise<number> => {
    const block = (await rpc.call('eth_getBlockByNumber', ['latest', false])) as { timestamp: string };
    return Number(quantity(block.timestamp));
  };

  const fixture: ChainFixture = {
    ...{ folder, stateFile, anvil, rpc, deployment, chain, domain, registryDomain: stakeDomain },
    ...{ coordinator, verifiers, requester, node, stranger, now },

    async permit(owner, spender, value) {
      const nonce = await chain.permitNonce(owner.address);
      const deadline = (await now()) + DAY_S;
      return signPermit(money, { owner: owner.address, spender, value, nonce, deadline }, owner.key);
    },

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
      const permit = await fixture.permit(requester, escrowAddress, terms.budget);
      await chain.openJob(terms, signOpenJob(domain, terms, requester.key), permit);
      return terms;
    },

    newBatchKey(of = node) {
      lanes += 1;
      return batchKeyOf({ node: of.address, lane: lanes, generation: 1n });
    },

    signedCommit(jobKey, overrides = {}, by = node) {
      const commit: CommitTerms = {
        jobKey,
        batchKey: fixture.newBatchKey(by),
        root: randomBytes32(),
        count: 16,
        amount: 1_000_000n,
        ...overrides,
      };
      return { commit, signature: signCommit(domain, commit, by.key) };
    },

    async batchIn(jobKey, upTo, overrides) {
      const signed = fixture.signedCommit(jobKey, overrides);
      const { batchKey } = signed.commit;
      await chain.commitMany([signed]);
      if (upTo === 'committed') return batchKey;
      await fixture.drawNext(batchKey);
      if (upTo === 'drawn') return batchKey;
      await fixture.attestAs(batchKey, upTo);
      if (upTo !== 'pass') await fixture.attestAs(batchKey, upTo);
      return batchKey;
    },

    async nextSecret(batchKey) {
      const drawer = await chain.drawerOf(batchKey);
      if (drawer === null) throw new Error('nobody can draw this batch yet');
      return fixture.verifierOf(drawer).secrets.nextPreimage(await chain.verifierHead(drawer));
    },

    async drawNext(batchKey) {
      await chain.waitUntilDrawable([batchKey]);
      const result = await chain.draw(batchKey, await fixture.nextSecret(batchKey));
      if (result.kind !== 'drawn') throw new Error('the batch was anchored anew');
    },

    async attestAs(batchKey, outcome) {
      const { seed, asked } = await chain.batch(batchKey);
      const [by] = asked;
      if (seed === null || by === undefined) throw new Error('nobody is asked about this batch');
      const verdict = { batchKey, seed, outcome, evidence: digestOf(`${batchKey} ${by}`) };
      await chain.attest(verdict, signVerdict(domain, verdict, fixture.verifierOf(by).key));
    },

    async voteAs(batchKey, outcome, votes) {
      const { seed, members } = await chain.batch(batchKey);
      if (seed === null) throw new Error('this batch is not drawn');
      const signed = members.slice(0, votes).map((member) => {
        const evidence = digestOf(`${batchKey} ${member}`);
        const verdict = { batchKey, seed, outcome, evidence };
        return { member, evidence, signature: signVerdict(domain, verdict, fixture.verifierOf(member).key) };
      });
      await chain.attestCommittee(batchKey, outcome, signed);
    },

    async dispute(batchKey, by) {
      const { seed } = await chain.batch(batchKey);
      if (seed === null) throw new Error('this batch is not drawn');
      const { disputeBond } = await chain.terms();
      const terms = { batchKey, seed, disputer: by.address, bond: disputeBond };
      await chain.mintTestTokens(by.address, disputeBond);
      const permit = await fixture.permit(by, escrowAddress, disputeBond);
      await chain.dispute(terms, signDispute(domain, terms, by.key), permit);
      return terms;
    },

    verifierOf(address) {
      const found = verifiers.find((verifier) => verifier.address === address);
      if (found === undefined) throw new Error(`${address} is no verifier of this chain`);
      return found;
    },

    async addNode(by, stake = EMBEDDED_STAKE) {
      const { nonce } = await chain.operator(by.address);
      const deviceClass = deviceClassKey('cpu-avx2');
      const terms = { node: by.address, operator: by.address, deviceClass, ask: 10n, nonce };
      const signature = signNodeTerms(stakeDomain, terms, by.key);
      await chain.registerNode(terms, signature, signature);
      if (stake === 0n) return;
      await chain.mintTestTokens(by.address, stake);
      const permit = await fixture.permit(by, registryAddress, stake);
      const staking = { operator: by.address, amount: stake, nonce: nonce + 1n };
      await chain.stakeFor(staking, signStakeTerms(stakeDomain, staking, by.key), permit);
    },

    async struct(batchKey) {
      const [fold] = await read([batchKey]);
      if (fold === undefined) throw new Error('no answer');
      return fold.struct;
    },

    sendAs(sender, name, args) {
      const account = transactionSender(rpc, chainId, sender.key);
      return account.send({ to: escrowAddress, data: escrow.encode(name, args), label: name });
    },

    registerAs(sender, name, args) {
      const account = transactionSender(rpc, chainId, sender.key);
      return account.send({ to: registryAddress, data: registry.encode(name, args), label: name });
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
  await fixture.addNode(node);
  return fixture;
}
