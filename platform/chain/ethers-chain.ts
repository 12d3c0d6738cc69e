/** FarmChain on an EVM chain: ABI coding by ethers, transport and transactions our own. */
import { ZeroAddress, ZeroHash } from 'ethers/constants';
import { Signature as EthersSignature } from 'ethers/crypto';
import { FarmError } from '../../protocol/errors.ts';
import type { Address, Bytes32 } from '../../protocol/ids.ts';
import type { Arguments, FunctionName } from './abi.ts';
import type { NodeRegistry, RenderEscrow } from './artifacts.ts';
import { chainBatchOf, type FoldedBatch } from './batch-fold.ts';
import { batchReader } from './batch-reader.ts';
import { answerOf, ask, callRequest } from './calls.ts';
import {
  type ChainWrite,
  type FarmChain,
  MAX_COMMITS_PER_TX,
  MAX_MOVES_PER_TX,
  type SignedPermit,
  type SignedVerdict,
} from './chain.ts';
import { escrow, registry, token } from './contracts.ts';
import { decodeJob, decodeNode, decodeOperator, decodeTerms } from './decode.ts';
import type { Deployment } from './deployment.ts';
import { drawerOrNull, drawing } from './drawing.ts';
import { followEvents } from './follow-events.ts';
import { jsonRpc, quantity } from './json-rpc.ts';
import { refusals } from './refusals.ts';
import { OUTCOME_NUMBERS, type PrivateKey } from './signing.ts';
import { waitUntilCopied } from './state-file.ts';
import { transactionQueue } from './transaction-queue.ts';
import { type Receipt, type SendingTurns, timeOf, transactionSender } from './transactions.ts';

const never = new AbortController().signal;

export type EthersChainOptions = Deployment & {
  url: string;
  /** Pays the gas and is the escrow's coordinator. */
  coordinatorKey: PrivateKey;
  /** For the chain that the farm runs itself: it makes blocks and money when asked. Null anywhere else. */
  embedded: { stateFile: string } | null;
  /** Embedded: whose turn it is to send, where other programs send with this key too. */
  turns?: SendingTurns | undefined;
  /** Not embedded: blocks on top of a write until it counts as durable. */
  confirmations?: number;
  /** Not embedded: where signed transactions are noted until they are durable. Without it a crash can repeat one. */
  journalFile?: string;
  /** Not embedded: where settled events are kept. Without it every start reads all of them from the chain again. */
  eventsFile?: string;
  /** Not embedded: told what a person should see, for example that a fee was raised. */
  onNotice?: (notice: string) => void;
};

type Escrow = typeof RenderEscrow.abi;
type Registry = typeof NodeRegistry.abi;

/** Connects nothing: the first call does. */
export function ethersChain(options: EthersChainOptions): FarmChain {
  const { url, chainId, tokenAddress, escrowAddress, registryAddress, deployedBlock } = options;
  const { coordinatorKey, embedded, confirmations = 12, journalFile = null, onNotice } = options;
  const rpc = jsonRpc(url);
  const queued = {
    rpc,
    chainId,
    key: coordinatorKey,
    journalFile,
    confirmations,
    ...(onNotice && { onNotice }),
  };
  const queue = embedded === null ? transactionQueue(queued) : null;
  const sender = queue ?? transactionSender(rpc, chainId, coordinatorKey, options.turns);
  const follower =
    embedded === null
      ? followEvents({
          ...{ rpc, chainId, addresses: [escrowAddress, registryAddress], fromBlock: deployedBlock },
          ...{ file: options.eventsFile ?? null, depth: confirmations },
          ...(onNotice && { onNotice }),
        })
      : null;
  const readFolds = batchReader({ rpc, escrowAddress, deployedBlock, follower });

  const write = async <const Name extends FunctionName<Escrow>>(
    name: Name,
    args: Arguments<Escrow, Name>,
    signal?: AbortSignal,
  ): Promise<Receipt> =>
    sender.send({ to: escrowAddress, data: escrow.encode(name, args), label: name }, signal);
  const register = async <const Name extends FunctionName<Registry>>(
    name: Name,
    args: Arguments<Registry, Name>,
    signal?: AbortSignal,
  ): Promise<ChainWrite> =>
    plain(await sender.send({ to: registryAddress, data: registry.encode(name, args), label: name }, signal));

  const foldOf = async (key: Bytes32, signal?: AbortSignal): Promise<FoldedBatch> => {
    const [fold] = await readFolds([key], signal);
    if (fold === undefined) throw new FarmError('INTERNAL', `no answer about batch ${key}`);
    return fold;
  };
  const structsOf = async (keys: readonly Bytes32[], signal?: AbortSignal) => {
    requireFew(keys.length, MAX_MOVES_PER_TX, 'batches');
    return (await readFolds(keys, signal)).map(({ struct }) => struct);
  };
  /** A write about one batch as it stands. Of one that has ended, or never was, the contract says so itself. */
  const move = async (
    name: 'expire' | 'replace' | 'closeCommittee' | 'reanchor',
    fold: FoldedBatch,
    signal?: AbortSignal,
  ): Promise<ChainWrite> => plain(await write(name, [fold.batchKey, fold.struct], signal));
  const blockNumber = async (signal?: AbortSignal): Promise<bigint> =>
    quantity(await rpc.call('eth_blockNumber', [], signal));
  const draws = drawing({
    rpc,
    embedded: embedded !== null,
    folds: (keys, signal) => readFolds(keys, signal),
    sendReanchor: (fold, signal) => move('reanchor', fold, signal),
  });

  const drawersOf = async (keys: readonly Bytes32[], signal?: AbortSignal): Promise<(Address | null)[]> => {
    const folds = await readFolds(keys, signal);
    const undrawn = folds.filter(({ state }) => state === 'committed');
    if (undrawn.length === 0) return folds.map(() => null);
    const requests = undrawn.map(({ batchKey, struct }) =>
      callRequest(escrowAddress, escrow.encode('drawerOf', [batchKey, struct])),
    );
    const answers = await refusals('drawerOf', () => rpc.batch(requests, signal));
    const drawers = new Map(
      undrawn.map(({ batchKey }, at) => {
        const drawer = answerOf(escrow, escrowAddress, 'drawerOf', answers[at]);
        return [batchKey, drawerOrNull(drawer)];
      }),
    );
    return keys.map((key) => drawers.get(key) ?? null);
  };

  const waitUntilDurable = async (block: bigint, signal: AbortSignal = never): Promise<void> => {
    if (queue !== null) return queue.waitUntilDeep(block, signal);
    // A chain that was killed and came back shorter has forgotten the write: waiting would never end.
    const head = await blockNumber(signal);
    if (head < block)
      throw new FarmError('CHAIN_UNAVAILABLE', `the chain lost block ${block}; it ends at ${head}`);
    if (embedded !== null) await waitUntilCopied(embedded.stateFile, block, signal);
  };

  return {
    chainId,
    tokenAddress,
    escrowAddress,
    registryAddress,

    async mintTestTokens(to, amount, signal) {
      if (embedded === null) throw new FarmError('INTERNAL', 'test money exists on the embedded chain only');
      const data = token.encode('mint', [to, amount]);
      return plain(await sender.send({ to: tokenAddress, data, label: 'mint' }, signal));
    },

    async openJob(terms, signature, permit, signal) {
      return plain(await write('openJob', [terms, signature, permitOf(permit)], signal));
    },

    async commitMany(commits, signal) {
      requireFew(commits.length, MAX_COMMITS_PER_TX, 'commits');
      const signatures = commits.map((signed) => signed.signature);
      return plain(await write('commitMany', [commits.map((signed) => signed.commit), signatures], signal));
    },

    waitUntilDrawable: draws.waitUntilDrawable,

    async drawerOf(key, signal) {
      const [drawer = null] = await drawersOf([key], signal);
      return drawer;
    },

    drawersOf,

    async draw(key, preimage, signal) {
      const fold = await foldOf(key, signal);
      if (fold.state === 'committed' && (await draws.isHashGone(fold.struct.anchor, signal))) {
        return { ...(await move('reanchor', fold, signal)), kind: 'reanchored' };
      }
      const receipt = await write('draw', [key, fold.struct, preimage], signal);
      for (const log of receipt.logs) {
        const event = escrow.event(log);
        if (event?.name === 'Drawn') return { ...plain(receipt), kind: 'drawn', seed: event.args.seed };
      }
      throw new FarmError('CHAIN_UNAVAILABLE', `the receipt of ${receipt.txHash} says nothing of a draw`);
    },

    async drawMany(secrets, signal) {
      const keys = secrets.map(({ batchKey }) => batchKey);
      const structs = await structsOf(keys, signal);
      const preimages = secrets.map(({ preimage }) => preimage);
      return plain(await write('drawMany', [keys, structs, preimages], signal));
    },

    async reanchor(key, signal) {
      const fold = await foldOf(key, signal);
      if (fold.state === 'committed') {
        const { drawBlocks } = await ask(rpc, escrow, escrowAddress, 'terms', [], signal);
        await draws.letTimePass(fold, drawBlocks, signal);
      }
      return move('reanchor', fold, signal);
    },

    async attest(verdict, signature, signal) {
      const { struct } = await foldOf(verdict.batchKey, signal);
      return plain(await write('attest', [verdict.batchKey, struct, wordOf({ verdict, signature })], signal));
    },

    async attestMany(words, signal) {
      const keys = words.map(({ verdict }) => verdict.batchKey);
      const structs = await structsOf(keys, signal);
      return plain(await write('attestMany', [keys, structs, words.map(wordOf)], signal));
    },

    async attestCommittee(batchKey, outcome, votes, signal) {
      const { struct, members } = await foldOf(batchKey, signal);
      const placed = votes.map(({ member, evidence, signature }) => {
        const place = members.indexOf(member);
        if (place < 0) throw new FarmError('INTERNAL', `${member} is not in the committee of ${batchKey}`);
        return { member: place, evidence, signature };
      });
      const number = OUTCOME_NUMBERS[outcome];
      return plain(await write('attestCommittee', [batchKey, struct, members, number, placed], signal));
    },

    async closeCommittee(key, signal) {
      return move('closeCommittee', await foldOf(key, signal), signal);
    },

    async replace(key, signal) {
      return move('replace', await foldOf(key, signal), signal);
    },

    async dispute(terms, signature, permit, signal) {
      const { struct } = await foldOf(terms.batchKey, signal);
      return plain(await write('dispute', [terms, struct, signature, permitOf(permit)], signal));
    },

    async settleMany(batchKeys, signal) {
      return plain(await write('settle', [batchKeys, await structsOf(batchKeys, signal)], signal));
    },

    async expire(key, signal) {
      return move('expire', await foldOf(key, signal), signal);
    },

    async closeJob(key, signal) {
      return plain(await write('closeJob', [key], signal));
    },

    async withdrawFor(owner, signal) {
      return plain(await write('withdrawFor', [owner], signal));
    },

    registerNode(terms, operatorSignature, nodeSignature, signal) {
      return register('registerNode', [terms, operatorSignature, nodeSignature], signal);
    },

    stakeFor(terms, signature, permit, signal) {
      return register('stakeFor', [terms, signature, permitOf(permit)], signal);
    },

    joinVerifier(terms, signature, signal) {
      return register('joinVerifier', [terms, signature], signal);
    },

    activateVerifier(verifier, signal) {
      return register('activateVerifier', [verifier], signal);
    },

    removeVerifier(verifier, signal) {
      return register('leaveVerifier', [verifier], signal);
    },

    async job(key, signal) {
      return decodeJob(await ask(rpc, escrow, escrowAddress, 'job', [key], signal));
    },

    async batch(key, signal) {
      return chainBatchOf(await foldOf(key, signal));
    },

    async batches(keys, signal) {
      return (await readFolds(keys, signal)).map(chainBatchOf);
    },

    async node(address, signal) {
      return decodeNode(await ask(rpc, registry, registryAddress, 'nodeInfo', [address], signal));
    },

    async operator(address, signal) {
      return decodeOperator(await ask(rpc, registry, registryAddress, 'operatorInfo', [address], signal));
    },

    async verifierOperator(verifier, signal) {
      const found = await ask(rpc, registry, registryAddress, 'operatorOf', [verifier], signal);
      return found === ZeroAddress ? null : found;
    },

    async verifiers(signal) {
      return [...(await ask(rpc, registry, registryAddress, 'verifiers', [], signal))];
    },

    async terms(signal) {
      const [terms, minVerifierStake, joinDelay, thawTime] = await Promise.all([
        ask(rpc, escrow, escrowAddress, 'terms', [], signal),
        ask(rpc, registry, registryAddress, 'minVerifierStake', [], signal),
        ask(rpc, registry, registryAddress, 'joinDelay', [], signal),
        ask(rpc, registry, registryAddress, 'thawTime', [], signal),
      ]);
      return decodeTerms(terms, { minVerifierStake, joinDelay, thawTime });
    },

    credit(owner, signal) {
      return ask(rpc, escrow, escrowAddress, 'credit', [owner], signal);
    },

    tokenBalance(owner, signal) {
      return ask(rpc, token, tokenAddress, 'balanceOf', [owner], signal);
    },

    permitNonce(owner, signal) {
      return ask(rpc, token, tokenAddress, 'nonces', [owner], signal);
    },

    verifierHead(verifier, signal) {
      return ask(rpc, registry, registryAddress, 'headOf', [verifier], signal);
    },

    blockNumber,
    async timeS(signal) {
      return timeOf(await rpc.call('eth_getBlockByNumber', ['latest', false], signal));
    },
    waitUntilDurable,
    async waitUntilFunded(block, signal = never) {
      if (embedded === null) await waitUntilDurable(block, signal);
    },
  };
}

function plain({ txHash, gasUsed, blockNumber }: Receipt): ChainWrite {
  return { txHash, gasUsed, blockNumber };
}

function requireFew(count: number, most: number, what: string): void {
  if (count > 0 && count <= most) return;
  throw new FarmError('INTERNAL', `1 to ${most} ${what} fit a transaction, not ${count}`);
}

type WordStruct = Arguments<Escrow, 'attest'>[2];

function wordOf({ verdict: { outcome, evidence }, signature }: SignedVerdict): WordStruct {
  return { outcome: OUTCOME_NUMBERS[outcome], evidence, signature };
}

type PermitStruct = Arguments<Escrow, 'openJob'>[2];

/** A deadline of 0 tells the contract that there is no permit. */
function permitOf(permit: SignedPermit | null): PermitStruct {
  const nothing = ZeroHash as Bytes32;
  if (permit === null) return { value: 0n, deadline: 0n, v: 0, r: nothing, s: nothing };
  const { v, r, s } = EthersSignature.from(permit.signature);
  return { value: permit.value, deadline: BigInt(permit.deadline), v, r: r as Bytes32, s: s as Bytes32 };
}
