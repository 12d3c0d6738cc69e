/** `tessera addresses`: the accounts of a farm, as a chain knows them; nothing but addresses is shown. */
import { addressOf, type PrivateKey } from '../../platform/chain/signing.ts';
import { toJson } from '../../platform/json.ts';
import type { Address, Bytes32 } from '../../protocol/ids.ts';
import type { Terminal } from '../terminal.ts';
import { farmFolder, loadSecrets, makeFolders } from './data-folder.ts';
import { OWN_VERIFIERS, verifierSecrets } from './members.ts';
import { coordinatorKey } from './public-chain.ts';
import { sendingKey } from './require-chain.ts';

type FarmAddresses = {
  coordinator: Address;
  farm: Address;
  verifiers: { id: string; verifier: Address; operator: Address }[];
};

/** Makes the keys where there are none yet: whoever deploys the contracts has to name the coordinator. */
export async function addressesCommand(
  { data, json }: { data: string; json?: boolean },
  terminal: Terminal,
): Promise<void> {
  const given = { coordinatorKey: coordinatorKey(terminal.environment) };
  const folder = farmFolder(data);
  await makeFolders(folder);
  const ids = OWN_VERIFIERS.map(({ id }) => id);
  const secrets = await loadSecrets(folder, [], ids);
  const address = (key: Bytes32): Address => addressOf(key as string as PrivateKey);
  const addresses: FarmAddresses = {
    coordinator: address(sendingKey(secrets, given)),
    farm: address(secrets.requesterKey),
    verifiers: ids.map((id) => {
      const { key, operatorKey } = verifierSecrets(secrets, id);
      return { id, verifier: address(key), operator: address(operatorKey) };
    }),
  };
  if (json) return terminal.result(toJson({ addresses }));
  for (const line of addressLines(addresses)) terminal.result(line);
}

function addressLines({ coordinator, farm, verifiers }: FarmAddresses): string[] {
  return [
    `coordinator  ${coordinator}  sends everything: needs the chain's coin for gas, and to be the escrow's coordinator`,
    `farm         ${farm}  pays for jobs of no other account or wallet: needs the token`,
    ...verifiers.map(
      ({ id, verifier, operator }) =>
        `${id.padEnd(12)} ${operator}  stakes for ${verifier}, which checks: needs the token`,
    ),
  ];
}
