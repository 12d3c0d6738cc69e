/** A farm's contracts, put by deploy-real.ts on a chain that others run, and a bank that owns the token. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ChainTerms } from '../../platform/chain/chain.ts';
import { token } from '../../platform/chain/contracts.ts';
import { deployContracts } from '../../platform/chain/deploy-real.ts';
import type { Deployment } from '../../platform/chain/deployment.ts';
import { transactionSender } from '../../platform/chain/transactions.ts';
import type { Address } from '../../protocol/ids.ts';
import { party } from './fixture.ts';
import { PUBLIC_CHAIN_ID, type PublicChain } from './public-chain.ts';

/** An ether, for gas. */
const GAS_MONEY = '0xde0b6b3a7640000';

export type PublicContracts = {
  deployment: Deployment;
  /** As somebody would send the token to that account. */
  give(to: Address, amount: bigint): Promise<void>;
};

/** With gas money for `coordinator`, and the public terms where `terms` does not say otherwise. */
export async function deployedOn(
  on: PublicChain,
  coordinator: Address,
  terms: Partial<ChainTerms> = {},
): Promise<PublicContracts> {
  const deployer = party();
  for (const { address } of [deployer, { address: coordinator }])
    await on.rpc.call('anvil_setBalance', [address, GAS_MONEY]);
  const folder = await mkdtemp(join(tmpdir(), 'tessera-contracts-'));
  try {
    const deployed = await deployContracts({
      ...{
        url: on.url,
        key: deployer.key,
        tokenAddress: null,
        adminDelayS: 60,
        feeBps: 0,
        terms,
        coordinator,
      },
      ...{ planFile: join(folder, 'unfinished.json'), journalFile: join(folder, 'journal.json') },
      ...{ confirmations: 0, onStep: () => undefined, signal: new AbortController().signal },
    });
    const { chainId, tokenAddress, escrowAddress, registryAddress, deployedBlock } = deployed;
    const bank = transactionSender(on.rpc, PUBLIC_CHAIN_ID, deployer.key);
    return {
      deployment: { chainId, tokenAddress, escrowAddress, registryAddress, deployedBlock },
      async give(to, amount) {
        await bank.send({ to: tokenAddress, data: token.encode('mint', [to, amount]), label: 'mint' });
      },
    };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
