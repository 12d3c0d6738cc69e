import { join } from 'node:path';
import express from 'express';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { z } from 'zod';
import { readGauges } from '../../coordinator/observing/farm-gauges.ts';
import { createMetrics } from '../../coordinator/observing/metrics.ts';
import { observeEvents } from '../../coordinator/observing/observe-events.ts';
import { observeNodes } from '../../coordinator/observing/observe-nodes.ts';
import { Readiness } from '../../coordinator/observing/readiness.ts';
import { observeRequests, observingRoutes, readinessOf } from '../../coordinator/observing/routes.ts';
import { startAnvil } from '../../platform/chain/embedded.ts';
import { ethersChain } from '../../platform/chain/ethers-chain.ts';
import { newPrivateKey } from '../../platform/chain/signing.ts';
import { listen } from '../../platform/http/listen.ts';
import { createLog } from '../../platform/log.ts';
import { FarmError } from '../../protocol/errors.ts';
import { jobIdSchema } from '../../protocol/ids.ts';
import { freePort, startNats } from '../platform/nats-server-fixture.ts';
import { tempFolder } from '../platform/temp-folder.ts';
import { type TestCoordinator, testCoordinator } from '../support/coordinator-context.ts';

const { signal } = new AbortController();
const ALL_UP = {
  database: { ok: true, ms: 0 },
  messages: { ok: true, ms: 0 },
  chain: { ok: true, ms: 0 },
} as const;

let farm: TestCoordinator;
beforeAll(async () => {
  farm = await testCoordinator();
});
afterAll(() => farm[Symbol.asyncDispose]());

const readySchema = z.strictObject({
  ok: z.boolean(),
  parts: z.record(z.string(), z.object({ ok: z.boolean(), reason: z.string().optional() })),
});

/** A server with the routes; `until` asks again until the answer has this status. */
async function serveRoutes(readiness: Readiness, context = farm.context) {
  const app = express();
  app.use(observeRequests(context.metrics));
  app.use(observingRoutes(context, readiness));
  const http = await listen(app, 0);
  const ready = async () => {
    const response = await fetch(`${http.url}/readyz`);
    const { ok, parts } = readySchema.parse(await response.json());
    const down = Object.entries(parts).flatMap(([part, state]) => (state.ok ? [] : [part]));
    return { status: response.status, ok, down, text: JSON.stringify(parts) };
  };
  return {
    url: http.url,
    ready,
    async until(status: number) {
      for (;;) {
        const answer = await ready();
        if (answer.status === status) return answer;
      }
    },
    [Symbol.asyncDispose]: () => http[Symbol.asyncDispose](),
  };
}

describe('/readyz', () => {
  it('says which part is down when message server or chain is killed, and comes back with them', async () => {
    await using folder = await tempFolder();
    const chainPort = await freePort();
    const chainAt = { stateFile: join(folder.path, 'chain.json'), port: chainPort, signal };
    let anvil = await startAnvil(chainAt);
    await using nats = await startNats();
    const { tokenAddress, escrowAddress, registryAddress } = farm.context.chain;
    const chain = ethersChain({
      ...{ url: anvil.url, chainId: 31_337, tokenAddress, escrowAddress, registryAddress, deployedBlock: 0 },
      embedded: null,
      coordinatorKey: newPrivateKey(),
    });
    const connection = await nats.as('coordinator');
    await using server = await serveRoutes(readinessOf({ ...farm.context, chain }, connection));
    expect(await server.ready()).toMatchObject({ status: 200, ok: true, down: [] });

    process.kill(anvil.pid, 'SIGKILL');
    await anvil.exited;
    expect(await server.until(503)).toMatchObject({ ok: false, down: ['chain'] });
    // Alive all the same: a restart of this process would mend nothing.
    expect((await fetch(`${server.url}/healthz`)).status).toBe(200);
    anvil = await startAnvil(chainAt);
    expect(await server.until(200)).toMatchObject({ ok: true, down: [] });

    await nats.kill();
    const without = await server.until(503);
    expect(without).toMatchObject({ ok: false, down: ['messages'] });
    expect(without.text).not.toContain('127.0.0.1');
    await nats.startAgain();
    expect(await server.until(200)).toMatchObject({ ok: true, down: [] });
    await anvil.stop();
  });

  it('does not wait for a part that hangs, nor ask it again while it does', async () => {
    const asked = { chain: 0 };
    let answer: () => void = () => undefined;
    const changes: string[] = [];
    const readiness = new Readiness({
      probes: {
        database: async () => undefined,
        messages: () => Promise.reject(new FarmError('FARM_UNREACHABLE', 'nobody at nats://user:pass@host')),
        chain: () => {
          asked.chain++;
          return new Promise<void>((resolve) => {
            answer = resolve;
          });
        },
      },
      limitMs: 20,
      onChange: (part, state) => changes.push(`${part} ${state.ok}`),
    });
    await using server = await serveRoutes(readiness);
    const first = await server.ready();
    expect(first).toMatchObject({ status: 503, down: ['messages', 'chain'] });
    expect(first.text).toContain('no answer within 0.02 s');
    expect(first.text).toContain('FARM_UNREACHABLE');
    expect(first.text).not.toContain('pass');
    await server.ready();
    expect(asked.chain).toBe(1);
    answer();
    // The next question goes out again, and hangs again; it was heard of in between.
    await server.ready();
    expect(asked.chain).toBe(2);
    expect(changes).toEqual(['messages false', 'chain false']);
  });
});

describe('/metrics', () => {
  it('shows nodes, batches, jobs and money as they are', async () => {
    const { context, db, clock } = farm;
    const before = context.metrics.registry;
    await farm.addNode();
    await farm.addNode({ online: false });
    const bad = await farm.addNode();
    await db
      .updateTable('nodes')
      .set({ quarantined_until: new Date(clock.now() + 1_000) })
      .where('id', '=', bad.id)
      .execute();
    const job = await farm.addJob({ frames: [1, 2], price: 1_000_000n });
    await db.updateTable('jobs').set({ spent: '1000000' }).where('id', '=', job.id).execute();
    await db
      .insertInto('batches')
      .values({
        id: 'batch_metrics' as never,
        ...{ job_id: job.id, node_id: bad.id, node_address: bad.address, kind: 'render', state: 'committed' },
        ...{ receipts: 2, amount: '2000000', opened_at: new Date(clock.now() - 90_000) },
      })
      .execute();
    await readGauges(context, ALL_UP);
    const text = await before.metrics();
    expect(lines(text, 'tessera_nodes')).toEqual([
      'tessera_nodes{state="offline"} 1',
      'tessera_nodes{state="online"} 1',
      'tessera_nodes{state="quarantined"} 1',
    ]);
    expect(text).toContain('tessera_open_batches{state="committed"} 1');
    expect(text).toContain('tessera_open_batches{state="drawn"} 0');
    expect(text).toContain('tessera_open_jobs{state="active"} 1');
    expect(text).toContain('tessera_oldest_unsettled_batch_seconds 90');
    // A quote of six tasks, one of them paid, two in the batch.
    expect(text).toContain('tessera_money_in_flight_tokens{part="unsettled"} 2');
    expect(text).toContain('tessera_money_in_flight_tokens{part="unspent"} 3');
    expect(text).toMatch(/tessera_data_free_bytes [1-9]\d+/);
  });

  it('never says an old number of a part that is down', async () => {
    const { context } = farm;
    const down = { ok: false, reason: 'no answer' } as const;
    await readGauges(context, { ...ALL_UP, messages: down });
    const text = await context.metrics.registry.metrics();
    expect(text).toContain('tessera_part_up{part="messages"} 0');
    expect(text).toContain('tessera_queue_depth Nan');
    expect(text).toContain('tessera_part_up{part="database"} 1');
  });

  it('counts requests by the route that took them, whatever their paths say', async () => {
    const context = { ...farm.context, metrics: createMetrics() };
    const readiness = readinessOf(context, { rtt: async () => 1 });
    await using server = await serveRoutes(readiness, context);
    for (let id = 0; id < 5; id++) await (await fetch(`${server.url}/secret-${id}`)).text();
    await (await fetch(`${server.url}/healthz`)).text();
    const response = await fetch(`${server.url}/metrics`);
    expect(response.headers.get('content-type')).toContain('version=0.0.4');
    const text = await response.text();
    expect(text).toContain('tessera_http_request_seconds_count{method="GET",route="none",status="404"} 5');
    expect(text).toContain(
      'tessera_http_request_seconds_count{method="GET",route="/healthz",status="200"} 1',
    );
    expect(text).not.toContain('secret-');
  });

  it('asks nothing of the table of tasks, which may have a million rows', async () => {
    const { context, db } = farm;
    const seen: string[] = [];
    const watched = db.withPlugin({
      transformQuery: ({ node }) => {
        seen.push(JSON.stringify(node));
        return node;
      },
      transformResult: async ({ result }) => result,
    });
    await readGauges({ ...context, db: watched }, ALL_UP);
    expect(seen.length).toBeGreaterThan(2);
    expect(seen.filter((query) => /\btasks\b/.test(query))).toEqual([]);
  });
});

describe('observed requests of nodes', () => {
  it('count leases that were granted and results that were taken, and no others', async () => {
    const metrics = createMetrics();
    const refused = new FarmError('LEASE_LOST', 'over');
    const run = { tasks: [{}, {}] };
    const replies = [{ run: null }, { run }];
    const taken = [
      { moved: {}, lost: [] },
      { moved: null, lost: [] },
    ];
    const handlers = observeNodes(metrics, {
      lease: async () => replies.shift(),
      complete: async () => taken.shift(),
      fail: () => Promise.reject(refused),
    } as never);
    const message = { deliveries: [{ receipt: { kind: 'render' }, renderMs: 1_500 }] };
    const ask = { lease: {}, complete: message, fail: { failureClass: 'node' } };
    for (const verb of ['lease', 'lease', 'complete', 'complete'] as const)
      await handlers[verb]('node-1' as never, ask[verb] as never, signal);
    await expect(handlers.fail('node-1' as never, ask.fail as never, signal)).rejects.toBe(refused);
    const text = await metrics.registry.metrics();
    expect(text).toContain('tessera_lease_seconds_count 1');
    expect(text).toContain('tessera_tasks_leased_total 2');
    expect(text).toContain('tessera_lease_requests_waiting 0');
    expect(lines(text, 'tessera_tasks_completed_total')).toEqual([
      'tessera_tasks_completed_total{kind="render"} 1',
    ]);
    expect(text).toContain('tessera_task_seconds_sum{kind="render"} 1.5');
    expect(lines(text, 'tessera_task_failures_total')).toEqual([]);
    expect(text).toContain('tessera_node_requests_total{verb="fail",code="LEASE_LOST"} 1');
    expect(text).toContain('tessera_node_requests_total{verb="lease",code="OK"} 2');
  });
});

describe('events in the log', () => {
  it('name job, task, node and batch, tasks at debug level, and are counted', async () => {
    const metrics = createMetrics();
    const log = createLog('test', 'silent');
    const written: unknown[] = [];
    for (const level of ['debug', 'info', 'warn'] as const) {
      vi.spyOn(log, level).mockImplementation((...line: unknown[]) => void written.push([level, ...line]));
    }
    const observe = observeEvents(metrics, log);
    const jobId = jobIdSchema.parse('job_1');
    const ids = { nodeId: 'node-1' as never, batchId: 'batch_1' as never };
    const task = {
      taskId: 'task_1' as never,
      kind: 'render',
      frame: 1,
      tile: 0,
      nodeId: ids.nodeId,
    } as const;
    observe(jobId, [
      { type: 'task.leased', ...task },
      { type: 'batch.settled', ...ids, outcome: 'pass', amount: '5' },
    ]);
    observe(jobId, [{ type: 'job.failed', reason: 'three nodes failed' }]);
    expect(written).toEqual([
      ['debug', { jobId, ...task }, 'task.leased'],
      ['info', { jobId, ...ids, outcome: 'pass', amount: '5' }, 'batch.settled'],
      ['warn', { jobId, reason: 'three nodes failed' }, 'job.failed'],
    ]);
    const text = await metrics.registry.metrics();
    expect(text).toContain('tessera_jobs_ended_total{state="failed"} 1');
    expect(text).toContain('tessera_batches_settled_total{outcome="pass"} 1');
  });
});

function lines(text: string, metric: string): string[] {
  return text
    .split('\n')
    .filter((line) => line.startsWith(`${metric}{`) || line.startsWith(`${metric} `))
    .toSorted();
}
