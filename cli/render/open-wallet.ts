/** --wallet: the keystore, opened on this machine. The key never leaves this process. */
import { openKeystore } from '../../platform/chain/keystore.ts';
import type { PrivateKey } from '../../platform/chain/signing.ts';
import { readTextIfThere } from '../../platform/files.ts';
import { FarmError } from '../../protocol/errors.ts';
import type { Terminal } from '../terminal.ts';

const PASSWORD = 'TESSERA_WALLET_PASSWORD';

/** With the password of the environment, or else from whoever sits there. Throws WALLET_UNREADABLE. */
export async function openWallet(path: string, terminal: Terminal): Promise<PrivateKey> {
  const json = await readTextIfThere(path);
  if (json === null) {
    throw new FarmError('WALLET_UNREADABLE', `there is no file ${path}`, { kept: 'nothing was submitted' });
  }
  const password = terminal.environment[PASSWORD] ?? (await terminal.askSecret(`password of ${path}: `));
  if (password === null) {
    throw new FarmError('WALLET_UNREADABLE', `nobody is there to be asked for the password of ${path}`, {
      kept: 'nothing was submitted',
    });
  }
  return await openKeystore(json, password);
}
