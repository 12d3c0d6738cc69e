/** Where the farm's contracts are. */
import type { Address } from '../../protocol/ids.ts';

export type Deployment = {
  chainId: number;
  tokenAddress: Address;
  escrowAddress: Address;
  registryAddress: Address;
  /** Nothing of the contracts is older than this block: events are asked for from here on. */
  deployedBlock: number;
};
