import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { registerNode, relayEnrolment, whatToSign } from '../../coordinator/scheduling/enrolment.ts';
import { requireWorkingNode } from '../../coordinator/scheduling/nodes.ts';
import { deviceClassKey } from '../../platform/chain/keys.ts';
import { signEnrolment } from '../../platform/chain/sign-enrolment.ts';
import { addressOf, newPrivateKey, type PrivateKey } from '../../platform/chain/signing.ts';
import type { Enrol, Register } from '../../protocol/messages.ts';
import {
  DEVICE_CLASS,
  type TestCoordinator,
  type TestNode,
  testCoordinator,
} from '../support/coordinator-context.ts';
import { FakeEscrow } from './fake-escrow.ts';

vi.setConfig({ testTimeout: 30_000, hookTimeout: 120_000 });

const signal = new AbortController().signal;
const STAKE = 100_000_000n;
let farm: TestCoordinator;
let escrow: FakeEscrow;
beforeAll(async () => {
  farm = await testCoordinator();
  escrow = new FakeEscrow(farm.context.chain, { verifiers: [], nowMs: () => farm.clock.now(), strict: true });
});
afterAll(() => farm[Symbol.asyncDispose]());

const context = () => ({ ...farm.context, chain: escrow.port });

/** A node that has said hello and that the registry does not know. */
async function newcomer(): Promise<TestNode> {
  const node = await farm.addNode();
  await farm.db.updateTable('nodes').set({ operator: null }).where('id', '=', node.id).execute();
  return node;
}

const ask = (node: TestNode, operator = node.address, deviceClass = DEVICE_CLASS): Promise<Enrol | null> =>
  whatToSign(context(), node.id, { address: node.address, operator }, deviceClass, signal);

function sign(node: TestNode, enrol: Enrol, operatorKey: PrivateKey = node.key): Register {
  const { chainId, registryAddress, tokenAddress } = escrow.port;
  const welcome = { chainId, registry: registryAddress, token: tokenAddress };
  return signEnrolment(
    welcome,
    enrol,
    { nodeKey: node.key, operatorKey },
    { classes: [DEVICE_CLASS], nowS: 0 },
  );
}

async function enrolled(): Promise<TestNode> {
  const node = await newcomer();
  await registerNode(context(), node.id, sign(node, (await ask(node)) as Enrol), signal);
  return node;
}

describe('a node that the registry does not know', () => {
  it('gets no lease, and is told why', async () => {
    const node = await newcomer();
    await expect(requireWorkingNode(context(), node.id)).rejects.toMatchObject({
      code: 'NODE_NOT_REGISTERED',
      message: expect.stringContaining(node.address),
    });
  });

  it('is asked to sign, is registered and staked, and may work', async () => {
    const node = await newcomer();
    expect(await ask(node)).toEqual({ nonce: 0n, deviceClass: DEVICE_CLASS, stake: STAKE, permitNonce: 0n });
    await registerNode(context(), node.id, sign(node, (await ask(node)) as Enrol), signal);
    expect(await escrow.port.node(node.address)).toEqual({
      ...{ operator: node.address, deviceClass: deviceClassKey(DEVICE_CLASS), ask: 0n },
    });
    expect(escrow.stakeOf(node.address)).toBe(STAKE);
    expect((await requireWorkingNode(context(), node.id)).id).toBe(node.id);
    expect(await ask(node)).toBeNull();
  });

  it('belongs to the operator that signs for it, whose stake answers for all its nodes', async () => {
    const operatorKey = newPrivateKey();
    const operator = addressOf(operatorKey);
    for (const stake of [STAKE, 0n]) {
      const node = await newcomer();
      const enrol = (await ask(node, operator)) as Enrol;
      expect(enrol.stake).toBe(stake);
      await registerNode(context(), node.id, sign(node, enrol, operatorKey), signal);
      expect((await farm.node(node.id)).operator).toBe(operator);
    }
    expect(escrow.stakeOf(operator)).toBe(STAKE);
  });

  it.each<[string, (message: Register) => Register]>([
    ['another operator', (message) => ({ ...message, operator: addressOf(newPrivateKey()) })],
    ['a class that was not signed', (message) => ({ ...message, node: other(message) })],
    [
      'another stake',
      (message) => ({ ...message, stake: message.stake && { ...message.stake, amount: 1n } }),
    ],
  ])('is not registered with %s', async (_what, change) => {
    const node = await newcomer();
    const message = change(sign(node, (await ask(node)) as Enrol));
    await expect(registerNode(context(), node.id, message, signal)).rejects.toMatchObject({
      code: 'MESSAGE_INVALID',
    });
    expect(await farm.node(node.id)).toMatchObject({ operator: null, enrolment: null });
  });
});

const other = ({ node }: Register): Register['node'] =>
  node && { ...node, deviceClass: deviceClassKey('optix-sm89') };

describe('a registered node', () => {
  it('is registered anew when it comes back with another class, and stakes nothing again', async () => {
    const node = await enrolled();
    expect(await ask(node, node.address, 'cpu-sse42')).toMatchObject({
      deviceClass: 'cpu-sse42',
      stake: 0n,
      nonce: 2n,
    });
    // Meanwhile it may go on: the escrow pays it as it is.
    expect((await farm.node(node.id)).operator).toBe(node.address);
  });

  it('is not given back what it lost', async () => {
    const node = await enrolled();
    vi.spyOn(escrow.port, 'operator').mockResolvedValueOnce({
      stake: 0n,
      thawing: 0n,
      thawsAt: 0,
      nonce: 2n,
    });
    expect(await ask(node)).toBeNull();
  });

  it('cannot come back under another operator', async () => {
    const node = await enrolled();
    await expect(ask(node, addressOf(newPrivateKey()))).rejects.toMatchObject({ code: 'UNAUTHORIZED' });
  });

  it('is put on chain again from what it signed when the chain has forgotten it', async () => {
    await escrow.port.waitUntilDurable(0n);
    const node = await enrolled();
    escrow.forget();
    expect(await escrow.port.node(node.address)).toBeNull();
    expect(await relayEnrolment(context(), node.id, signal)).toBe(true);
    expect(await escrow.port.node(node.address)).not.toBeNull();
    expect(escrow.stakeOf(node.address)).toBe(STAKE);
    // Nothing twice.
    expect(await relayEnrolment(context(), node.id, signal)).toBe(true);
    expect(escrow.stakeOf(node.address)).toBe(STAKE);
  });
});

describe('what a node signs', () => {
  const welcome = { registry: addressOf(newPrivateKey()), token: addressOf(newPrivateKey()) };
  const key = newPrivateKey();
  const keys = { nodeKey: key, operatorKey: key };
  const enrol: Enrol = { nonce: 0n, deviceClass: DEVICE_CLASS, stake: STAKE, permitNonce: 0n };
  const refused = expect.objectContaining({ code: 'MESSAGE_INVALID' });

  it('is no stake where money is money', () => {
    expect(() =>
      signEnrolment({ ...welcome, chainId: 1 }, enrol, keys, { classes: [DEVICE_CLASS], nowS: 0 }),
    ).toThrow(refused);
    const without = signEnrolment({ ...welcome, chainId: 1 }, { ...enrol, stake: 0n }, keys, {
      ...{ classes: [DEVICE_CLASS], nowS: 0 },
    });
    expect(without.stake).toBeNull();
  });

  it('is no class that it does not have', () => {
    expect(() =>
      signEnrolment({ ...welcome, chainId: 31_337 }, enrol, keys, { classes: ['cpu-sse42'], nowS: 0 }),
    ).toThrow(refused);
  });
});
