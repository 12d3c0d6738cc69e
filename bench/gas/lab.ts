/** A fresh chain with the contracts on it, and transactions whose receipts say what they cost. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  Contract,
  ContractFactory,
  getCreateAddress,
  Interface,
  JsonRpcProvider,
  keccak256,
  Wallet,
} from 'ethers';
import { AccessManager, NodeRegistry, RenderEscrow, TestToken } from '../../platform/chain/artifacts.ts';
import { startAnvil } from '../../platform/chain/embedded.ts';

export const UNIT = 1_000_000n;
const RICH = `0x${(10n ** 24n).toString(16)}`;
/** Nobody's money: keys of a chain that lives for seconds. */
const wallet = (n: number): Wallet => new Wallet(`0x${n.toString(16).padStart(64, '0')}`);

export const people = {
  coordinator: wallet(0xc001),
  requester: wallet(0xc002),
  node: wallet(0xc003),
  freshNode: wallet(0xc004),
  verifiers: [0xd001, 0xd002, 0xd003, 0xd004].map(wallet),
};
const treasury = wallet(0xc005).address;

/** As in a farm that charges: the settlement then writes the treasury's credit, too. */
const FEE_BPS = 250;
const DAY_S = 86_400;
const TERMS = {
  verdictWindow: 3_600,
  disputeWindow: 0,
  committeeWindow: DAY_S,
  expireWindow: 7 * DAY_S,
  drawBlocks: 128,
  missPenalty: UNIT / 10n,
  verifierPenalty: 10n * UNIT,
  disputeBond: UNIT,
  slashFactor: 10,
};

export type Sent = {
  gas: number;
  events: { name: string; args: Record<string, unknown> }[];
  block: number;
  time: number;
};
export type Lab = Awaited<ReturnType<typeof openLab>>;

/** `await using`: the chain ends with it. */
export async function openLab(signal: AbortSignal) {
  const folder = await mkdtemp(join(tmpdir(), 'tessera-gas-'));
  const anvil = await startAnvil({ stateFile: join(folder, 'chain.json'), signal });
  const provider = new JsonRpcProvider(anvil.url, undefined, { cacheTimeout: -1, staticNetwork: true });
  const end = async (): Promise<void> => {
    provider.destroy();
    await anvil.stop();
    await rm(folder, { recursive: true, force: true });
  };
  try {
    const sender = people.coordinator.connect(provider);
    await provider.send('anvil_setBalance', [sender.address, RICH]);
    let nonce = 0;
    const deploy = async (artifact: { abi: unknown; bytecode: string }, ...parameters: unknown[]) => {
      const factory = new ContractFactory(artifact.abi as never, artifact.bytecode, sender);
      const contract = await factory.deploy(...parameters, { nonce });
      const address = getCreateAddress({ from: sender.address, nonce });
      nonce += 1;
      await contract.deploymentTransaction()?.wait();
      return new Contract(address, artifact.abi as never, sender);
    };
    const token = await deploy(TestToken, sender.address);
    const manager = await deploy(AccessManager, sender.address);
    const registry = await deploy(NodeRegistry, token.target, 50n * UNIT, 0, 30 * DAY_S);
    const escrow = await deploy(
      RenderEscrow,
      ...[token.target, registry.target, manager.target, sender.address, treasury, FEE_BPS, TERMS],
    );
    const abi = new Interface(RenderEscrow.abi as never);

    /** One transaction of the coordinator; throws when it is refused. */
    const send = async (to: Contract, method: string, ...parameters: unknown[]): Promise<Sent> => {
      signal.throwIfAborted();
      const transaction = await to.getFunction(method).send(...parameters, { nonce });
      nonce += 1;
      const receipt = await transaction.wait();
      if (receipt === null || receipt.status !== 1) throw new Error(`${method} was refused`);
      const block = await provider.getBlock(receipt.blockNumber);
      const events = receipt.logs
        .filter((log) => log.address === escrow.target)
        .map((log) => abi.parseLog(log))
        .filter((log) => log !== null)
        .map((log) => ({ name: log.name, args: log.args.toObject() as Record<string, unknown> }));
      return {
        gas: Number(receipt.gasUsed),
        events,
        block: receipt.blockNumber,
        time: block?.timestamp ?? 0,
      };
    };
    await send(registry, 'setEscrow', escrow.target);
    const sign = async (
      signer: Wallet,
      contract: Contract,
      name: string,
      version: string,
      types: Types,
      value: object,
    ) =>
      signer.signTypedData(
        { name, version, chainId: 31_337, verifyingContract: contract.target as string },
        types,
        value,
      );
    return {
      ...{ provider, token, registry, escrow, send },
      mine: (blocks: number) => provider.send('anvil_mine', [`0x${blocks.toString(16)}`]) as Promise<unknown>,
      signForEscrow: (signer: Wallet, types: Types, value: object) =>
        sign(signer, escrow, 'Tessera RenderEscrow', '2', types, value),
      signForRegistry: (signer: Wallet, types: Types, value: object) =>
        sign(signer, registry, 'Tessera NodeRegistry', '1', types, value),
      signPermit: (signer: Wallet, value: object) =>
        sign(signer, token, 'Tessera Test Token', '1', PERMIT_TYPES, value),
      [Symbol.asyncDispose]: end,
    };
  } catch (error) {
    await end();
    throw error;
  }
}

type Types = Record<string, { name: string; type: string }[]>;

/** "name type" pairs, as EIP-712 wants them. */
export function typesOf(name: string, fields: string): Types {
  return {
    [name]: fields.split(',').map((field) => {
      const [type = '', its = ''] = field.trim().split(' ');
      return { name: its, type };
    }),
  };
}

const PERMIT_TYPES = typesOf(
  'Permit',
  'address owner,address spender,uint256 value,uint256 nonce,uint256 deadline',
);

/** A chain of secrets: the head first, each the hash of the next. */
export function secretsOf(verifier: Wallet, length: number): string[] {
  const chain = [keccak256(verifier.address)];
  for (let i = 0; i < length; i++) chain.unshift(keccak256(chain[0] as string));
  return chain;
}
