/** What has to be so before a farm starts on a chain that others run. Nothing is sent here, and nothing started. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { ask } from '../../platform/chain/calls.ts';
import { registry } from '../../platform/chain/contracts.ts';
import type { Deployment } from '../../platform/chain/deployment.ts';
import { EMBEDDED_CHAIN_ID } from '../../platform/chain/embedded.ts';
import { jsonRpc } from '../../platform/chain/json-rpc.ts';
import { gasMoneyOf, requireContracts } from '../../platform/chain/require-contracts.ts';
import { addressOf, type PrivateKey } from '../../platform/chain/signing.ts';
import { FarmError } from '../../protocol/errors.ts';
import type { Bytes32 } from '../../protocol/ids.ts';
import { type FarmFolder, type FarmSecrets, readDeployment, writeDeployment } from './data-folder.ts';
import { verifierSecrets } from './members.ts';
import type { PublicFarmChain } from './public-chain.ts';

/**
 * A farm stays with its contracts: its jobs and their money are there. `asked` null: the farm's own chain. Throws USAGE where
 * the folder is that of a farm on another chain, or with other contracts.
 */
export async function requireSameChain(folder: FarmFolder, asked: Deployment | null): Promise<void> {
  const stored = await readDeployment(folder);
  const mind = { kept: 'nothing was started, nothing was changed' };
  if (asked === null) {
    if (stored === null || stored.chainId === EMBEDDED_CHAIN_ID) return;
    throw new FarmError(
      'USAGE',
      `${folder.root} is of a farm on chain ${stored.chainId} (escrow ${stored.escrowAddress}): start it with --contracts, or another one with --data`,
      mind,
    );
  }
  const own = existsSync(folder.chainState) || existsSync(join(folder.coordinator, 'db'));
  if (stored === null ? own : stored.chainId === EMBEDDED_CHAIN_ID)
    throw new FarmError(
      'USAGE',
      `${folder.root} is of a farm with a chain of its own, where its jobs and their money stay: choose another folder with --data`,
      mind,
    );
  if (stored === null) return;
  const same =
    stored.chainId === asked.chainId &&
    stored.escrowAddress === asked.escrowAddress &&
    stored.registryAddress === asked.registryAddress &&
    stored.tokenAddress === asked.tokenAddress;
  if (same) return;
  throw new FarmError(
    'USAGE',
    `${folder.root} is of a farm on chain ${stored.chainId} with the escrow ${stored.escrowAddress}, and --contracts names ${asked.escrowAddress} on chain ${asked.chainId}`,
    mind,
  );
}

/** The key that sends: the one that was given, or the folder's own. */
export function sendingKey(
  secrets: FarmSecrets,
  { coordinatorKey }: Pick<PublicFarmChain, 'coordinatorKey'>,
): Bytes32 {
  return coordinatorKey ?? secrets.coordinatorKey;
}

/**
 * Throws CHAIN_WRONG and CHAIN_NOT_READY before anything is started; says what does not stand in the way but will be missed.
 * From then on the folder is this chain's.
 */
export async function requireReadyChain(
  folder: FarmFolder,
  chain: PublicFarmChain,
  secrets: FarmSecrets,
  verifierIds: readonly string[],
  { onNote, signal }: { onNote: (note: string) => void; signal: AbortSignal },
): Promise<void> {
  const { url, deployment } = chain;
  const coordinator = addressOf(sendingKey(secrets, chain) as string as PrivateKey);
  await requireContracts(url, deployment, coordinator, signal);
  const at = deployment.registryAddress;
  const active = await ask(jsonRpc(url), registry, at, 'verifiers', [], signal);
  const own = new Map(
    verifierIds.map((id) => [id, addressOf(verifierSecrets(secrets, id).key as string as PrivateKey)]),
  );
  const outside = verifierIds.filter((id) => !active.some((one) => one === own.get(id)));
  if (outside.length === verifierIds.length)
    throw new FarmError(
      'CHAIN_NOT_READY',
      `none of this farm's verifiers (${outside.join(', ')}) is in the list of the registry ${at}, so nothing could be checked: run \`tessera join-chain\``,
      { kept: 'nothing was started' },
    );
  if (outside.length > 0)
    onNote(
      `not in the list of the registry, so it is asked for nothing: ${outside.join(', ')} (tessera join-chain)`,
    );
  const strangers = active.length + outside.length - verifierIds.length;
  if (strangers > 0)
    onNote(
      `${strangers} in the list of the registry are not this farm's: a draw that falls on one waits until its time is over`,
    );
  if ((await gasMoneyOf(url, coordinator, signal)) === 0n)
    onNote(`the coordinator ${coordinator} has nothing to pay gas with: no money moves until it has`);
  await writeDeployment(folder, deployment);
}
