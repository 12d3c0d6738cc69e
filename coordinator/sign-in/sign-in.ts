/** Signs nodes and verifiers in: a challenge first, a pass for the right signature (docs/decisions/node-sign-in.md). */
import { recoverSignInSigner } from '../../platform/chain/sign-in-signature.ts';
import { isNatsUser, memberToken } from '../../platform/nats/authority.ts';
import { FarmError } from '../../protocol/errors.ts';
import type { NodeId } from '../../protocol/ids.ts';
import type { Applicant, MemberPass, SignIn, SignInChallenge } from '../../protocol/sign-in.ts';
import type { CoordinatorContext } from '../context.ts';
import { requireMayJoin } from './may-join.ts';
import { isOwnNonce, isValidBlobToken, newBlobToken, newNonce, type SealKeys, sealKeys } from './seals.ts';

/** Signing takes milliseconds; the rest is for slow lines. */
const CHALLENGE_MS = 60_000;

/** A blob token outlives its pass by this, for what was begun in the last moment. */
const BLOB_GRACE_MS = 60_000;

type Parts = Pick<CoordinatorContext, 'config' | 'secrets' | 'db' | 'clock' | 'log'>;

export class SignInDesk {
  readonly #parts: Parts;
  readonly #keys: SealKeys;

  constructor(parts: Parts) {
    this.#parts = parts;
    this.#keys = sealKeys(parts.secrets.natsAccountSeed);
  }

  /** Answers either step. Throws UNAUTHORIZED with the reason; then nothing has changed. */
  async answer(request: SignIn): Promise<SignInChallenge | MemberPass> {
    const { applicant } = request;
    await this.#requireWelcome(applicant);
    return request.step === 'ask' ? this.#challenge(applicant) : await this.#admit(applicant, request);
  }

  isBlobToken(token: string): boolean {
    return isValidBlobToken(this.#keys.blobs, token, this.#parts.clock.now());
  }

  #challenge(applicant: Applicant): SignInChallenge {
    const expiresAtMs = this.#parts.clock.now() + CHALLENGE_MS;
    return { nonce: newNonce(this.#keys.challenge, applicant, expiresAtMs), expiresAtMs };
  }

  async #admit(
    applicant: Applicant,
    { challenge, signature }: Extract<SignIn, { step: 'answer' }>,
  ): Promise<MemberPass> {
    const { config, secrets, clock, log } = this.#parts;
    const { nonce, expiresAtMs } = challenge;
    const now = clock.now();
    if (!isOwnNonce(this.#keys.challenge, nonce, applicant, expiresAtMs))
      throw refusal('this farm has not given this challenge to this applicant');
    if (now >= expiresAtMs) throw refusal('the challenge has expired; ask for a new one');
    const farm = new URL(config.publicUrl).origin;
    if (recoverSignInSigner({ farm, applicant, challenge }, signature) !== applicant.address)
      throw refusal(`the signature is not one of ${applicant.address} for the farm at ${farm}`);
    await this.#useUp(challenge);
    const { role, id } = applicant;
    // A token's time is in whole seconds.
    const passEndsAtMs = Math.floor((now + config.passMs) / 1_000) * 1_000;
    log.info({ role, id, address: applicant.address, passEndsAtMs }, 'signed in');
    return {
      jwt: await memberToken(secrets.natsAccountSeed, applicant, passEndsAtMs),
      blobToken: newBlobToken(this.#keys.blobs, { role, id }, passEndsAtMs + BLOB_GRACE_MS),
      validForMs: passEndsAtMs - now,
    };
  }

  async #requireWelcome(applicant: Applicant): Promise<void> {
    const { config, db } = this.#parts;
    if (!isNatsUser(applicant.natsUser))
      throw new FarmError('MESSAGE_INVALID', 'natsUser is not the public key of a NATS user');
    requireMayJoin(config.join, applicant);
    if (applicant.role !== 'node') return;
    // A list that was changed must not hand a node's name, and its record, to somebody else.
    const id = applicant.id as string as NodeId;
    const row = await db.selectFrom('nodes').select('address').where('id', '=', id).executeTakeFirst();
    if (row !== undefined && row.address !== applicant.address)
      throw refusal(`the name ${id} belongs to another key`);
  }

  /** A challenge works once, on whichever coordinator. Only rightly signed ones get here and take room. */
  async #useUp({ nonce, expiresAtMs }: SignInChallenge): Promise<void> {
    const { db, clock } = this.#parts;
    await db.deleteFrom('sign_in_nonces').where('expires_at', '<', new Date(clock.now())).execute();
    const used = await db
      .insertInto('sign_in_nonces')
      .values({ nonce, expires_at: new Date(expiresAtMs) })
      .onConflict((conflict) => conflict.doNothing())
      .returning('nonce')
      .executeTakeFirst();
    if (used === undefined) throw refusal('this challenge has been used; ask for a new one');
  }
}

function refusal(message: string): FarmError {
  return new FarmError('UNAUTHORIZED', message, { kept: 'nothing was changed' });
}
