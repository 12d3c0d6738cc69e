/** The nodes and verifiers that a farm starts itself, and their keys. */
import type { CoordinatorConfig } from '../../coordinator/config.ts';
import { addressOf, type PrivateKey } from '../../platform/chain/signing.ts';
import type { NodeId, VerifierId } from '../../protocol/ids.ts';
import type { FarmSecrets, StoredVerifier } from './data-folder.ts';

/** Two, so that no verdict that costs stake hangs on one; only the one that is drawn has work. */
export const OWN_VERIFIERS: readonly { id: string }[] = [{ id: 'verifier-1' }, { id: 'verifier-2' }];

/** Who this farm starts itself: they are known to it by name and key. */
export function ownMembers(
  secrets: FarmSecrets,
  nodes: readonly { id: string }[],
  verifiers: readonly { id: string }[],
): CoordinatorConfig['join']['known'] {
  const address = (key: string) => addressOf(key as PrivateKey);
  return [
    ...verifiers.map(({ id }) => ({
      role: 'verifier' as const,
      id: id as VerifierId,
      address: address(verifierSecrets(secrets, id).key),
    })),
    ...nodes.map(({ id }) => ({
      role: 'node' as const,
      id: id as NodeId,
      address: address(requireKey(secrets, id)),
    })),
  ];
}

export function requireKey(secrets: FarmSecrets, nodeId: string) {
  const key = secrets.nodeKeys[nodeId];
  if (key === undefined) throw new Error(`no key was made for ${nodeId}`);
  return key;
}

export function verifierSecrets(secrets: FarmSecrets, id: string): StoredVerifier {
  const found = secrets.verifiers[id];
  if (found === undefined) throw new Error(`no keys were made for ${id}`);
  return found;
}
