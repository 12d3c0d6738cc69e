/** Tokens on a real server: whose it takes, what a member can make of one, and how one takes over from the last. */
import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { get } from 'node:https';
import { connect as connectSocket } from 'node:net';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { Msg, NatsConnection } from 'nats';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { z } from 'zod';
import {
  memberToken,
  type NatsCredential,
  newAuthority,
  newNatsUser,
} from '../../platform/nats/authority.ts';
import { connectNats } from '../../platform/nats/connection.ts';
import { ask, serve } from '../../platform/nats/exchange.ts';
import { MemberConnection } from '../../platform/nats/member-connection.ts';
import { nodeIdSchema } from '../../protocol/ids.ts';
import { MAX_KEPT, NODE_EXCHANGES } from '../../protocol/messages.ts';
import type { MemberPass } from '../../protocol/sign-in.ts';
import { freePort, type NatsFixture, startNats } from './nats-server-fixture.ts';
import { tempFolder } from './temp-folder.ts';

vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 });

const never = new AbortController().signal;
const NODE = nodeIdSchema.parse('node-1');
const PATIENT = { timeout: 30_000, interval: 10 };

const TABLE = {
  echo: { request: z.strictObject({ text: z.string() }), reply: z.strictObject({ text: z.string() }) },
  later: { request: z.strictObject({ n: z.number() }), reply: z.strictObject({ n: z.number() }) },
} as const;

let nats: NatsFixture;
let coordinator: NatsConnection;
/** How many questions were heard, and a way to hold back the answers to `later`. */
let asked = 0;
let hold: Promise<void> = Promise.resolve();
const stopping = new AbortController();
let serving: Promise<void>;

beforeAll(async () => {
  nats = await startNats();
  coordinator = await nats.as('coordinator');
  serving = serve(
    coordinator,
    'node',
    TABLE,
    nodeIdSchema,
    {
      echo: async (_from, request) => {
        asked += 1;
        return request;
      },
      later: async (_from, request) => {
        asked += 1;
        await hold;
        return request;
      },
    },
    stopping.signal,
    () => undefined,
  );
  await coordinator.flush();
});
afterAll(async () => {
  stopping.abort();
  await serving;
  await nats[Symbol.asyncDispose]();
});

const connectWith = (credential: NatsCredential) =>
  connectNats({ url: nats.url }, NODE, () => credential, { wait: false });

describe('a token that is not for whoever has it', () => {
  it('was stolen: without the seed of its key it opens nothing', async () => {
    const { jwt } = await nats.credential(NODE);
    await expect(connectWith({ jwt, seed: newNatsUser().seed })).rejects.toMatchObject({
      code: 'UNAUTHORIZED',
    });
  });

  it('was signed by another account, or by its own holder', async () => {
    const { natsUser, seed } = newNatsUser();
    const member = { role: 'node', id: NODE, natsUser } as const;
    const jwt = await memberToken(newAuthority().account, member, Date.now() + 60_000);
    await expect(connectWith({ jwt, seed })).rejects.toMatchObject({ code: 'UNAUTHORIZED' });
  });

  it('was changed after it was signed', async () => {
    const { jwt, seed } = await nats.credential(NODE);
    const [head, body = '', signature] = jwt.split('.');
    const claims = Buffer.from(body, 'base64url').toString().replaceAll(NODE, 'node-2');
    const forged = [head, Buffer.from(claims).toString('base64url'), signature].join('.');
    await expect(connectWith({ jwt: forged, seed })).rejects.toMatchObject({ code: 'UNAUTHORIZED' });
  });

  it('has expired', async () => {
    const credential = await nats.credential(NODE, Date.now() - 1_000);
    await expect(connectWith(credential)).rejects.toMatchObject({ code: 'UNAUTHORIZED' });
  });

  it('is none: neither a bare connection nor a password opens anything', async () => {
    for (const greeting of ['{}', '{"user":"coordinator","pass":"coordinator"}'])
      expect(await rawTalk([`CONNECT ${greeting}\r\nPUB node.node-1.echo 2\r\n{}\r\n`])).toContain(
        'Authorization Violation',
      );
  });
});

/** What the server says to somebody who writes the protocol by hand, until it hangs up. */
async function rawTalk(lines: readonly string[] | ((nonce: string) => Promise<string>)): Promise<string> {
  const { hostname, port } = new URL(nats.url);
  const socket = connectSocket(Number(port), hostname);
  let heard = '';
  let begun = false;
  socket.setEncoding('utf8');
  for await (const chunk of socket as AsyncIterable<string>) {
    heard += chunk;
    if (begun || !heard.includes('\r\n')) continue;
    begun = true;
    const { nonce } = z
      .object({ nonce: z.string() })
      .parse(JSON.parse(heard.slice(5, heard.indexOf('\r\n'))));
    socket.write(typeof lines === 'function' ? await lines(nonce) : lines.join(''));
  }
  return heard;
}

describe('what a member sends that is too large or not of the form', () => {
  it('is named before it is sent, and a whole list of kept files still fits', async () => {
    const node = await nats.as(NODE);
    const before = asked;
    const text = 'x'.repeat(1_048_576);
    await expect(ask(node, TABLE.echo, 'node.node-1.echo', { text }, 5_000)).rejects.toMatchObject({
      code: 'TOO_LARGE',
      message: expect.stringContaining('node.node-1.echo'),
    });
    expect(asked).toBe(before);
    const kept = NODE_EXCHANGES.kept.request.parse({ kept: Array(MAX_KEPT).fill('ab'.repeat(32)) });
    const long = JSON.stringify(kept);
    expect(await ask(node, TABLE.echo, 'node.node-1.echo', { text: long }, 5_000)).toEqual({ text: long });
    await node.close();
  });

  it('ends the connection of somebody who sends it all the same, and reaches nobody', async () => {
    const { jwt, seed } = await nats.credential(NODE);
    const before = asked;
    const heard = await rawTalk(async (nonce) => {
      const { fromSeed } = await import('nkeys.js');
      const sig = Buffer.from(fromSeed(seed).sign(Buffer.from(nonce))).toString('base64url');
      const payload = JSON.stringify({ text: 'x'.repeat(2_000_000) });
      const greeting = JSON.stringify({ jwt, sig, protocol: 1, verbose: false });
      return `CONNECT ${greeting}\r\nPUB node.node-1.echo _INBOX_node-1.x ${payload.length}\r\n${payload}\r\n`;
    });
    expect(heard).toContain('Maximum Payload Violation');
    expect(asked).toBe(before);
  });

  it('is answered with what is wrong, where it can be read at all', async () => {
    const node = await nats.as(NODE);
    const before = asked;
    for (const body of ['{"text":1}', '{', '', '{"text":"a","more":1}', '\0'.repeat(1_000)]) {
      const reply = await node.request('node.node-1.echo', body, { timeout: 5_000 });
      expect(reply.json()).toMatchObject({ ok: false, code: 'MESSAGE_INVALID' });
    }
    expect(asked).toBe(before);
    await node.close();
  });

  it('is not listened to on more subjects than a member needs', async () => {
    const node = await nats.as(NODE);
    const heard: string[] = [];
    const subjects = Array.from({ length: 20 }, (_, index) => `_INBOX_node-1.${index}`);
    for (const subject of subjects)
      node.subscribe(subject, { callback: (_error, message) => void heard.push(message.subject) });
    await node.flush();
    for (const subject of subjects) coordinator.publish(subject);
    await coordinator.flush();
    await node.flush();
    expect(heard).toEqual(subjects.slice(0, 8));
    await node.close();
  });
});

/** A farm that lets node-1 in for `lifeMs` at a time. */
async function memberFor(lifeMs: number) {
  const { natsUser, seed } = newNatsUser();
  const passes: MemberPass[] = [];
  const notes: string[] = [];
  const farm = { away: false, signIns: 0, notes };
  const member = await MemberConnection.open(
    {
      server: { url: nats.url },
      name: NODE,
      seed,
      signIn: async () => {
        farm.signIns += 1;
        if (farm.away) throw new Error('the farm is away');
        const endsAtMs = Math.ceil((Date.now() + lifeMs) / 1_000) * 1_000;
        const member = { role: 'node', id: NODE, natsUser } as const;
        const jwt = await memberToken(nats.authority.account, member, endsAtMs);
        const pass = { jwt, blobToken: `token-${passes.length}`, validForMs: endsAtMs - Date.now() };
        passes.push(pass);
        return pass;
      },
      onNote: (_error, note) => notes.push(note),
    },
    never,
  );
  return { member, passes, farm };
}

describe('a member whose token is renewed', () => {
  it('loses no answer, neither to what it asks meanwhile nor to what it asked long before', async () => {
    const { member, passes } = await memberFor(4_000);
    let letGo: () => void = () => undefined;
    hold = new Promise((resolve) => {
      letGo = resolve;
    });
    const before = asked;
    // As a lease request that waits on the farm's side: longer than the token it was asked with lasts.
    const old = Array.from({ length: 5 }, (_, n) =>
      ask(member, TABLE.later, 'node.node-1.later', { n }, 60_000),
    );
    let count = 0;
    while (passes.length < 4) {
      const text = `question ${count}`;
      expect(await ask(member, TABLE.echo, 'node.node-1.echo', { text }, 10_000)).toEqual({ text });
      count += 1;
    }
    letGo();
    expect(await Promise.all(old)).toEqual(Array.from({ length: 5 }, (_, n) => ({ n })));
    // Each was asked once: nothing had to be repeated.
    expect(asked - before).toBe(count + 5);
    expect(member.pass.blobToken).toBe(passes.at(-1)?.blobToken);
    await member.close();
  });

  it('is thrown out when it can no longer sign in, and is back when it can', async () => {
    const { member, farm } = await memberFor(2_000);
    farm.away = true;
    await vi.waitFor(
      () =>
        expect(ask(member, TABLE.echo, 'node.node-1.echo', { text: 'x' }, 2_000)).rejects.toMatchObject({
          code: 'FARM_UNREACHABLE',
        }),
      PATIENT,
    );
    expect(farm.notes.length).toBeGreaterThan(0);
    farm.away = false;
    const back = () => ask(member, TABLE.echo, 'node.node-1.echo', { text: 'back' }, 2_000);
    expect(await vi.waitFor(back, PATIENT)).toEqual({ text: 'back' });
    await member.close();
  });

  it('says at once that nobody listens, and that it was closed to whoever waits', async () => {
    const { member } = await memberFor(60_000);
    await expect(ask(member, TABLE.echo, 'node.node-1.x.y', { text: '' }, 60_000)).rejects.toMatchObject({
      code: 'FARM_UNREACHABLE',
      message: expect.stringContaining('nobody'),
    });
    hold = new Promise(() => undefined);
    const waiting = ask(member, TABLE.later, 'node.node-1.later', { n: 1 }, 60_000);
    const told = expect(waiting).rejects.toMatchObject({ code: 'INTERRUPTED' });
    await member.close();
    await told;
    hold = Promise.resolve();
  });

  it('is not let in at all by a farm that refuses it', async () => {
    const { seed } = newNatsUser();
    const jwt = (await nats.credential(NODE)).jwt;
    const opening = MemberConnection.open(
      {
        server: { url: nats.url },
        name: NODE,
        seed,
        signIn: async () => ({ jwt, blobToken: '', validForMs: 60_000 }),
        onNote: () => undefined,
      },
      never,
    );
    await expect(opening).rejects.toMatchObject({ code: 'UNAUTHORIZED' });
  });
});

describe('an encrypted server', () => {
  it('is trusted by its certificate only, on the plain listener and the one for WebSockets', async () => {
    await using folder = await tempFolder();
    const [certFile, keyFile] = [join(folder.path, 'cert.pem'), join(folder.path, 'key.pem')];
    await promisify(execFile)('openssl', [
      ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'],
      ...['-keyout', keyFile, '-out', certFile, '-days', '2', '-subj', '/CN=farm'],
      ...['-addext', 'subjectAltName=IP:127.0.0.1,DNS:localhost'],
    ]);
    const websocketPort = await freePort();
    await using secure = await startNats({ tls: { certFile, keyFile }, caFile: certFile, websocketPort });
    const inside = await secure.as('coordinator');
    const heard: Msg[] = [];
    inside.subscribe('node.node-1.hello', { callback: (_error, message) => void heard.push(message) });
    await inside.flush();
    const node = await secure.as(NODE);
    node.publish('node.node-1.hello', 'over TLS');
    await vi.waitFor(() => expect(heard.map((one) => one.string())).toEqual(['over TLS']), PATIENT);
    const credential = await secure.credential(NODE);
    const { url } = secure;
    const trusting = (server: { url: string; caFile?: string }) =>
      connectNats(server, NODE, () => credential, { wait: false });
    await expect(trusting({ url })).rejects.toMatchObject({ code: 'FARM_UNREACHABLE' });
    // Somebody in between who offers no encryption at all is not talked to either.
    await expect(trusting({ url: nats.url, caFile: certFile })).rejects.toMatchObject({
      code: 'FARM_UNREACHABLE',
    });
    expect(await websocketGreeting(websocketPort, certFile)).toContain('"auth_required":true');
  });
});

/** The first thing that the server says on a WebSocket. */
async function websocketGreeting(port: number, caFile: string): Promise<string> {
  const { readFile } = await import('node:fs/promises');
  const ca = await readFile(caFile);
  return await new Promise((resolve, reject) => {
    get({
      ...{ host: '127.0.0.1', port, ca },
      headers: {
        connection: 'Upgrade',
        upgrade: 'websocket',
        'sec-websocket-version': '13',
        'sec-websocket-key': randomBytes(16).toString('base64'),
      },
    })
      .on('upgrade', (_response, socket, head) => {
        let heard = head.toString('utf8');
        const look = (): void => {
          if (!heard.includes('INFO {') || !heard.includes('\r\n')) return;
          socket.destroy();
          resolve(heard);
        };
        socket.on('data', (chunk: Buffer) => {
          heard += chunk.toString('utf8');
          look();
        });
        look();
      })
      .on('error', reject);
  });
}
