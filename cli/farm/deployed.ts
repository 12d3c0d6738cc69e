/** The contracts of a farm that has a chain of its own. */
import type { ChainTerms } from '../../platform/chain/chain.ts';
import { deployEmbedded, isDeployed } from '../../platform/chain/deploy.ts';
import type { PrivateKey } from '../../platform/chain/signing.ts';
import {
  type FarmFolder,
  type FarmSecrets,
  readDeployment,
  type StoredDeployment,
  writeDeployment,
} from './data-folder.ts';

/** The contracts of this folder; deployed where the chain does not have them (first start, or a chain that is lost). */
export async function ensureDeployed(
  folder: FarmFolder,
  chainUrl: string,
  secrets: FarmSecrets,
  terms: Partial<ChainTerms> | undefined,
  signal: AbortSignal,
): Promise<StoredDeployment> {
  const stored = await readDeployment(folder);
  if (stored !== null && (await isDeployed(chainUrl, stored, signal))) return stored;
  const deployment = await deployEmbedded(chainUrl, {
    coordinatorKey: secrets.coordinatorKey as string as PrivateKey,
    verifiers: Object.values(secrets.verifiers).map(({ key, operatorKey, head }) => ({
      verifierKey: key as string as PrivateKey,
      operatorKey: operatorKey as string as PrivateKey,
      head,
    })),
    ...(terms !== undefined && { terms }),
    signal,
  });
  await writeDeployment(folder, deployment);
  return deployment;
}
