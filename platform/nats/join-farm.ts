/** How a node or verifier gets onto a farm: signs in over HTTP, then works over the message server. */
import { FarmError } from '../../protocol/errors.ts';
import {
  type Applicant,
  type MemberPass,
  memberPassSchema,
  SIGN_IN_PATH,
  type SignIn,
  signInChallengeSchema,
} from '../../protocol/sign-in.ts';
import { HttpBlobs } from '../blobs/http-blobs.ts';
import { signSignIn } from '../chain/sign-in-signature.ts';
import { addressOf, type PrivateKey } from '../chain/signing.ts';
import { farmFetch } from '../http/farm-fetch.ts';
import { toJson } from '../json.ts';
import type { Log } from '../log.ts';
import { newNatsUser } from './authority.ts';
import { MemberConnection } from './member-connection.ts';

/** Where the farm is. */
export type FarmPlace = { apiUrl: string; natsUrl: string; natsCaFile?: string | undefined };

export type Joining = Pick<Applicant, 'role' | 'id'> & { key: PrivateKey };

/** Each step costs the farm a millisecond; one that takes this long hangs. */
const SIGN_IN_TIMEOUT_MS = 15_000;

/**
 * Signs in, connects, and stays signed in until `nats` is closed. A farm that does not answer yet is waited for. Throws
 * UNAUTHORIZED when it does not take this key under this name, INTERRUPTED when `signal` aborts before.
 */
export async function joinFarm(
  { apiUrl, natsUrl, natsCaFile }: FarmPlace,
  { role, id, key }: Joining,
  log: Log,
  signal: AbortSignal,
): Promise<{ nats: MemberConnection; blobs: HttpBlobs }> {
  const { natsUser, seed } = newNatsUser();
  const applicant = { role, id, address: addressOf(key), natsUser };
  const nats = await MemberConnection.open(
    {
      server: { url: natsUrl, caFile: natsCaFile },
      name: id,
      seed,
      signIn: (stop) => signIn(apiUrl, applicant, key, stop),
      onNote: (error, note) => log.warn({ err: error }, note),
    },
    signal,
  );
  // Read at every request: each sign-in brings a new one.
  const address = {
    apiUrl,
    get credential() {
      return nats.pass.blobToken;
    },
  };
  return { nats, blobs: new HttpBlobs(address) };
}

/** One challenge, one answer, one pass. */
export async function signIn(
  apiUrl: string,
  applicant: Applicant,
  key: PrivateKey,
  signal: AbortSignal,
): Promise<MemberPass> {
  const farm = new URL(apiUrl).origin;
  const challenge = signInChallengeSchema.safeParse(await post(apiUrl, { step: 'ask', applicant }, signal));
  if (!challenge.success) throw notOurs(apiUrl);
  const signature = signSignIn({ farm, applicant, challenge: challenge.data }, key);
  const answer = { step: 'answer' as const, applicant, challenge: challenge.data, signature };
  const pass = memberPassSchema.safeParse(await post(apiUrl, answer, signal));
  if (!pass.success) throw notOurs(apiUrl);
  return pass.data;
}

async function post(apiUrl: string, body: SignIn, signal: AbortSignal): Promise<unknown> {
  const patience = AbortSignal.any([signal, AbortSignal.timeout(SIGN_IN_TIMEOUT_MS)]);
  try {
    const response = await farmFetch({ apiUrl }, SIGN_IN_PATH, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: toJson(body),
      signal: patience,
    });
    return await response.json();
  } catch (error) {
    if (!patience.aborted || signal.aborted) throw error;
    throw new FarmError('FARM_UNREACHABLE', `the farm at ${apiUrl} does not answer`, { cause: error });
  }
}

function notOurs(apiUrl: string): FarmError {
  return new FarmError('MESSAGE_INVALID', `what answers at ${apiUrl} is no farm of this version`);
}
