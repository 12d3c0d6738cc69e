/** A wallet's key out of an encrypted JSON keystore (version 3), as geth, ethers and most wallets write it. */
import { FarmError } from '../../protocol/errors.ts';
import type { PrivateKey } from './signing.ts';

/** Takes seconds, by design of the format. Throws WALLET_UNREADABLE, without anything of the file or the password. */
export async function openKeystore(json: string, password: string): Promise<PrivateKey> {
  // Few commands open one, and it brings all of ethers along.
  const { decryptKeystoreJson, isKeystoreJson } = await import('ethers/wallet');
  if (!isKeystoreJson(json)) throw unreadable('it is no encrypted JSON keystore');
  try {
    return (await decryptKeystoreJson(json, password)).privateKey as PrivateKey;
  } catch {
    throw unreadable('the password does not open it, or it is damaged');
  }
}

function unreadable(why: string): FarmError {
  return new FarmError('WALLET_UNREADABLE', `the wallet cannot be opened: ${why}`, {
    kept: 'nothing was signed, nothing was submitted',
  });
}
