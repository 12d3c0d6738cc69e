import type { Msg, NatsConnection, Subscription } from 'nats';
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { z } from 'zod';
import { toJson } from '../../platform/json.ts';
import { MAX_MESSAGE_BYTES } from '../../platform/nats/connection.ts';
import { ask, serve } from '../../platform/nats/exchange.ts';
import { openTaskQueue } from '../../platform/nats/task-queue.ts';
import { FarmError } from '../../protocol/errors.ts';
import { jobIdSchema, nodeIdSchema, taskIdSchema } from '../../protocol/ids.ts';
import { sceneManifestSchema } from '../../protocol/job.ts';
import { TASKS_STREAM } from '../../protocol/messages.ts';
import { type NatsFixture, startNats } from './nats-server-fixture.ts';

vi.setConfig({ testTimeout: 30_000, hookTimeout: 60_000 });

let nats: NatsFixture;
let coordinator: NatsConnection;
beforeAll(async () => {
  nats = await startNats();
  coordinator = await nats.as('coordinator');
});
afterAll(() => nats[Symbol.asyncDispose]());

/** What the server refused on this connection, oldest first. */
function refusals(connection: NatsConnection): { next(): Promise<string> } {
  const status = connection.status()[Symbol.asyncIterator]();
  return {
    async next() {
      for (;;) {
        const { value, done } = await status.next();
        if (done) throw new Error('the connection ended without a refusal');
        const update = value as { type: string; permissionContext?: { operation: string; subject: string } };
        if (update.permissionContext)
          return `${update.permissionContext.operation} ${update.permissionContext.subject}`;
      }
    },
  };
}

/** A loaded machine may take long; what is waited for comes at once on a free one. */
const PATIENT = { timeout: 30_000, interval: 10 };

describe('what an untrusted credential may do', () => {
  it.each([
    ['another node’s name', 'node.node-2.lease'],
    ['a verifier’s name', 'verifier.verifier.verdict'],
    ['JetStream', '$JS.API.STREAM.INFO.TASKS'],
    ['the list of tasks', 'task.job_a.task_a'],
    ['another node’s inbox', '_INBOX_node-2.abc'],
    ['the server’s own subjects', '$SYS.REQ.SERVER.PING'],
  ])('a node cannot publish as or on %s', async (_what, subject) => {
    const node = await nats.as('node-1');
    const refused = refusals(node);
    const heard: Msg[] = [];
    const listening = coordinator.subscribe(subject, {
      callback: (_error, message) => void heard.push(message),
    });
    await coordinator.flush();
    node.publish(subject, '{}');
    expect(await refused.next()).toBe(`publish ${subject}`);
    await coordinator.flush();
    listening.unsubscribe();
    expect(heard).toEqual([]);
    await node.close();
  });

  it.each([
    ['another node’s inbox', '_INBOX_node-2.>'],
    ['an inbox whose name begins like its own', '_INBOX_node-10.>'],
    ['the inboxes of everybody', '_INBOX.>'],
    ['requests of other nodes', 'node.*.lease'],
    ['its own requests, as a coordinator would', 'node.node-1.lease'],
    ['everything', '>'],
  ])('a node cannot listen to %s', async (_what, subject) => {
    const node = await nats.as('node-1');
    const subscription: Subscription = node.subscribe(subject, { callback: () => undefined });
    const refused = refusals(node);
    await node.flush();
    expect(await refused.next()).toBe(`subscription ${subject}`);
    expect(subscription.isClosed()).toBe(true);
    await node.close();
  });

  it('a verifier cannot publish as a node', async () => {
    const verifier = await nats.as('verifier');
    const refused = refusals(verifier);
    verifier.publish('node.node-1.complete', '{}');
    expect(await refused.next()).toBe('publish node.node-1.complete');
    await verifier.close();
  });
});

const TABLE = {
  echo: {
    request: z.strictObject({ amount: z.bigint().or(z.string()).transform(BigInt) }),
    reply: z.strictObject({ from: z.string(), amount: z.string() }),
  },
  fail: { request: z.strictObject({}), reply: z.strictObject({}) },
  leak: { request: z.strictObject({}), reply: z.strictObject({}) },
  wrong: { request: z.strictObject({}), reply: z.strictObject({ must: z.string() }) },
} as const;

describe('asking and answering', () => {
  const stopping = new AbortController();
  const seen: { error: FarmError; subject: string }[] = [];
  let serving: Promise<void>;
  let node: NatsConnection;

  beforeAll(async () => {
    serving = serve(
      coordinator,
      'node',
      TABLE,
      nodeIdSchema,
      {
        echo: async (from, { amount }) => ({ from, amount: amount.toString() }),
        fail: async () => {
          throw new FarmError('LEASE_LOST', 'the lease is over');
        },
        leak: async () => {
          throw new Error('password=hunter2 in /root/secret');
        },
        wrong: async () => ({}) as { must: string },
      },
      stopping.signal,
      (error, subject) => void seen.push({ error, subject }),
    );
    await coordinator.flush();
    node = await nats.as('node-1');
  });
  beforeEach(() => {
    seen.length = 0;
  });
  afterAll(async () => {
    stopping.abort();
    await serving;
  });

  it('carries money there and back and tells the handler who asks', async () => {
    const amount = 2n ** 95n;
    expect(await ask(node, TABLE.echo, 'node.node-1.echo', { amount }, 5_000)).toEqual({
      from: 'node-1',
      amount: amount.toString(),
    });
  });

  it('answers many questions at once, each with its own answer', async () => {
    const amounts = Array.from({ length: 50 }, (_, index) => BigInt(index));
    const answers = await Promise.all(
      amounts.map((amount) => ask(node, TABLE.echo, 'node.node-1.echo', { amount }, 5_000)),
    );
    expect(answers.map((answer) => answer.amount)).toEqual(amounts.map(String));
  });

  it('carries an error from the table with its code and message', async () => {
    await expect(ask(node, TABLE.fail, 'node.node-1.fail', {}, 5_000)).rejects.toMatchObject({
      code: 'LEASE_LOST',
      message: 'the lease is over',
    });
    expect(seen).toEqual([
      { error: expect.objectContaining({ code: 'LEASE_LOST' }), subject: 'node.node-1.fail' },
    ]);
  });

  it('tells the other side nothing of an unexpected error, but its own log everything', async () => {
    const refusal = await ask(node, TABLE.leak, 'node.node-1.leak', {}, 5_000).catch(
      (error: unknown) => error,
    );
    expect(refusal).toMatchObject({ code: 'INTERNAL', message: 'the coordinator failed; its log says why' });
    expect(seen[0]?.error.message).toContain('hunter2');
  });

  it.each<[string, string, string]>([
    ['a field of the wrong type', 'node.node-1.echo', '{"amount":{}}'],
    ['an unknown field', 'node.node-1.fail', '{"extra":1}'],
    ['no JSON', 'node.node-1.echo', 'not json'],
    ['nothing', 'node.node-1.echo', ''],
    ['an unknown verb', 'node.node-1.explode', '{}'],
    ['a verb of every object', 'node.node-1.constructor', '{}'],
  ])('answers %s with MESSAGE_INVALID', async (_what, subject, body) => {
    const reply = (await node.request(subject, body, { timeout: 5_000 })).json<{
      ok: boolean;
      code: string;
    }>();
    expect(reply).toMatchObject({ ok: false, code: 'MESSAGE_INVALID' });
  });

  it('refuses a name that is none', async () => {
    const inbox = coordinator.subscribe('_INBOX_NOT_A_NAME.1', { max: 1 });
    coordinator.publish('node.NOT_A_NAME.echo', '{"amount":"1"}', { reply: '_INBOX_NOT_A_NAME.1' });
    for await (const reply of inbox)
      expect(reply.json()).toMatchObject({ ok: false, code: 'MESSAGE_INVALID' });
    expect(inbox.getProcessed()).toBe(1);
  });

  describe('with a reply subject of the asker’s choice', () => {
    /** What arrives on the connection, whoever sent it. */
    function heardBy(connection: NatsConnection, subject: string): string[] {
      const heard: string[] = [];
      connection.subscribe(subject, { callback: (_error, message) => void heard.push(message.subject) });
      return heard;
    }
    const asks: [string, string, string][] = [
      ['a request that is answered', 'node.node-1.echo', '{"amount":"1"}'],
      ['a request that is refused', 'node.node-1.fail', '{}'],
      ['a hello', 'node.node-1.hello', '{}'],
      ['nonsense', 'node.node-1.echo', 'not json'],
    ];

    it.each(asks)('does not purge the to-do list for %s', async (_what, subject, body) => {
      await using queue = await openTaskQueue(coordinator);
      await queue.publish([
        { jobId: jobIdSchema.parse('job_kept'), taskId: taskIdSchema.parse('task_kept') },
      ]);
      const kept = await queue.depth();
      expect(kept).toBeGreaterThan(0);
      const purges = heardBy(coordinator, '$JS.API.STREAM.PURGE.TASKS');
      await coordinator.flush();
      node.publish(subject, body, { reply: '$JS.API.STREAM.PURGE.TASKS' });
      await vi.waitFor(() => expect(seen).toHaveLength(1), PATIENT);
      expect(seen[0]).toMatchObject({ subject, error: { code: 'MESSAGE_INVALID' } });
      await coordinator.flush();
      expect(purges).toEqual([]);
      expect(await queue.depth()).toBe(kept);
      await (await coordinator.jetstreamManager()).streams.purge(TASKS_STREAM);
    });

    it.each([
      ['another node’s inbox', '_INBOX_node-2.abc'],
      ['an inbox whose name begins like its own', '_INBOX_node-10.abc'],
      ['its own inbox’s bare name', '_INBOX_node-1'],
      ['the coordinator’s inbox', '_INBOX_coordinator.abc'],
      ['a request as another node', 'node.node-2.echo'],
    ])('answers nothing to %s', async (_what, reply) => {
      const other = await nats.as('node-2');
      const heard = [...(reply.startsWith('_INBOX_node-2') ? [heardBy(other, '_INBOX_node-2.>')] : [])];
      heard.push(heardBy(coordinator, reply));
      await Promise.all([other.flush(), coordinator.flush()]);
      for (const [, subject, body] of asks) node.publish(subject, body, { reply });
      await vi.waitFor(() => expect(seen).toHaveLength(asks.length), PATIENT);
      expect(seen.map((one) => one.error.code)).toEqual(asks.map(() => 'MESSAGE_INVALID'));
      await coordinator.flush();
      await other.flush();
      expect(heard.flat()).toEqual([]);
      await other.close();
    });

    it('answers nothing where no answer is wanted', async () => {
      node.publish('node.node-1.echo', '{"amount":"1"}');
      await vi.waitFor(() => expect(seen).toHaveLength(1), PATIENT);
      expect(seen[0]?.error.code).toBe('MESSAGE_INVALID');
    });
  });

  it('says MESSAGE_INVALID when the answer is not of the agreed form', async () => {
    await expect(ask(node, TABLE.wrong, 'node.node-1.wrong', {}, 5_000)).rejects.toMatchObject({
      code: 'MESSAGE_INVALID',
    });
  });

  it('does not take a code for one of ours that every object has', async () => {
    const odd = coordinator.subscribe('odd.x.echo', {
      callback: (_error, message) => void message.respond('{"ok":false,"code":"toString","message":"odd"}'),
    });
    await expect(ask(coordinator, TABLE.echo, 'odd.x.echo', { amount: 1n }, 5_000)).rejects.toMatchObject({
      code: 'INTERNAL',
    });
    odd.unsubscribe();
  });

  it('says FARM_UNREACHABLE at once when nobody listens', async () => {
    await expect(ask(coordinator, TABLE.echo, 'nobody.x.echo', { amount: 1n }, 60_000)).rejects.toMatchObject(
      {
        code: 'FARM_UNREACHABLE',
      },
    );
  });

  it('says FARM_UNREACHABLE when somebody listens and does not answer in time', async () => {
    const silent = coordinator.subscribe('silent.x.echo', { callback: () => undefined });
    await expect(ask(coordinator, TABLE.echo, 'silent.x.echo', { amount: 1n }, 50)).rejects.toMatchObject({
      code: 'FARM_UNREACHABLE',
    });
    silent.unsubscribe();
  });

  it('has room in one message for the largest scene that the farm accepts', () => {
    const files = Array.from({ length: 20_000 }, (_, index) => ({
      path: `textures/set-${index % 100}/material-${index}.png`,
      digest: 'ab'.repeat(32),
      sizeBytes: 1_000_000,
    }));
    const manifest = sceneManifestSchema.parse({ main: files[0]?.path, files });
    expect(toJson(manifest).length).toBeLessThan(MAX_MESSAGE_BYTES);
  });
});
