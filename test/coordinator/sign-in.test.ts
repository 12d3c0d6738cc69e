/** Signing in over HTTP, as nodes do and as others try to. */
import { decode, type User } from 'nats-jwt';
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { AdmissionLoop } from '../../coordinator/admission/admission-loop.ts';
import { createApp } from '../../coordinator/api/app.ts';
import { nameOfStranger } from '../../coordinator/sign-in/may-join.ts';
import { Scenes } from '../../coordinator/submission/scenes.ts';
import { digestBytes } from '../../platform/blobs/digest-file.ts';
import { HttpBlobs } from '../../platform/blobs/http-blobs.ts';
import { signSignIn } from '../../platform/chain/sign-in-signature.ts';
import { addressOf, newPrivateKey, type PrivateKey } from '../../platform/chain/signing.ts';
import { listen } from '../../platform/http/listen.ts';
import { toJson } from '../../platform/json.ts';
import { newNatsUser } from '../../platform/nats/authority.ts';
import { signIn } from '../../platform/nats/join-farm.ts';
import { problemSchema } from '../../protocol/http.ts';
import { nodeIdSchema } from '../../protocol/ids.ts';
import {
  type Applicant,
  memberPassSchema,
  SIGN_IN_PATH,
  type SignInChallenge,
  signInChallengeSchema,
} from '../../protocol/sign-in.ts';
import { type TestCoordinator, testCoordinator } from '../support/coordinator-context.ts';

vi.setConfig({ testTimeout: 30_000, hookTimeout: 120_000 });

const never = new AbortController().signal;
const KNOWN = newPrivateKey();
const VERIFIER = newPrivateKey();

let farm: TestCoordinator;
let http: Awaited<ReturnType<typeof listen>>;
beforeAll(async () => {
  farm = await testCoordinator();
  const app = createApp(
    farm.context,
    new Scenes(farm.context),
    new AdmissionLoop(farm.context, () => undefined),
    // Whether the rest of the farm answers is of no matter here.
    { ask: async () => ({ ok: true, parts: {} }) } as never,
    () => undefined,
    never,
  );
  http = await listen(app, 0);
});
beforeEach(async () => {
  farm.context.config.publicUrl = http.url;
  farm.context.config.join = {
    who: 'known',
    known: [
      { role: 'node', id: nodeIdSchema.parse('mine'), address: addressOf(KNOWN) },
      { role: 'verifier', id: nodeIdSchema.parse('verifier'), address: addressOf(VERIFIER) },
    ],
  };
  await farm.db.deleteFrom('sign_in_nonces').execute();
});
afterAll(async () => {
  await http[Symbol.asyncDispose]();
  await farm[Symbol.asyncDispose]();
});

function applicant(key: PrivateKey, id = 'mine', role: Applicant['role'] = 'node'): Applicant {
  return { role, id: nodeIdSchema.parse(id), address: addressOf(key), natsUser: newNatsUser().natsUser };
}

const send = (body: string): Promise<Response> =>
  fetch(new URL(SIGN_IN_PATH, http.url), {
    method: 'POST',
    body,
    headers: { 'content-type': 'application/json' },
  });

async function challengeFor(who: Applicant): Promise<SignInChallenge> {
  const response = await send(toJson({ step: 'ask', applicant: who }));
  return signInChallengeSchema.parse(await response.json());
}

/** The second step, with what a test makes of it. */
async function answer(
  who: Applicant,
  challenge: SignInChallenge,
  { key = KNOWN, signedFor = http.url, signedBy = who, signed = challenge } = {},
): Promise<Response> {
  const terms = { farm: signedFor, applicant: signedBy, challenge: signed };
  return await send(toJson({ step: 'answer', applicant: who, challenge, signature: signSignIn(terms, key) }));
}

/** That it was refused for this reason, and that nothing is different afterwards. */
async function expectRefused(response: Response, detail: string, code = 'UNAUTHORIZED'): Promise<void> {
  const problem = problemSchema.parse(await response.json());
  expect(problem).toMatchObject({ code, detail: expect.stringContaining(detail) });
  expect(await farm.db.selectFrom('sign_in_nonces').select('nonce').execute()).toEqual([]);
}

describe('a member that signs in', () => {
  it('gets a token for its own key, its own subjects and a few minutes', async () => {
    const who = applicant(KNOWN);
    const before = farm.clock.now();
    const pass = await signIn(http.url, who, KNOWN, never);
    const claims = decode<User>(pass.jwt);
    expect(claims.sub).toBe(who.natsUser);
    expect(claims.nats.pub).toEqual({ allow: ['node.mine.>'], deny: [] });
    expect(claims.nats.sub).toEqual({ allow: ['_INBOX_mine.>'], deny: [] });
    expect(claims.nats).toMatchObject({ subs: 8, payload: 1_048_576 });
    expect(pass.validForMs).toBeGreaterThan(farm.context.config.passMs - 1_000);
    expect((claims.exp ?? 0) * 1_000).toBeLessThanOrEqual(before + farm.context.config.passMs);
  });

  it('signs in again and again, also as another run of itself', async () => {
    const who = applicant(KNOWN);
    await signIn(http.url, who, KNOWN, never);
    await signIn(http.url, who, KNOWN, never);
    expect((await signIn(http.url, applicant(KNOWN), KNOWN, never)).jwt).not.toBe('');
  });

  it('gets the subjects of a verifier as a verifier', async () => {
    const pass = await signIn(http.url, applicant(VERIFIER, 'verifier', 'verifier'), VERIFIER, never);
    expect(decode<User>(pass.jwt).nats.pub?.allow).toEqual(['verifier.verifier.>']);
  });

  it('sends and fetches blobs until its token ends, and does nothing else over HTTP', async () => {
    const { blobToken } = await signIn(http.url, applicant(KNOWN), KNOWN, never);
    const blobs = new HttpBlobs({ apiUrl: http.url, credential: blobToken });
    const bytes = new TextEncoder().encode('a tile');
    expect(await blobs.putBytes(bytes, never)).toBe(digestBytes(bytes));
    expect(await blobs.has(digestBytes(bytes), never)).toBe(true);
    const ask = (path: string, token = blobToken) =>
      fetch(new URL(path, http.url), { headers: { authorization: `Bearer ${token}` } });
    for (const path of ['/api/v1/farm', '/api/v1/jobs', '/api/v1/nodes'])
      expect((await ask(path)).status).toBe(401);
    const blob = `/api/v1/blobs/${digestBytes(bytes)}`;
    const later = blobToken.replace(/\d{13}/, (time) => String(Number(time) + 86_400_000));
    const other = blobToken.replace('mine', 'yours');
    for (const forged of [later, other, `${blobToken}x`, blobToken.slice(0, -1), 'tsb_'])
      expect((await ask(blob, forged)).status).toBe(401);
    expect((await ask(blob)).status).toBe(200);
    farm.clock.advance(farm.context.config.passMs + 60_001);
    expect((await ask(blob)).status).toBe(401);
  });
});

describe('who may join', () => {
  const stranger = newPrivateKey();

  it.each<[string, () => Applicant, string]>([
    ['a key that the farm does not know', () => applicant(stranger, 'nobody'), 'not one of the nodes'],
    ['another key under a known name', () => applicant(stranger), 'belongs to another key'],
    ['a known key under another name', () => applicant(KNOWN, 'yours'), 'not one of the nodes'],
    ['a node as a verifier', () => applicant(KNOWN, 'mine', 'verifier'), "not one of this farm's verifiers"],
    [
      'a name that is made from a stranger’s address, where strangers are not wanted',
      () => applicant(stranger, nameOfStranger(addressOf(stranger))),
      'not one of the nodes',
    ],
  ])('refuses %s', async (_what, who, detail) => {
    await expectRefused(await send(toJson({ step: 'ask', applicant: who() })), detail);
  });

  it('takes anyone under the name made from the key, where the farm is open', async () => {
    farm.context.config.join.who = 'anyone';
    const name = nameOfStranger(addressOf(stranger));
    const pass = await signIn(http.url, applicant(stranger, name), stranger, never);
    expect(decode<User>(pass.jwt).nats.pub?.allow).toEqual([`node.${name}.>`]);
  });

  it('gives nobody a name of their own choice, and nobody the place of a verifier, where it is open', async () => {
    farm.context.config.join.who = 'anyone';
    const wanted = `goes by ${nameOfStranger(addressOf(stranger))}`;
    const refused = (who: Applicant, detail: string) =>
      send(toJson({ step: 'ask', applicant: who })).then((response) => expectRefused(response, detail));
    await refused(applicant(stranger, 'famous'), wanted);
    await refused(applicant(stranger), 'belongs to another key');
    await refused(applicant(stranger, 'v2', 'verifier'), 'verifiers');
  });

  it('refuses a name that another key has worked under, whatever the list says now', async () => {
    const node = await farm.addNode();
    const heir = newPrivateKey();
    farm.context.config.join.known.push({ role: 'node', id: node.id, address: addressOf(heir) });
    const asking = send(toJson({ step: 'ask', applicant: applicant(heir, node.id) }));
    await expectRefused(await asking, 'belongs to another key');
  });
});

describe('what does not get in', () => {
  it('a signature by another key', async () => {
    const who = applicant(KNOWN);
    await expectRefused(
      await answer(who, await challengeFor(who), { key: newPrivateKey() }),
      'signature is not',
    );
  });

  it('an answer that was used before', async () => {
    const who = applicant(KNOWN);
    const challenge = await challengeFor(who);
    expect(memberPassSchema.safeParse(await (await answer(who, challenge)).json()).success).toBe(true);
    const again = problemSchema.parse(await (await answer(who, challenge)).json());
    expect(again).toMatchObject({ code: 'UNAUTHORIZED', detail: expect.stringContaining('has been used') });
  });

  it('two answers to one challenge at the same time, but for one of them', async () => {
    const who = applicant(KNOWN);
    const challenge = await challengeFor(who);
    const answers = await Promise.all(Array.from({ length: 8 }, () => answer(who, challenge)));
    expect(answers.map(({ status }) => status).sort()).toEqual([200, ...Array(7).fill(401)]);
  });

  it('an answer after a minute', async () => {
    const who = applicant(KNOWN);
    const challenge = await challengeFor(who);
    farm.clock.advance(60_000);
    await expectRefused(await answer(who, challenge), 'expired');
  });

  it('a challenge whose end was put off', async () => {
    const who = applicant(KNOWN);
    const challenge = await challengeFor(who);
    const later = { ...challenge, expiresAtMs: challenge.expiresAtMs + 1 };
    await expectRefused(await answer(who, later), 'has not given this challenge');
  });

  it('a challenge of the applicant’s own making', async () => {
    const { expiresAtMs } = await challengeFor(applicant(KNOWN));
    const nonce = signInChallengeSchema.shape.nonce.parse(newPrivateKey());
    await expectRefused(await answer(applicant(KNOWN), { nonce, expiresAtMs }), 'has not given');
  });

  it('somebody’s answer, for another NATS key', async () => {
    const victim = applicant(KNOWN);
    const challenge = await challengeFor(victim);
    const thief = { ...victim, natsUser: newNatsUser().natsUser };
    await expectRefused(await answer(thief, challenge, { signedBy: victim }), 'has not given this challenge');
    // Not with a challenge of the thief's own either, which the victim has not signed.
    const own = await challengeFor(thief);
    const stolen = await answer(thief, own, { signedBy: victim, signed: challenge });
    await expectRefused(stolen, 'signature is not');
  });

  it('an answer that was meant for another farm, which passed the challenge on', async () => {
    const who = applicant(KNOWN);
    const relayed = await answer(who, await challengeFor(who), { signedFor: 'https://evil.example' });
    await expectRefused(relayed, `for the farm at ${http.url}`);
  });

  it.each([
    ['no JSON', 'x', 'MESSAGE_INVALID'],
    ['nothing', '{}', 'MESSAGE_INVALID'],
    ['a step that there is not', '{"step":"steal"}', 'MESSAGE_INVALID'],
    ['a megabyte', JSON.stringify({ step: 'ask', applicant: 'x'.repeat(1_000_000) }), 'TOO_LARGE'],
  ])('%s', async (_what, body, code) => {
    await expectRefused(await send(body), '', code);
  });

  it.each<[string, Record<string, unknown>]>([
    ['a name with a wildcard', { id: '*' }],
    ['a name of two subjects', { id: 'mine.lease' }],
    ['a role of its own', { role: 'coordinator' }],
    ['an account in place of a user', { natsUser: `A${'A'.repeat(55)}` }],
    ['a NATS key with a wrong checksum', { natsUser: `U${'A'.repeat(55)}` }],
    ['an unknown field', { admin: true }],
  ])('%s', async (_what, change) => {
    const asking = send(toJson({ step: 'ask', applicant: { ...applicant(KNOWN), ...change } }));
    await expectRefused(await asking, '', 'MESSAGE_INVALID');
  });
});

it('forgets used challenges when they would have expired', async () => {
  await signIn(http.url, applicant(KNOWN), KNOWN, never);
  farm.clock.advance(61_000);
  await signIn(http.url, applicant(KNOWN), KNOWN, never);
  expect(await farm.db.selectFrom('sign_in_nonces').select('nonce').execute()).toHaveLength(1);
});
