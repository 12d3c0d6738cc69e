import express from 'express';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { z } from 'zod';
import {
  parseBody,
  parseParameter,
  problemHandler,
  requireCredential,
  sendJson,
} from '../../platform/http/express-kit.ts';
import { farmFetch } from '../../platform/http/farm-fetch.ts';
import { listen } from '../../platform/http/listen.ts';
import { createLog } from '../../platform/log.ts';
import { FarmError } from '../../protocol/errors.ts';
import { problemSchema } from '../../protocol/http.ts';
import { jobIdSchema, moneySchema } from '../../protocol/ids.ts';
import { freePort } from './nats-server-fixture.ts';

const KEY = 'the-key-of-this-farm';
const never = new AbortController().signal;
const logged: unknown[] = [];

let server: Awaited<ReturnType<typeof listen>>;
beforeAll(async () => {
  const log = createLog('test', 'silent');
  vi.spyOn(log, 'error').mockImplementation((...fields: unknown[]) => void logged.push(fields));
  const app = express();
  app.post(
    '/pay',
    requireCredential([KEY, 'a-second-key']),
    express.json({ limit: 1_000 }),
    (request, response) => {
      sendJson(response, parseBody(z.strictObject({ amount: moneySchema }), request), 201);
    },
  );
  app.get('/jobs/:job', (request, response) =>
    sendJson(response, { id: parseParameter(jobIdSchema, request, 'job') }),
  );
  app.get('/fail', () => {
    throw new FarmError('BUDGET_TOO_LOW', 'too little', { kept: 'no money moved', details: { quote: 5n } });
  });
  app.get('/leak', async () => {
    throw new Error('password=hunter2');
  });
  app.use(problemHandler(log));
  server = await listen(app, 0);
});
afterAll(() => server[Symbol.asyncDispose]());

const post = (
  body: string,
  headers: Record<string, string> = { authorization: `Bearer ${KEY}` },
): Promise<Response> =>
  fetch(`${server.url}/pay`, {
    method: 'POST',
    body,
    headers: { 'content-type': 'application/json', ...headers },
  });

async function problem(response: Response) {
  expect(response.headers.get('content-type')).toContain('application/problem+json');
  return problemSchema.parse(await response.json());
}

describe('the HTTP kit', () => {
  it('lets a right credential through and writes money as text', async () => {
    const response = await post('{"amount":"79228162514264337593543950335"}');
    expect(response.status).toBe(201);
    expect(await response.text()).toBe('{"amount":"79228162514264337593543950335"}');
    expect((await post('{"amount":"1"}', { authorization: 'Bearer a-second-key' })).status).toBe(201);
  });

  it.each<[string, Record<string, string>]>([
    ['none', {}],
    ['another one', { authorization: 'Bearer wrong' }],
    ['an empty one', { authorization: 'Bearer ' }],
    ['another scheme', { authorization: `Basic ${KEY}` }],
    ['the beginning of the right one', { authorization: `Bearer ${KEY.slice(0, -1)}` }],
  ])('answers 401 to a credential that is %s', async (_what, headers) => {
    const response = await post('{"amount":"1"}', headers);
    expect(response.status).toBe(401);
    expect(await problem(response)).toMatchObject({ code: 'UNAUTHORIZED', status: 401 });
  });

  it('answers with the code, help, kept and details of an error', async () => {
    const response = await fetch(`${server.url}/fail`);
    expect(response.status).toBe(402);
    expect(await problem(response)).toEqual({
      type: 'urn:tessera:error:budget_too_low',
      title: 'BUDGET_TOO_LOW',
      status: 402,
      detail: 'too little',
      code: 'BUDGET_TOO_LOW',
      help: expect.stringContaining('--budget'),
      kept: 'no money moved',
      details: { quote: '5' },
    });
  });

  it('tells a client nothing of an unexpected error and its log everything', async () => {
    logged.length = 0;
    const response = await fetch(`${server.url}/leak`);
    expect(response.status).toBe(500);
    expect(JSON.stringify(await problem(response))).not.toContain('hunter2');
    expect(logged).toEqual([
      [
        expect.objectContaining({ err: expect.objectContaining({ message: 'password=hunter2' }) }),
        expect.any(String),
      ],
    ]);
  });

  it.each<[string, string, string]>([
    ['a field that is wrong', '{"amount":"-1"}', 'amount'],
    ['a field too many', '{"amount":"1","more":1}', 'more'],
    ['no JSON', '{"amount":', 'JSON'],
    ['nothing', '', 'amount'],
    ['no object', '[]', 'the body'],
  ])('answers 400 to a body with %s and names it', async (_what, body, named) => {
    const response = await post(body);
    expect(response.status).toBe(400);
    const { code, detail } = await problem(response);
    expect(code).toBe('MESSAGE_INVALID');
    expect(detail).toContain(named);
  });

  it('answers 413 to a body that is too large', async () => {
    const response = await post(JSON.stringify({ amount: '1'.repeat(2_000) }));
    expect(response.status).toBe(413);
    expect((await problem(response)).code).toBe('TOO_LARGE');
  });

  it('answers 404 to an id that cannot exist', async () => {
    const response = await fetch(`${server.url}/jobs/..%2f..%2fetc`);
    expect(response.status).toBe(404);
    expect((await problem(response)).code).toBe('NOT_FOUND');
  });

  it('answers a client error, not its own, to a path that is not even a path', async () => {
    const response = await fetch(`${server.url}/jobs/%E0%A4%A`);
    expect(response.status).toBeGreaterThanOrEqual(400);
    expect(response.status).toBeLessThan(500);
    expect((await problem(response)).code).not.toBe('INTERNAL');
  });
});

describe('listening', () => {
  it('says PORT_TAKEN when somebody else has the port', async () => {
    const port = Number(new URL(server.url).port);
    await expect(listen(() => undefined, port)).rejects.toMatchObject({
      code: 'PORT_TAKEN',
      message: expect.stringContaining(String(port)),
    });
  });

  it('listens on the loopback address only, and frees the port when it closes', async () => {
    const port = await freePort();
    for (let round = 0; round < 2; round++) {
      await using own = await listen((_request, response) => response.end('hello'), port);
      expect(own.url).toBe(`http://127.0.0.1:${port}`);
      expect(await (await fetch(own.url)).text()).toBe('hello');
    }
  });

  it('closes although a client keeps a stream open', async () => {
    const own = await listen((_request, response) => void response.write('first of many'), 0);
    const reader = (await fetch(own.url)).body?.getReader();
    await reader?.read();
    await own[Symbol.asyncDispose]();
    await expect(reader?.read()).rejects.toThrow();
  });
});

describe('calling a farm', () => {
  const farm = (apiUrl: string) => ({ apiUrl, credential: KEY });

  it('turns a problem back into the error that it was', async () => {
    await expect(farmFetch(farm(server.url), '/fail', { signal: never })).rejects.toMatchObject({
      code: 'BUDGET_TOO_LOW',
      message: 'too little',
      kept: 'no money moved',
      details: { quote: '5' },
    });
  });

  it('says FARM_UNREACHABLE where nobody listens', async () => {
    const nobody = `http://127.0.0.1:${await freePort()}`;
    await expect(farmFetch(farm(nobody), '/', { signal: never })).rejects.toMatchObject({
      code: 'FARM_UNREACHABLE',
      message: expect.stringContaining(nobody),
    });
  });

  it('says INTERRUPTED when it is told to stop', async () => {
    await using silent = await listen(() => undefined, 0);
    const stopping = new AbortController();
    const asking = farmFetch(farm(silent.url), '/', { signal: stopping.signal });
    stopping.abort();
    await expect(asking).rejects.toMatchObject({ code: 'INTERRUPTED' });
  });

  it('gives an answer back whose status is expected, and an error for others', async () => {
    const missing = farmFetch(farm(server.url), '/jobs/nothing', { signal: never, allow: [404] });
    expect((await missing).status).toBe(404);
    await expect(farmFetch(farm(server.url), '/jobs/nothing', { signal: never })).rejects.toMatchObject({
      code: 'NOT_FOUND',
    });
  });

  it('calls what is no problem of ours INTERNAL, with the beginning of the answer', async () => {
    await using proxy = await listen((_request, response) => {
      response.statusCode = 502;
      response.end('<html>Bad Gateway</html>');
    }, 0);
    await expect(farmFetch(farm(proxy.url), '/', { signal: never })).rejects.toMatchObject({
      code: 'INTERNAL',
      message: expect.stringMatching(/502.*Bad Gateway/),
    });
  });

  it('does not take a code for one of ours that every object has', async () => {
    const body = { type: 'x', title: 'x', status: 400, detail: 'x', code: 'toString', help: 'x' };
    await using odd = await listen((_request, response) => {
      response.statusCode = 400;
      response.end(JSON.stringify(body));
    }, 0);
    await expect(farmFetch(farm(odd.url), '/', { signal: never })).rejects.toMatchObject({
      code: 'INTERNAL',
    });
  });
});
