/**
 * Texts that only this farm can have made: challenges and blob tokens. Nothing is stored for them, so that a stranger who
 * asks for a million challenges takes no room, and any coordinator of the farm takes what another one gave. Pure, apart
 * from the randomness of a nonce.
 */
import { createHmac, hkdfSync, randomBytes, timingSafeEqual } from 'node:crypto';
import type { Bytes32 } from '../../protocol/ids.ts';
import type { Applicant, MemberId, MemberRole } from '../../protocol/sign-in.ts';

/** A key for each purpose, made from the farm's one secret: a seal of one kind is never a seal of the other. */
export type SealKeys = { challenge: Buffer; blobs: Buffer };

export function sealKeys(secret: string): SealKeys {
  const derive = (purpose: string): Buffer => Buffer.from(hkdfSync('sha256', secret, '', purpose, 32));
  return { challenge: derive('tessera sign-in challenge'), blobs: derive('tessera blob token') };
}

/** Half of a nonce is random, half is the farm's seal over it, the applicant and the time. */
const HALF_BYTES = 16;

export function newNonce(key: Buffer, applicant: Applicant, expiresAtMs: number): Bytes32 {
  const random = randomBytes(HALF_BYTES);
  return `0x${Buffer.concat([random, challengeSeal(key, random, applicant, expiresAtMs)]).toString('hex')}` as Bytes32;
}

/** Whether this farm gave this nonce to this very applicant, with this end. */
export function isOwnNonce(key: Buffer, nonce: Bytes32, applicant: Applicant, expiresAtMs: number): boolean {
  const bytes = Buffer.from(nonce.slice(2), 'hex');
  const seal = challengeSeal(key, bytes.subarray(0, HALF_BYTES), applicant, expiresAtMs);
  return timingSafeEqual(bytes.subarray(HALF_BYTES), seal);
}

function challengeSeal(key: Buffer, random: Buffer, applicant: Applicant, expiresAtMs: number): Buffer {
  const { role, id, address, natsUser } = applicant;
  const text = JSON.stringify([random.toString('hex'), role, id, address, natsUser, expiresAtMs]);
  return createHmac('sha256', key).update(text).digest().subarray(0, HALF_BYTES);
}

/** Lets a member send and fetch blobs until `expiresAtMs`. Says whose it is, so that a log can. */
export function newBlobToken(
  key: Buffer,
  member: { role: MemberRole; id: MemberId },
  expiresAtMs: number,
): string {
  const claim = `${member.role}.${member.id}.${expiresAtMs}`;
  return `tsb_${claim}.${blobSeal(key, claim)}`;
}

export function isValidBlobToken(key: Buffer, token: string, nowMs: number): boolean {
  const [, claim, expiresAt, seal] = /^tsb_([a-z]+\.[a-z0-9-]+\.(\d{1,16}))\.([\w-]{43})$/.exec(token) ?? [];
  if (claim === undefined || seal === undefined) return false;
  const own = timingSafeEqual(Buffer.from(seal), Buffer.from(blobSeal(key, claim)));
  return own && nowMs < Number(expiresAt);
}

function blobSeal(key: Buffer, claim: string): string {
  return createHmac('sha256', key).update(claim).digest('base64url');
}
