/**
 * An account's key as it lies in the database: AES-256-GCM under the farm's master key. Whose key it is, is authenticated
 * with it, so that the key of one account, put into the row of another, does not open.
 */
import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';
import type { Bytes32 } from '../../protocol/ids.ts';
import type { PrivateKey } from './signing.ts';

const CIPHER = 'aes-256-gcm';
/** What GCM is made for; at random it is good for 2^32 keys under one master key. */
const NONCE_BYTES = 12;
/** The longest there is: a shorter one is easier to forge. */
const TAG_BYTES = 16;
const VERSION = 'v1';

/** `v1`, the nonce, the tag and the encrypted key, with dots between them. */
export function sealKey(key: PrivateKey, account: string, masterKey: Bytes32): string {
  const nonce = randomBytes(NONCE_BYTES);
  const cipher = createCipheriv(CIPHER, bytesOf(masterKey), nonce, { authTagLength: TAG_BYTES });
  cipher.setAAD(boundTo(account));
  const sealed = Buffer.concat([cipher.update(bytesOf(key)), cipher.final()]);
  return [VERSION, ...[nonce, cipher.getAuthTag(), sealed].map((part) => part.toString('base64url'))].join(
    '.',
  );
}

/** Null when it was not sealed for this account under this master key, or was changed since. */
export function unsealKey(text: string, account: string, masterKey: Bytes32): PrivateKey | null {
  const [version, ...parts] = text.split('.');
  const [nonce, tag, sealed] = parts.map((part) => Buffer.from(part, 'base64url'));
  if (version !== VERSION || nonce?.length !== NONCE_BYTES || tag?.length !== TAG_BYTES) return null;
  if (sealed?.length !== 32) return null;
  const decipher = createDecipheriv(CIPHER, bytesOf(masterKey), nonce, { authTagLength: TAG_BYTES });
  decipher.setAAD(boundTo(account));
  decipher.setAuthTag(tag);
  try {
    return `0x${Buffer.concat([decipher.update(sealed), decipher.final()]).toString('hex')}` as PrivateKey;
  } catch {
    return null;
  }
}

function boundTo(account: string): Buffer {
  return Buffer.from(`tessera account key ${VERSION} of ${account}`);
}

function bytesOf(hex: string): Buffer {
  return Buffer.from(hex.slice(2), 'hex');
}
