/**
 * How a node or verifier gets onto the message server, over HTTP in two steps: it asks for a challenge, signs it with
 * the key that it is paid to, and gets a token that is good for minutes.
 */
import { z } from 'zod';
import { API_BASE } from './http.ts';
import { addressSchema, bytes32Schema, nodeIdSchema, signatureSchema, verifierIdSchema } from './ids.ts';

export const SIGN_IN_PATH = `${API_BASE}/nodes/sign-in`;

export const memberRoleSchema = z.enum(['node', 'verifier']);
export type MemberRole = z.infer<typeof memberRoleSchema>;

export const memberIdSchema = z.union([nodeIdSchema, verifierIdSchema]);
export type MemberId = z.infer<typeof memberIdSchema>;

/** Somebody who wants to work for the farm. */
export const applicantSchema = z.strictObject({
  role: memberRoleSchema,
  id: memberIdSchema,
  address: addressSchema,
  /** Public key of the NATS key that the applicant made for this; the token is worthless without its seed. */
  natsUser: z.string().regex(/^U[A-Z2-7]{55}$/, 'the public key of a NATS user'),
});
export type Applicant = z.infer<typeof applicantSchema>;

/** What the farm asks to be signed. The same applicant has to come back with it before it expires, once. */
export const signInChallengeSchema = z.strictObject({
  nonce: bytes32Schema,
  expiresAtMs: z.number().int().min(0).max(Number.MAX_SAFE_INTEGER),
});
export type SignInChallenge = z.infer<typeof signInChallengeSchema>;

export const signInSchema = z.discriminatedUnion('step', [
  z.strictObject({ step: z.literal('ask'), applicant: applicantSchema }),
  z.strictObject({
    step: z.literal('answer'),
    applicant: applicantSchema,
    challenge: signInChallengeSchema,
    signature: signatureSchema,
  }),
]);
export type SignIn = z.infer<typeof signInSchema>;

/** A day. What is longer is no token for a short time, and what is far longer no timer can wait for. */
export const MAX_PASS_MS = 86_400_000;

/** What a member works with until it signs in again. */
export const memberPassSchema = z.strictObject({
  /** For the message server. */
  jwt: z.string().max(4_096),
  /** For the farm's blobs over HTTP. */
  blobToken: z.string().max(512),
  /** A duration, not a time: clocks differ. */
  validForMs: z.number().int().min(1).max(MAX_PASS_MS),
});
export type MemberPass = z.infer<typeof memberPassSchema>;
