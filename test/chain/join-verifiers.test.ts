/** A farm's verifiers come onto a chain that others run, and what is looked at there before a farm starts. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  type FarmSecrets,
  farmFolder,
  loadSecrets,
  makeFolders,
  readDeployment,
} from '../../cli/farm/data-folder.ts';
import { requireReadyChain } from '../../cli/farm/require-chain.ts';
import { registry, token } from '../../platform/chain/contracts.ts';
import { ethersChain } from '../../platform/chain/ethers-chain.ts';
import { type JoinOptions, joinVerifiers } from '../../platform/chain/join-verifiers.ts';
import { requireContracts } from '../../platform/chain/require-contracts.ts';
import { addressOf, newPrivateKey, type PrivateKey } from '../../platform/chain/signing.ts';
import { transactionSender } from '../../platform/chain/transactions.ts';
import type { Address, Bytes32 } from '../../protocol/ids.ts';
import { party } from './fixture.ts';
import { proxyTo } from './proxies.ts';
import { PUBLIC_CHAIN_ID, type PublicChain, startPublicChain } from './public-chain.ts';
import { deployedOn, type PublicContracts } from './public-contracts.ts';

const IDS = ['verifier-1', 'verifier-2'];
/** The public terms: 100 tokens at least, and one penalty of 10 on top. */
const STAKE = 110_000_000n;
const DAY_S = 86_400;
const { signal } = new AbortController();
const keyOf = (key: Bytes32) => key as string as PrivateKey;

let root: string;
let on: PublicChain;
let contracts: PublicContracts;
let secrets: FarmSecrets;
let coordinator: Address;
let verifiers: JoinOptions['verifiers'];
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'tessera-join-'));
  on = await startPublicChain();
  const folder = farmFolder(root);
  await makeFolders(folder);
  secrets = await loadSecrets(folder, [], IDS);
  coordinator = addressOf(keyOf(secrets.coordinatorKey));
  contracts = await deployedOn(on, coordinator);
  verifiers = IDS.map((id) => {
    const stored = secrets.verifiers[id] ?? expect.fail(`no keys of ${id}`);
    const { key, operatorKey, head } = stored;
    return { id, verifierKey: keyOf(key), operatorKey: keyOf(operatorKey), head };
  });
});
afterAll(async () => {
  await on.end();
  await rm(root, { recursive: true, force: true });
});

const optionsOf = (own: Partial<JoinOptions> = {}): JoinOptions => ({
  ...{ url: on.url, deployment: contracts.deployment, confirmations: 0, verifiers, dryRun: false, signal },
  coordinatorKey: keyOf(secrets.coordinatorKey),
  journalFile: join(root, 'journal.json'),
  onNotice: () => undefined,
  ...own,
});
const sentSoFar = async () => Number(await on.rpc.call('eth_getTransactionCount', [coordinator, 'latest']));
const operatorOf = (at: number) => addressOf((verifiers[at] ?? expect.fail('no such verifier')).operatorKey);
const chain = () =>
  ethersChain({ ...contracts.deployment, url: on.url, coordinatorKey: newPrivateKey(), embedded: null });
const readyChain = (notes: string[] = []) => {
  const place = { url: on.url, deployment: contracts.deployment, confirmations: 0 };
  const onNote = (note: string) => void notes.push(note);
  return requireReadyChain(farmFolder(root), place, secrets, IDS, { onNote, signal });
};

describe('the verifiers of a farm', () => {
  it('are said to lack what their operators have not, and nothing is sent', async () => {
    const [first] = await joinVerifiers(optionsOf());
    expect(first).toMatchObject({
      ...{ operator: operatorOf(0), sent: [], activeFrom: null },
      plan: { next: 'join', toStake: STAKE, missing: STAKE },
    });
    expect(await sentSoFar()).toBe(0);
    await expect(readyChain()).rejects.toMatchObject({
      code: 'CHAIN_NOT_READY',
      message: expect.stringContaining('tessera join-chain'),
    });
    expect(await readDeployment(farmFolder(root))).toBeNull();
  });

  it('join one by one as there is money, and wait out the delay', async () => {
    await contracts.give(operatorOf(0), STAKE);
    expect(await joinVerifiers(optionsOf({ dryRun: true }))).toMatchObject([
      { sent: [], plan: { next: 'join', missing: 0n } },
      { sent: [], plan: { next: 'join', missing: STAKE } },
    ]);
    expect(await sentSoFar()).toBe(0);
    const nowS = await chain().timeS();
    const [first, second] = await joinVerifiers(optionsOf());
    expect(first).toMatchObject({ sent: ['stake', 'join'], stake: STAKE, balance: 0n });
    expect(first?.activeFrom).toBeGreaterThanOrEqual(nowS + DAY_S);
    expect(second).toMatchObject({ sent: [], stake: 0n });
    const again = await joinVerifiers(optionsOf());
    expect(again[0]).toMatchObject({ sent: [], plan: { next: 'wait', toStake: 0n } });
    expect(await sentSoFar()).toBe(2);
  });

  it('that were killed with their stake on its way stake it once', async () => {
    await contracts.give(operatorOf(1), 2n * STAKE);
    const stop = new AbortController();
    const failing = await proxyTo(on.url, {
      before: async ([question]) => {
        if (question?.method !== 'eth_sendRawTransaction') return 'ask';
        // It arrives, but nobody hears of it any more.
        await on.rpc.call('eth_sendRawTransaction', question.params);
        stop.abort(new Error('killed'));
        return 'hang up';
      },
    });
    const killed = joinVerifiers(optionsOf({ url: failing.url, signal: stop.signal }));
    await expect(killed).rejects.toThrow('killed');
    await failing.close();
    const [, second] = await joinVerifiers(optionsOf());
    expect(second).toMatchObject({ sent: ['join'], stake: STAKE, balance: STAKE });
    expect(await sentSoFar()).toBe(4);
  });

  it('are activated once the delay is over, and then nothing is left to do', async () => {
    await on.rpc.call('evm_increaseTime', [DAY_S]);
    await on.mine();
    const [first, second] = await joinVerifiers(optionsOf());
    expect([first?.sent, second?.sent]).toEqual([['activate'], ['activate']]);
    expect(await chain().verifiers()).toEqual([first?.verifier, second?.verifier]);
    const after = await joinVerifiers(optionsOf());
    expect(after.map(({ plan, sent }) => [plan.next, sent])).toEqual([
      ['nothing', []],
      ['nothing', []],
    ]);
    expect(await sentSoFar()).toBe(6);
    const notes: string[] = [];
    await readyChain(notes);
    expect(notes).toEqual([]);
    expect(await readDeployment(farmFolder(root))).toEqual(contracts.deployment);
  });

  it('that have left wait until their place is free, and stake nothing more for it', async () => {
    const operator = (verifiers[1] ?? expect.fail('no such verifier')).operatorKey;
    await on.rpc.call('anvil_setBalance', [operatorOf(1), '0xde0b6b3a7640000']);
    const verifier = addressOf((verifiers[1] ?? expect.fail('no such verifier')).verifierKey);
    await transactionSender(on.rpc, PUBLIC_CHAIN_ID, operator).send({
      to: contracts.deployment.registryAddress,
      data: registry.encode('leaveVerifier', [verifier]),
      label: 'leave',
    });
    const notes: string[] = [];
    await readyChain(notes);
    expect(notes).toEqual([expect.stringContaining('verifier-2')]);
    const [first, held] = await joinVerifiers(optionsOf());
    expect(first).toMatchObject({ plan: { next: 'nothing' } });
    expect(held).toMatchObject({ held: true, sent: [], stake: STAKE, balance: STAKE });
  });

  it('are nobody else’s', async () => {
    const stranger = verifiers.map((one) => ({ ...one, operatorKey: newPrivateKey() }));
    await expect(joinVerifiers(optionsOf({ verifiers: stranger }))).rejects.toMatchObject({
      code: 'CHAIN_NOT_READY',
      message: expect.stringContaining(operatorOf(0)),
    });
  });
});

describe('a farm does not start', () => {
  it('on another chain, without its contracts, or as another coordinator', async () => {
    const { deployment } = contracts;
    await requireContracts(on.url, deployment, coordinator, signal);
    await expect(
      requireContracts(on.url, { ...deployment, chainId: 10 }, coordinator, signal),
    ).rejects.toMatchObject({ code: 'CHAIN_WRONG', message: expect.stringContaining('10') });
    for (const name of ['escrowAddress', 'registryAddress', 'tokenAddress'] as const) {
      const moved = { ...deployment, [name]: party().address };
      await expect(requireContracts(on.url, moved, coordinator, signal)).rejects.toMatchObject({
        code: 'CHAIN_NOT_READY',
        message: expect.stringContaining(moved[name]),
      });
    }
    const other = party().address;
    const refused = requireContracts(on.url, deployment, other, signal);
    await expect(refused).rejects.toMatchObject({ code: 'CHAIN_NOT_READY' });
    await expect(refused).rejects.toThrow(new RegExp(`${coordinator}.*${other}`));
  });

  it('with a token whose permits it could not sign', async () => {
    const asked = token.encode('DOMAIN_SEPARATOR', []);
    const another = await proxyTo(on.url, {
      change: ({ params }, answer) => {
        const [call] = params as [{ data?: string } | undefined];
        return call?.data === asked ? { ...answer, result: `0x${'ab'.repeat(32)}` } : answer;
      },
    });
    await expect(
      requireContracts(another.url, contracts.deployment, coordinator, signal),
    ).rejects.toMatchObject({ code: 'CHAIN_NOT_READY', message: expect.stringContaining('permits') });
    await another.close();
  });
});
