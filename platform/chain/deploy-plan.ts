/** What has to be sent, in which order, for the farm's contracts to be there and to know each other. Pure. */
import { getCreateAddress } from 'ethers/address';
import type { Address } from '../../protocol/ids.ts';
import { contractOf } from './abi.ts';
import { AccessManager, NodeRegistry, RenderEscrow, TestToken } from './artifacts.ts';
import type { ChainTerms } from './chain.ts';
import { escrow, registry, token } from './contracts.ts';
import type { Call } from './transactions.ts';

const manager = contractOf(AccessManager.abi);

/** The role of an AccessManager that may change whatever the contracts let it change: a constant of OpenZeppelin's. */
const ADMIN_ROLE = 0n;

export type DeployPlanOptions = {
  /** Whoever sends, and its nonce: the addresses follow from them. */
  deployer: Address;
  nonce: number;
  /** The token that is used, or null to make a test token, which the deployer can print. */
  tokenAddress: Address | null;
  /** May change coordinator, fee, treasury and pause, `adminDelayS` after it announced it. */
  admin: Address;
  adminDelayS: number;
  coordinator: Address;
  treasury: Address;
  feeBps: number;
  terms: ChainTerms;
};

export type DeployStep = Call & {
  /** Where a contract comes to lie; null for a step that makes none. */
  address: Address | null;
  /** What its constructor was given, as a person reads it and as a block explorer wants it. */
  constructorArguments: { values: readonly unknown[]; encoded: string } | null;
};

export type DeployPlan = {
  steps: readonly DeployStep[];
  tokenAddress: Address;
  managerAddress: Address;
  registryAddress: Address;
  escrowAddress: Address;
};

/** The steps in their order, each to be in a block before the next is sent. */
export function deployPlan(options: DeployPlanOptions): DeployPlan {
  const { deployer, admin, adminDelayS, coordinator, treasury, feeBps, terms } = options;
  const steps: DeployStep[] = [];
  const make = (name: string, bytecode: string, data: string, values: readonly unknown[]): Address => {
    const from = { from: deployer, nonce: options.nonce + steps.length };
    const address = getCreateAddress(from).toLowerCase() as Address;
    const encoded = `0x${data.slice(bytecode.length)}`;
    const constructorArguments = { values, encoded };
    steps.push({ to: null, data, label: `deploy ${name}`, address, constructorArguments });
    return address;
  };
  const call = (to: Address, data: string, label: string): void => {
    steps.push({ to, data, label, address: null, constructorArguments: null });
  };

  let { tokenAddress } = options;
  if (tokenAddress === null) {
    const data = token.deployment(TestToken.bytecode, [deployer]);
    tokenAddress = make('TestToken', TestToken.bytecode, data, [deployer]);
  }
  const managed = manager.deployment(AccessManager.bytecode, [deployer]);
  const managerAddress = make('AccessManager', AccessManager.bytecode, managed, [deployer]);
  const registryArguments = [
    tokenAddress,
    terms.minVerifierStake,
    BigInt(terms.joinDelayS),
    BigInt(terms.thawTimeS),
  ] as const;
  const registryAddress = make(
    'NodeRegistry',
    NodeRegistry.bytecode,
    registry.deployment(NodeRegistry.bytecode, registryArguments),
    registryArguments,
  );
  const escrowArguments = [
    ...([tokenAddress, registryAddress, managerAddress, coordinator, treasury, feeBps] as const),
    escrowTerms(terms),
  ] as const;
  const escrowAddress = make(
    'RenderEscrow',
    RenderEscrow.bytecode,
    escrow.deployment(RenderEscrow.bytecode, escrowArguments),
    escrowArguments,
  );
  call(registryAddress, registry.encode('setEscrow', [escrowAddress]), 'setEscrow');
  // Last, so that a deployment that broke off in the middle can still be completed by the one who began it.
  if (admin !== deployer || adminDelayS > 0) {
    call(managerAddress, manager.encode('grantRole', [ADMIN_ROLE, admin, adminDelayS]), 'grantRole');
  }
  if (admin !== deployer) {
    call(managerAddress, manager.encode('renounceRole', [ADMIN_ROLE, deployer]), 'renounceRole');
  }
  return { steps, tokenAddress, managerAddress, registryAddress, escrowAddress };
}

/** The escrow's `Terms`. */
function escrowTerms(terms: ChainTerms) {
  const { drawBlocks, missPenalty, verifierPenalty, disputeBond, slashFactor } = terms;
  return {
    verdictWindow: terms.verdictWindowS,
    disputeWindow: terms.disputeWindowS,
    committeeWindow: terms.committeeWindowS,
    expireWindow: terms.expireWindowS,
    ...{ drawBlocks, missPenalty, verifierPenalty, disputeBond, slashFactor },
  };
}
