/** The master key that the keys of accounts are encrypted under: apart from the database, so that its backup alone opens none. */
import { chmod, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { newPrivateKey } from '../../platform/chain/signing.ts';
import { readTextIfThere, writeFileAtomic } from '../../platform/files.ts';
import { FarmError } from '../../protocol/errors.ts';
import { type Bytes32, bytes32Schema } from '../../protocol/ids.ts';

const VARIABLE = 'TESSERA_ACCOUNTS_KEY';

/** Undefined where the environment has none. Throws USAGE, without what was given. */
export function accountsKey(environment: NodeJS.ProcessEnv): Bytes32 | undefined {
  const text = environment[VARIABLE];
  return text === undefined || text === '' ? undefined : keyOf(text, VARIABLE);
}

/** The one in `accounts.key` of the folder, made on first use; only its owner may read the file. */
export async function loadAccountsKey(root: string): Promise<Bytes32> {
  const path = join(root, 'accounts.key');
  const text = await readTextIfThere(path);
  if (text !== null) {
    // What was copied here with other rights is closed before it is used.
    if (((await stat(path)).mode & 0o077) !== 0) await chmod(path, 0o600);
    return keyOf(text, path);
  }
  const made = newPrivateKey() as string as Bytes32;
  await writeFileAtomic(path, `${made}\n`);
  return made;
}

function keyOf(text: string, where: string): Bytes32 {
  const hex = text.trim().toLowerCase().replace(/^0x/, '');
  const key = bytes32Schema.safeParse(`0x${hex}`);
  if (key.success) return key.data;
  throw new FarmError('USAGE', `${where} is no key: 64 hex digits (openssl rand -hex 32)`, {
    kept: 'nothing was started',
  });
}
