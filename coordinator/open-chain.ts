/** The chain that the contracts are on: the farm's own, or one that others run. */

import type { FarmChain } from '../platform/chain/chain.ts';
import { EMBEDDED_CHAIN_ID } from '../platform/chain/embedded.ts';
import { ethersChain } from '../platform/chain/ethers-chain.ts';
import { eventsFileIn, journalFileIn } from '../platform/chain/public-chain.ts';
import type { PrivateKey } from '../platform/chain/signing.ts';
import type { SendingTurns } from '../platform/chain/transactions.ts';
import type { Log } from '../platform/log.ts';
import { FarmError } from '../protocol/errors.ts';
import type { CoordinatorConfig, CoordinatorSecrets } from './config.ts';

/** Which chain a coordinator works on. */
export function chainIdOf({ publicChain }: Pick<CoordinatorConfig, 'publicChain'>): number {
  return publicChain?.chainId ?? EMBEDDED_CHAIN_ID;
}

/** Connects nothing. `turns`: of sending, among coordinators on one database; on the embedded chain only. */
export function openChain(
  config: CoordinatorConfig,
  secrets: Pick<CoordinatorSecrets, 'coordinatorKey' | 'chainUrl'>,
  { log, turns }: { log: Log; turns: SendingTurns | undefined },
): FarmChain {
  const { tokenAddress, escrowAddress, registryAddress, deployedBlock, publicChain, chainStateFile } = config;
  const contracts = { tokenAddress, escrowAddress, registryAddress, deployedBlock };
  const common = {
    ...contracts,
    url: secrets.chainUrl ?? config.chainUrl,
    chainId: chainIdOf(config),
    coordinatorKey: secrets.coordinatorKey as string as PrivateKey,
  };
  if (publicChain !== undefined)
    return ethersChain({
      ...common,
      embedded: null,
      confirmations: publicChain.confirmations,
      journalFile: journalFileIn(config.dataFolder),
      eventsFile: eventsFileIn(config.dataFolder),
      onNotice: (notice) => log.warn(notice),
    });
  if (chainStateFile === undefined)
    throw new FarmError('INTERNAL', 'the configuration names no chain at all');
  return ethersChain({ ...common, embedded: { stateFile: chainStateFile }, turns });
}
