/** The contracts' structs as the port's records; batches have batch-fold.ts. */
import type { Address } from '../../protocol/ids.ts';
import type { Result } from './abi.ts';
import type { NodeRegistry, RenderEscrow } from './artifacts.ts';
import type { ChainJob, ChainNode, ChainOperator, ChainTerms, JobState } from './chain.ts';

type Escrow = typeof RenderEscrow.abi;
type Registry = typeof NodeRegistry.abi;

/** In the order of the Solidity enum. */
const JOB_STATES = ['none', 'open', 'closed'] as const satisfies readonly JobState[];

/** A job from the contract's `Job`. What its batches have reserved is what is left of the money. */
export function decodeJob(job: Result<Escrow, 'job'>): ChainJob {
  const { funded, free, released, refunded, state, ...rest } = job;
  const reserved = funded - free - released - refunded;
  return { ...rest, free, released, refunded, reserved, budget: funded, state: JOB_STATES[state] ?? 'none' };
}

/** An operator from the registry's `Operator`. */
export function decodeOperator(operator: Result<Registry, 'operatorInfo'>): ChainOperator {
  const { stake, thawing, thawsAt, nonce } = operator;
  return { stake, thawing, thawsAt, nonce };
}

/** A node from the registry's `Node`, or null when it has none. */
export function decodeNode(node: Result<Registry, 'nodeInfo'>): ChainNode | null {
  const { operator, deviceClass, ask } = node;
  return isNobody(operator) ? null : { operator, deviceClass, ask };
}

/** What both contracts were made with. */
export function decodeTerms(
  terms: Result<Escrow, 'terms'>,
  registry: { minVerifierStake: bigint; joinDelay: bigint; thawTime: bigint },
): ChainTerms {
  const { missPenalty, verifierPenalty, disputeBond, slashFactor } = terms;
  return {
    verdictWindowS: terms.verdictWindow,
    disputeWindowS: terms.disputeWindow,
    committeeWindowS: terms.committeeWindow,
    expireWindowS: terms.expireWindow,
    drawBlocks: terms.drawBlocks,
    ...{ missPenalty, verifierPenalty, disputeBond, slashFactor },
    thawTimeS: Number(registry.thawTime),
    joinDelayS: Number(registry.joinDelay),
    minVerifierStake: registry.minVerifierStake,
  };
}

function isNobody(address: Address): boolean {
  return BigInt(address) === 0n;
}
