/** A farm's chain, read directly: what a stranger would see. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { readDeployment } from '../../cli/farm/data-folder.ts';
import type { FarmChain } from '../../platform/chain/chain.ts';
import { ethersChain } from '../../platform/chain/ethers-chain.ts';
import { newPrivateKey } from '../../platform/chain/signing.ts';
import type { TestFarm } from './farm.ts';

/** Reads only: the key has no money and no role. */
export async function chainOf(farm: TestFarm): Promise<FarmChain> {
  const deployment = await readDeployment(farm.folder);
  if (deployment === null) throw new Error('the farm has no contracts');
  return ethersChain({
    ...deployment,
    url: await chainUrlOf(farm),
    coordinatorKey: newPrivateKey(),
    embedded: null,
  });
}

/** Where the farm's chain answers. */
export async function chainUrlOf(farm: TestFarm): Promise<string> {
  const file: unknown = JSON.parse(await readFile(join(farm.folder.run, 'coordinator.json'), 'utf8'));
  const { config } = z.object({ config: z.object({ chainUrl: z.string() }) }).parse(file);
  return config.chainUrl;
}
