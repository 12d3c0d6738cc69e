/**
 * Who may use the farm's message server: the keys that the server trusts, and the tokens (JWTs) that they sign. The
 * server knows public keys only, so a new node needs no change of it (docs/decisions/node-sign-in.md).
 */
import { encodeAccount, encodeOperator, encodeUser, type User } from 'nats-jwt';
import { createAccount, createOperator, createUser, fromPublic, fromSeed, type KeyPair } from 'nkeys.js';
import { z } from 'zod';
import type { MemberId, MemberRole } from '../../protocol/sign-in.ts';
import { readTextIfThere, writeFileAtomic } from '../files.ts';

const seedSchema = z.string().regex(/^S[OA][A-Z2-7]{56}$/, 'the seed of a NATS operator or account');

/** Seeds. Whoever has them can be anybody on the message server: never logged, in a file that only its owner reads. */
const authoritySchema = z.strictObject({ operator: seedSchema, account: seedSchema, system: seedSchema });
export type Authority = z.infer<typeof authoritySchema>;

/** What a connection signs in with: a token, and the seed of the key that the token is for. */
export type NatsCredential = { jwt: string; seed: Uint8Array };

/**
 * Bytes of one message of a node or verifier. The largest that an honest one sends is its list of kept files: 4,096
 * digests, 0.3 MB.
 */
export const MEMBER_MESSAGE_BYTES = 1024 * 1024;

/** An honest member listens to one subject: its inbox. Two, while a new connection takes the place of an old one. */
const MEMBER_SUBSCRIPTIONS = 8;

/** To the server, what is left out is 0: no connection, no JetStream. -1 is "no limit"; members have limits of their own. */
const ACCOUNT_LIMITS = {
  ...{ subs: -1, data: -1, payload: -1, conn: -1, leaf: 0, imports: 0, exports: 0, wildcards: true },
  ...{ mem_storage: -1, disk_storage: -1, streams: -1, consumer: -1 },
};

export function newAuthority(): Authority {
  return {
    operator: seedText(createOperator()),
    account: seedText(createAccount()),
    system: seedText(createAccount()),
  };
}

/** The keys in this file, made on first use. Without it the next start makes new ones, and every node signs in anew. */
export async function loadAuthority(path: string): Promise<Authority> {
  const text = await readTextIfThere(path);
  if (text !== null) return authoritySchema.parse(JSON.parse(text));
  const authority = newAuthority();
  await writeFileAtomic(path, JSON.stringify(authority));
  return authority;
}

/** What the server's configuration needs of the keys; nothing of it is secret. */
export type ServerTrust = { operatorJwt: string; systemAccount: string; accounts: Record<string, string> };

export async function serverTrust(authority: Authority): Promise<ServerTrust> {
  const [operator, account, system] = [authority.operator, authority.account, authority.system].map(pairOf);
  if (operator === undefined || account === undefined || system === undefined)
    throw new Error('an authority has three keys');
  const systemAccount = system.getPublicKey();
  return {
    operatorJwt: await encodeOperator('tessera', operator, { system_account: systemAccount }),
    systemAccount,
    accounts: {
      [account.getPublicKey()]: await encodeAccount(
        'farm',
        account,
        { limits: ACCOUNT_LIMITS },
        { signer: operator },
      ),
      // Without limits, and so without connections: nobody is let into it.
      [systemAccount]: await encodeAccount('system', system, {}, { signer: operator }),
    },
  };
}

/** A coordinator's own credential: everything in the farm's account. Its key is made here and leaves no trace. */
export async function coordinatorCredential(accountSeed: string): Promise<NatsCredential> {
  const own = createUser();
  const jwt = await encodeUser('coordinator', fromPublic(own.getPublicKey()), pairOf(accountSeed), {});
  return { jwt, seed: own.getSeed() };
}

/**
 * A token for the holder of the NATS key `natsUser`: to publish below its own name, to listen to its own inbox, and
 * nothing else, until `expiresAtMs` (in whole seconds, rounded down).
 */
export async function memberToken(
  accountSeed: string,
  member: { role: MemberRole; id: MemberId; natsUser: string },
  expiresAtMs: number,
): Promise<string> {
  const { role, id, natsUser } = member;
  const rights: Partial<User> = {
    pub: { allow: [`${role}.${id}.>`], deny: [] },
    sub: { allow: [`${inboxPrefix(id)}.>`], deny: [] },
    payload: MEMBER_MESSAGE_BYTES,
    subs: MEMBER_SUBSCRIPTIONS,
    data: -1,
    allowed_connection_types: ['STANDARD', 'WEBSOCKET'],
  };
  return await encodeUser(`${role} ${id}`, fromPublic(natsUser), pairOf(accountSeed), rights, {
    exp: Math.floor(expiresAtMs / 1_000),
  });
}

/** A NATS key of one's own. The seed never leaves the process that made it. */
export function newNatsUser(): { natsUser: string; seed: Uint8Array } {
  const pair = createUser();
  return { natsUser: pair.getPublicKey(), seed: pair.getSeed() };
}

/** Whether this is the public key of a NATS user, checksum included. */
export function isNatsUser(text: string): boolean {
  try {
    return text.startsWith('U') && fromPublic(text).getPublicKey() === text;
  } catch {
    return false;
  }
}

/** Where replies to `user` arrive. */
export function inboxPrefix(user: string): string {
  return `_INBOX_${user}`;
}

function pairOf(seed: string): KeyPair {
  return fromSeed(new TextEncoder().encode(seed));
}

function seedText(pair: KeyPair): string {
  return new TextDecoder().decode(pair.getSeed());
}
