/**
 * The rules of escrow and registry over plain maps, as a port: for tests that put the coordinator through thousands of
 * orders, which a chain of its own would take hours for. What the contracts themselves do is tested on them (test/chain).
 */
import { createHash } from 'node:crypto';
import type {
  BatchState,
  ChainBatch,
  ChainNode,
  ChainOperator,
  ChainTerms,
  ChainWrite,
  FarmChain,
  Word,
} from '../../platform/chain/chain.ts';
import { deviceClassKey, partsOfBatchKey } from '../../platform/chain/keys.ts';
import {
  escrowDomain,
  recoverCommitSigner,
  recoverDisputeSigner,
  recoverVerdictSigner,
} from '../../platform/chain/signing.ts';
import { FarmError } from '../../protocol/errors.ts';
import type { Address, Bytes32, Signature } from '../../protocol/ids.ts';
import type { Outcome } from '../../protocol/verdict.ts';
import { DEVICE_CLASS, someBytes32 } from '../support/coordinator-context.ts';

const ZERO32 = `0x${'00'.repeat(32)}` as Bytes32;
const ZERO20 = `0x${'00'.repeat(20)}` as Address;
const NONE: ChainBatch = {
  ...{ state: 'none', jobKey: ZERO32, node: ZERO20, operator: ZERO20, root: ZERO32, count: 0, amount: 0n },
  ...{ stake: 0n, anchor: 0n, committedAt: 0, since: 0, reanchors: 0, seed: null, asked: [], first: null },
  ...{ second: null, members: [], votes: [], outcome: null, evidence: null, agreed: false, last: false },
  ...{ disputer: null, bond: 0n, paid: 0n, slashed: 0n },
};

const DAY_S = 86_400;
export const FAKE_TERMS: ChainTerms = {
  ...{ verdictWindowS: 3_600, disputeWindowS: 0, committeeWindowS: DAY_S, expireWindowS: 7 * DAY_S },
  ...{ thawTimeS: 14 * DAY_S, joinDelayS: 0, drawBlocks: 128, missPenalty: 100_000n },
  ...{
    verifierPenalty: 10_000_000n,
    disputeBond: 1_000_000n,
    slashFactor: 10,
    minVerifierStake: 50_000_000n,
  },
};
const STAKE = 100_000_000n;

export type FakeVerifier = { address: Address; operator: Address };
export type Payment = { batchKey: Bytes32; node: Address; amount: bigint; seed: Bytes32 | null };
export type Slash = { operator: Address; amount: bigint; batchKey: Bytes32 };

/** What is on chain; replaced as a whole when it forgets. */
type Ledger = {
  batches: Map<Bytes32, ChainBatch & { salt: Bytes32; turns: number; before: Outcome | null }>;
  /** The live batch of a lane, or the generation of the last that ended there. */
  lanes: Map<string, { live: Bytes32 } | { ended: bigint }>;
  stakes: Map<Address, bigint>;
  nonces: Map<Address, bigint>;
  balances: Map<Address, bigint>;
  /** Bonds that came back; nothing else is credited here. */
  credits: Map<Address, bigint>;
  nodes: Map<Address, ChainNode>;
  active: Address[];
  block: bigint;
};

export type FakeEscrowOptions = {
  verifiers: readonly FakeVerifier[];
  nowMs: () => number;
  terms?: Partial<ChainTerms>;
  /** Whether nodes have to be registered; left out: every node is, by itself. */
  strict?: boolean;
};

export class FakeEscrow {
  readonly port: FarmChain;
  readonly terms: ChainTerms;
  /** Every payment and slash that ever stood on the chain, forgotten ones too. */
  readonly payments: Payment[] = [];
  readonly slashes: Slash[] = [];
  /** Commits in a lane that another batch was in, or had been in since. */
  clashes = 0;
  /** The next write is lost on its way, or its answer is. */
  trouble: 'none' | 'before' | 'after' = 'none';
  /** Nobody pays for gas: nothing can be written. */
  poor = false;
  /** Writes that were asked for. */
  asked = 0;
  #ledger: Ledger;
  #durable: Ledger;
  readonly #options: FakeEscrowOptions;
  readonly #base: Pick<FarmChain, 'chainId' | 'escrowAddress'>;

  constructor(base: FarmChain, options: FakeEscrowOptions) {
    this.#base = base;
    this.#options = options;
    this.terms = { ...FAKE_TERMS, ...options.terms };
    this.#ledger = {
      ...{ batches: new Map(), lanes: new Map(), nonces: new Map(), nodes: new Map(), block: 1n },
      ...{ balances: new Map(), credits: new Map() },
      active: options.verifiers.map(({ address }) => address),
      stakes: new Map(options.verifiers.map(({ operator }) => [operator, STAKE])),
    };
    this.#durable = structuredClone(this.#ledger);
    this.port = this.#makePort(base);
  }

  #makePort(base: FarmChain): FarmChain {
    const known: Partial<FarmChain> = {
      ...{ chainId: base.chainId, escrowAddress: base.escrowAddress, tokenAddress: base.tokenAddress },
      registryAddress: base.registryAddress,
      batch: async (key) => this.get(key),
      batches: async (keys) => keys.map((key) => this.get(key)),
      terms: async () => this.terms,
      verifiers: async () => [...this.#ledger.active],
      job: async () => ({ state: 'open' }) as Awaited<ReturnType<FarmChain['job']>>,
      node: async (address) => this.#node(address),
      operator: async (address) => this.#operator(address),
      permitNonce: async () => 0n,
      credit: async (owner) => this.#ledger.credits.get(owner) ?? 0n,
      tokenBalance: async (owner) => this.#ledger.balances.get(owner) ?? 0n,
      withdrawFor: (owner) =>
        this.#write(() => {
          const credit = this.#ledger.credits.get(owner) ?? 0n;
          if (credit === 0n) throw reverted('NothingToWithdraw');
          add(this.#ledger.credits, owner, -credit);
          add(this.#ledger.balances, owner, credit);
        }),
      verifierOperator: async (verifier) => {
        const operator = this.#operatorOf(verifier);
        return operator === ZERO20 ? null : operator;
      },
      removeVerifier: (verifier) =>
        this.#write(() => {
          const { stake } = this.#operator(this.#operatorOf(verifier));
          if (stake >= this.terms.minVerifierStake) throw reverted('NotOperator');
          this.leave(verifier);
        }),
      blockNumber: async () => this.#ledger.block,
      // No block since long: the coordinator's own clock tells.
      timeS: async () => 0,
      waitUntilDrawable: async () => undefined,
      waitUntilDurable: async () => {
        this.#durable = structuredClone(this.#ledger);
      },
      drawerOf: async (key) => this.drawerOf(key),
      drawersOf: async (keys) => keys.map((key) => this.drawerOf(key)),
      mintTestTokens: (to, amount) => this.#write(() => add(this.#ledger.balances, to, amount)),
      registerNode: ({ node, operator, deviceClass, ask, nonce }) =>
        this.#write(() => {
          this.#useNonce(operator, nonce);
          this.#ledger.nodes.set(node, { operator, deviceClass, ask });
        }),
      stakeFor: ({ operator, amount, nonce }) =>
        this.#write(() => {
          this.#useNonce(operator, nonce);
          this.#ledger.stakes.set(operator, (this.#ledger.stakes.get(operator) ?? 0n) + amount);
        }),
      commitMany: (commits) =>
        this.#writeAll(commits, ({ commit, signature }) => this.#commit(commit, signature)),
      draw: async (key, preimage) => {
        const seed = someBytes32();
        return { ...(await this.#write(() => this.#draw(key, preimage, seed))), kind: 'drawn', seed };
      },
      drawMany: (draws) =>
        this.#writeAll(draws, ({ batchKey, preimage }) => this.#draw(batchKey, preimage, someBytes32())),
      reanchor: (key) =>
        this.#write(() => {
          const batch = this.#require(key, 'committed');
          if (!this.#over(batch.since, this.terms.verdictWindowS)) throw reverted('DrawWindowOpen');
          const drawer = this.drawerOf(key);
          if (drawer !== null) this.#slash(this.#operatorOf(drawer), this.terms.missPenalty, key);
          const changes = { since: this.#nowS(), reanchors: batch.reanchors + 1, salt: someBytes32() };
          this.#change(key, changes);
        }),
      attest: (verdict, signature) => this.#write(() => this.#attest(verdict, signature)),
      attestMany: (words) =>
        this.#writeAll(words, ({ verdict, signature }) => this.#attest(verdict, signature)),
      replace: (key) => this.#write(() => this.#replace(key)),
      attestCommittee: (key, outcome, votes) =>
        this.#write(() => {
          const { seed, members, first, second, disputer, bond, before } = this.#require(key, 'committee');
          for (const { member, evidence, signature } of votes) {
            const terms = { batchKey: key, seed: seed as Bytes32, outcome, evidence };
            const signer = recoverVerdictSigner(this.#domain, terms, signature);
            if (signer !== member || !members.includes(member)) throw reverted('WrongSigner');
          }
          if (new Set(votes.map(({ member }) => member)).size !== votes.length)
            throw reverted('VoteRepeated');
          if (2 * votes.length <= members.length) throw reverted('TooFewVotes');
          for (const word of [first, second]) {
            const wrong = word?.outcome === 'pass' ? outcome === 'fail' : outcome === 'pass';
            if (word !== null && word.outcome !== 'inconclusive' && wrong)
              this.#slash(this.#operatorOf(word.verifier), this.terms.verifierPenalty, key);
          }
          const evidence = votes[0]?.evidence ?? null;
          const words = votes.map((vote) => ({ verifier: vote.member, outcome, evidence: vote.evidence }));
          this.#change(key, { votes: words });
          if (disputer !== null && outcome !== before) add(this.#ledger.credits, disputer, bond);
          this.#judge(key, outcome, { agreed: outcome === 'fail', last: true, evidence });
        }),
      closeCommittee: (key) =>
        this.#write(() => {
          const { since, before, agreed, evidence, disputer, bond } = this.#require(key, 'committee');
          if (!this.#over(since, this.terms.committeeWindowS)) throw reverted('WindowOpen');
          if (disputer !== null) add(this.#ledger.credits, disputer, bond);
          if (before === null) this.#judge(key, 'inconclusive', { last: true, evidence: null });
          else this.#judge(key, before, { agreed, last: true, evidence });
        }),
      dispute: (terms, signature) =>
        this.#write(() => {
          const { seed, last, outcome, first, second, operator } = this.#require(terms.batchKey, 'judged');
          if (last || outcome === 'inconclusive') throw reverted('NotDisputable');
          if (terms.seed !== seed) throw reverted('WrongSeed');
          if (terms.bond !== this.terms.disputeBond) throw reverted('WrongBond');
          if (recoverDisputeSigner(this.#domain, terms, signature) !== terms.disputer)
            throw reverted('WrongSigner');
          const members = this.#committee(terms.batchKey, [operator, ...this.#operatorsOf(first, second)]);
          if (members === null) throw reverted('CommitteeTooSmall');
          const { disputer, bond } = terms;
          if ((this.#ledger.balances.get(disputer) ?? 0n) < bond) throw reverted('ERC20InsufficientBalance');
          add(this.#ledger.balances, disputer, -bond);
          this.#change(terms.batchKey, { disputer, bond, before: outcome });
          this.#call(terms.batchKey, members);
        }),
      settleMany: (keys) =>
        this.#write(() => {
          for (const key of keys) {
            const { since, last } = this.#require(key, 'judged');
            if (!last && this.#nowS() < since + this.terms.disputeWindowS) throw reverted('WindowOpen');
          }
          for (const key of keys) this.#settle(key);
        }),
      expire: (key) =>
        this.#write(() => {
          const { state, committedAt } = this.get(key);
          if (state !== 'committed' && state !== 'drawn' && state !== 'second')
            throw reverted('WrongBatchState');
          if (!this.#over(committedAt, this.terms.expireWindowS)) throw reverted('WindowOpen');
          this.#change(key, { state: 'expired', asked: [] });
          this.#free(key);
        }),
    };
    return new Proxy(known as FarmChain, {
      get(target, property) {
        if (property in target) return target[property as keyof FarmChain];
        throw new Error(`the fake escrow has no ${String(property)}`);
      },
    });
  }

  get(key: Bytes32): ChainBatch {
    return { ...(this.#ledger.batches.get(key) ?? NONE) };
  }

  /** Whose secret a draw of the batch needs. */
  drawerOf(key: Bytes32): Address | null {
    const batch = this.#ledger.batches.get(key);
    return batch?.state === 'committed' ? this.#pick(batch.salt, [batch.operator]) : null;
  }

  /** Leaves the list that draws are made from. */
  leave(verifier: Address): void {
    this.#ledger.active = this.#ledger.active.filter((one) => one !== verifier);
  }

  /** Something that it can withdraw. */
  owe(owner: Address, amount: bigint): void {
    add(this.#ledger.credits, owner, amount);
  }

  stakeOf(operator: Address): bigint {
    return this.#operator(operator).stake;
  }

  /** As after kill -9 of the embedded chain: what was not waited for is gone. */
  forget(): void {
    this.#ledger = structuredClone(this.#durable);
  }

  /** Payments that stand. */
  paid(keys: readonly Bytes32[]): bigint {
    return keys.reduce((sum, key) => sum + this.get(key).paid, 0n);
  }

  get #domain() {
    return escrowDomain(this.#base.chainId, this.#base.escrowAddress);
  }

  #nowS(): number {
    return Math.floor(this.#options.nowMs() / 1_000);
  }

  #over(sinceS: number, windowS: number): boolean {
    return this.#nowS() > sinceS + windowS;
  }

  #node(address: Address): ChainNode | null {
    const known = this.#ledger.nodes.get(address);
    if (known !== undefined || this.#options.strict === true) return known ?? null;
    return { operator: address, deviceClass: deviceClassKey(DEVICE_CLASS), ask: 0n };
  }

  #operator(address: Address): ChainOperator {
    const stake = this.#ledger.stakes.get(address) ?? (this.#options.strict === true ? 0n : STAKE);
    return { stake, thawing: 0n, thawsAt: 0, nonce: this.#ledger.nonces.get(address) ?? 0n };
  }

  #useNonce(operator: Address, nonce: bigint): void {
    if ((this.#ledger.nonces.get(operator) ?? 0n) !== nonce) throw reverted('WrongNonce');
    this.#ledger.nonces.set(operator, nonce + 1n);
  }

  #commit(commit: Parameters<FarmChain['commitMany']>[0][number]['commit'], signature: Signature): void {
    const { batchKey: key, jobKey, root, count, amount } = commit;
    const { node, generation } = partsOfBatchKey(key);
    const lane = this.#ledger.lanes.get(laneOf(key)) ?? { ended: 0n };
    if ('live' in lane || generation <= lane.ended) {
      if (!('live' in lane) || lane.live !== key) this.clashes += 1;
      throw reverted('LaneTaken');
    }
    if (recoverCommitSigner(this.#domain, commit, signature) !== node) throw reverted('WrongSigner');
    const operator = this.#node(node)?.operator;
    if (operator === undefined) throw reverted('NodeNotRegistered');
    const now = this.#nowS();
    this.#ledger.batches.set(key, {
      ...NONE,
      ...{ state: 'committed', jobKey, node, operator, root, count, amount, committedAt: now, since: now },
      ...{ stake: this.#operator(operator).stake, anchor: this.#ledger.block },
      ...{ salt: someBytes32(), turns: 0, before: null },
    });
    this.#ledger.lanes.set(laneOf(key), { live: key });
  }

  #attest(verdict: Parameters<FarmChain['attest']>[0], signature: Signature): void {
    const { batchKey: key, seed, outcome, evidence } = verdict;
    const batch = this.#ledger.batches.get(key);
    if (batch?.state !== 'drawn' && batch?.state !== 'second') throw reverted('WrongBatchState');
    if (batch.seed !== seed) throw reverted('WrongSeed');
    const verifier = recoverVerdictSigner(this.#domain, verdict, signature);
    if (verifier === null || batch.asked[0] !== verifier) throw reverted('WrongSigner');
    const word = { verifier, outcome, evidence };
    if (batch.state === 'drawn') this.#firstWord(key, word);
    else this.#secondWord(key, word);
  }

  #firstWord(key: Bytes32, word: Word): void {
    const { seed, turns, operator } = this.#require(key, 'drawn');
    this.#change(key, { first: word });
    const second = this.#pick(`${seed}${1 + turns}`, [operator, this.#operatorOf(word.verifier)]);
    if (word.outcome === 'pass' || second === null) this.#judge(key, word.outcome, word);
    else this.#change(key, { state: 'second', asked: [second], since: this.#nowS() });
  }

  #secondWord(key: Bytes32, word: Word): void {
    const { first, operator } = this.#require(key, 'second');
    const { outcome, evidence } = word;
    this.#change(key, { second: word });
    if (first?.outcome !== 'fail') this.#judge(key, outcome, { evidence });
    else if (outcome !== 'pass')
      this.#judge(key, 'fail', { agreed: outcome === 'fail', evidence: first.evidence });
    else {
      const members = this.#committee(key, [operator, ...this.#operatorsOf(first, word)]);
      if (members === null) this.#judge(key, 'inconclusive', { evidence: null });
      else this.#call(key, members);
    }
  }

  #replace(key: Bytes32): void {
    const batch = this.#ledger.batches.get(key);
    if (batch?.state !== 'drawn' && batch?.state !== 'second') throw reverted('WrongBatchState');
    const [silent] = batch.asked as [Address];
    const isLate = this.#over(batch.since, this.terms.verdictWindowS);
    if (!isLate && this.#ledger.active.includes(silent)) throw reverted('WindowOpen');
    const operators = [batch.operator, this.#operatorOf(silent), ...this.#operatorsOf(batch.first)];
    const turns = batch.turns + 1;
    const next = this.#pick(`${batch.seed}${1000 + turns}`, operators);
    if (next === null) throw reverted('NoVerifierLeft');
    if (isLate) this.#slash(this.#operatorOf(silent), this.terms.missPenalty, key);
    this.#change(key, { turns, asked: [next], since: this.#nowS() });
  }

  #settle(key: Bytes32): void {
    const { outcome, node, amount, seed, agreed, stake, operator } = this.#require(key, 'judged');
    const wanted = amount * BigInt(this.terms.slashFactor);
    const slashed =
      outcome === 'fail' && agreed ? this.#slash(operator, wanted < stake ? wanted : stake, key) : 0n;
    const paid = outcome === 'pass' ? amount : 0n;
    this.#change(key, { state: 'settled', paid, slashed, asked: [] });
    if (outcome === 'pass') this.payments.push({ batchKey: key, node, amount, seed });
    this.#free(key);
  }

  #slash(operator: Address, most: bigint, batchKey: Bytes32): bigint {
    const { stake } = this.#operator(operator);
    const amount = most < stake ? most : stake;
    this.#ledger.stakes.set(operator, stake - amount);
    this.slashes.push({ operator, amount, batchKey });
    return amount;
  }

  #judge(
    key: Bytes32,
    outcome: Outcome,
    how: { agreed?: boolean; last?: boolean; evidence: Bytes32 | null },
  ): void {
    const { agreed = false, last = false, evidence } = how;
    this.#change(key, { state: 'judged', outcome, agreed, last, evidence, asked: [], since: this.#nowS() });
  }

  #call(key: Bytes32, members: readonly Address[]): void {
    this.#change(key, { state: 'committee', members, asked: members, since: this.#nowS() });
  }

  /** Null where too few are left. */
  #committee(key: Bytes32, operators: readonly Address[]): Address[] | null {
    const members: Address[] = [];
    const taken = [...operators];
    for (let place = 0; place < 5; place++) {
      const member = this.#pick(`${key}committee${place}`, taken);
      if (member === null) break;
      members.push(member);
      taken.push(this.#operatorOf(member));
    }
    if (members.length % 2 === 0) members.pop();
    return members.length < 3 ? null : members;
  }

  #pick(entropy: string, operators: readonly Address[]): Address | null {
    const ticket = (verifier: Address): string =>
      createHash('sha256').update(`${entropy}${verifier}`).digest('hex');
    const able = this.#ledger.active.filter((one) => !operators.includes(this.#operatorOf(one)));
    return able.sort((a, b) => (ticket(a) < ticket(b) ? 1 : -1))[0] ?? null;
  }

  #operatorOf(verifier: Address): Address {
    return this.#options.verifiers.find(({ address }) => address === verifier)?.operator ?? ZERO20;
  }

  #operatorsOf(...words: (ChainBatch['first'] | null)[]): Address[] {
    return words.flatMap((word) => (word === null ? [] : [this.#operatorOf(word.verifier)]));
  }

  #free(key: Bytes32): void {
    this.#ledger.lanes.set(laneOf(key), { ended: partsOfBatchKey(key).generation });
  }

  #draw(key: Bytes32, preimage: Bytes32, seed: Bytes32): void {
    this.#require(key, 'committed');
    const drawer = this.drawerOf(key);
    if (drawer === null) throw reverted('NoVerifierLeft');
    if (preimage !== secretOf(drawer)) throw reverted('WrongPreimage');
    const first = this.#pick(`${seed}0`, [this.get(key).operator]);
    if (first === null) throw reverted('NoVerifierLeft');
    this.#change(key, { state: 'drawn', seed, asked: [first], since: this.#nowS() });
  }

  /** All or none. */
  #writeAll<T>(all: readonly T[], change: (one: T) => void): Promise<ChainWrite> {
    return this.#write(() => {
      const before = structuredClone(this.#ledger);
      try {
        for (const one of all) change(one);
      } catch (error) {
        this.#ledger = before;
        throw error;
      }
    });
  }

  async #write(change: () => void): Promise<ChainWrite> {
    const { trouble } = this;
    this.trouble = 'none';
    this.asked += 1;
    if (this.poor) throw new FarmError('CHAIN_GAS_MONEY', 'the account has too little for gas');
    if (trouble === 'before') throw new FarmError('CHAIN_UNAVAILABLE', 'nobody answered');
    change();
    this.#ledger.block += 1n;
    if (trouble === 'after') throw new FarmError('CHAIN_UNAVAILABLE', 'the answer was lost');
    return { txHash: someBytes32(), gasUsed: 1n, blockNumber: this.#ledger.block };
  }

  #change(
    key: Bytes32,
    changes: Partial<ChainBatch & { salt: Bytes32; turns: number; before: Outcome | null }>,
  ) {
    const batch = this.#ledger.batches.get(key);
    if (batch === undefined) throw reverted('WrongBatch');
    this.#ledger.batches.set(key, { ...batch, ...changes });
  }

  #require(key: Bytes32, state: BatchState) {
    const batch = this.#ledger.batches.get(key);
    if (batch?.state !== state) throw reverted('WrongBatchState');
    return batch;
  }
}

/** The one secret that a verifier's draws need here. */
export function secretOf(verifier: Address): Bytes32 {
  return `0x${createHash('sha256').update(verifier).digest('hex')}` as Bytes32;
}

/** Node and lane: what of a key is the same in every generation. */
const laneOf = (key: Bytes32): string => key.slice(0, 2 + 40 + 8);

function add(accounts: Map<Address, bigint>, owner: Address, amount: bigint): void {
  accounts.set(owner, (accounts.get(owner) ?? 0n) + amount);
}

function reverted(error: string): FarmError {
  return new FarmError('CHAIN_REVERTED', error, { details: { error } });
}
