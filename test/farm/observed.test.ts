/** What whoever watches a farm sees of a whole run, and what nobody may see. */
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { z } from 'zod';
import { natsKeysFile } from '../../cli/farm/data-folder.ts';
import { tempFolder } from '../platform/temp-folder.ts';
import { startTestFarm, type TestFarm } from '../support/farm.ts';

const FRAMES = 12;

describe('a farm that is watched', { timeout: 300_000 }, () => {
  let farm: TestFarm;
  let folder: Awaited<ReturnType<typeof tempFolder>>;
  let jobId: string;

  beforeAll(async () => {
    folder = await tempFolder();
    farm = await startTestFarm({
      ...{ runtime: 'synthetic', allowSynthetic: true, leaseMs: 30_000, batchMaxAgeMs: 1_000 },
      // Everything that any program would ever say.
      logLevel: 'trace',
      // Beside other tests it would not get to start.
      verifierNiceness: 0,
    });
    const scene = join(folder.path, 'scene.json');
    await writeFile(scene, JSON.stringify({ resolution: { width: 64, height: 64 }, frameEnd: FRAMES }));
    const job = await farm.submit(scene, { tiles: { columns: 2, rows: 1 } });
    jobId = job.id;
    await farm.event(job.id, (event) => event.type === 'job.closed');
    // Wrong credentials are an error like any other: what was tried is in no log either.
    await fetch(`${farm.apiUrl}/api/v1/jobs`, {
      headers: { authorization: 'Bearer tsk_a-wrong-credential' },
    });
  });
  afterAll(async () => {
    await farm?.[Symbol.asyncDispose]();
    await folder?.[Symbol.asyncDispose]();
  });

  const get = (path: string): Promise<Response> => fetch(`${farm.apiUrl}${path}`);
  const logs = async (): Promise<Map<string, string>> => {
    const names = await readdir(farm.folder.log);
    const texts = names.map(
      async (name) => [name, await readFile(join(farm.folder.log, name), 'utf8')] as const,
    );
    return new Map(await Promise.all(texts));
  };

  test('counts what was done', async () => {
    const text = await (await get('/metrics')).text();
    expect(text).toContain(`tessera_tasks_completed_total{kind="render"} ${FRAMES * 2}`);
    expect(text).toContain(`tessera_tasks_completed_total{kind="finish"} ${FRAMES}`);
    expect(text).toContain('tessera_jobs_ended_total{state="completed"} 1');
    expect(text).toContain('tessera_money_in_flight_tokens{part="unsettled"} 0');
    expect(text).toContain('tessera_queue_depth 0');
    expect(text).toContain('tessera_nodes{state="online"} 2');
    for (const part of ['database', 'messages', 'chain'])
      expect(text).toContain(`tessera_part_up{part="${part}"} 1`);
    expect(text).toMatch(/nodejs_eventloop_lag_p99_seconds [\d.e-]+/);
    expect(text).toMatch(/process_resident_memory_bytes \d+/);
    expect(numberOf(text, 'tessera_lease_seconds_count')).toBeGreaterThan(0);
    // No label says which job, task, batch, node or file: their number has no end.
    const values = [...text.matchAll(/\w="([^"]*)"/g)].map(([, value]) => value ?? '');
    expect(values.length).toBeGreaterThan(100);
    expect(values.filter((value) => /job_|task_|batch_|node-\d|[0-9a-f]{16}/.test(value))).toEqual([]);
  });

  test('writes lines of JSON that name job and batch', async () => {
    const lines = (await logs()).get('coordinator.log')?.trim().split('\n') ?? [];
    // What Node itself warns of goes to the same file.
    const own = lines.filter((line) => line.startsWith('{'));
    const parsed = own.map((line) => z.looseObject({ msg: z.string() }).parse(JSON.parse(line)));
    const settled = parsed.filter(({ msg }) => msg === 'batch.settled');
    expect(settled.length).toBeGreaterThan(0);
    for (const line of settled) {
      expect(line).toMatchObject({
        jobId,
        batchId: expect.stringMatching(/^batch_/),
        nodeId: expect.any(String),
      });
    }
    expect(parsed.find(({ msg }) => msg === 'job.completed')).toMatchObject({ jobId });
    const delivered = parsed.find(({ msg }) => msg === 'task.delivered');
    expect(delivered).toMatchObject({ jobId, taskId: expect.stringMatching(/^task_/) });
  });

  test('says no secret of the farm in any log, metric or answer', async () => {
    const files = [join(farm.folder.root, 'secrets.json'), natsKeysFile(farm.folder)];
    const secrets: ReturnType<typeof secretsIn> = [];
    for (const file of files) secrets.push(...secretsIn(JSON.parse(await readFile(file, 'utf8'))));
    const masterKey = (await readFile(join(farm.folder.root, 'accounts.key'), 'utf8')).trim();
    secrets.push({ at: 'accounts.key', value: masterKey.slice(2) });
    // The master key of accounts, apiKey, two keys of accounts, two of nodes, of each verifier two keys and its draws, and what signs tokens.
    expect(secrets.length).toBeGreaterThanOrEqual(15);
    const texts = await logs();
    expect([...texts.keys()]).toEqual(
      expect.arrayContaining([
        'coordinator.log',
        'verifier-1.log',
        'verifier-2.log',
        'node-1.log',
        'node-2.log',
        'nats-server.log',
      ]),
    );
    for (const path of ['/metrics', '/readyz', '/healthz']) texts.set(path, await (await get(path)).text());
    const found: string[] = [];
    for (const [name, text] of texts) {
      const lower = text.toLowerCase();
      for (const { at, value } of secrets) if (lower.includes(value)) found.push(`${at} in ${name}`);
      if (lower.includes('a-wrong-credential')) found.push(`a wrong credential in ${name}`);
    }
    expect(found).toEqual([]);
  });

  test.each([
    ['chain', 'chain'],
    ['nats-server', 'messages'],
  ])('is not ready while %s hangs, and is again when it goes on', async (name, part) => {
    const pid = farm.processes.get(name)?.pid ?? 0;
    expect((await get('/readyz')).status).toBe(200);
    process.kill(pid, 'SIGSTOP');
    try {
      const response = await until(() => get('/readyz'), 503);
      expect(await response.json()).toMatchObject({ ok: false, parts: { [part]: { ok: false } } });
      expect((await get('/healthz')).status).toBe(200);
      expect(await (await get('/metrics')).text()).toContain(`tessera_part_up{part="${part}"} 0`);
    } finally {
      process.kill(pid, 'SIGCONT');
    }
    expect(await (await until(() => get('/readyz'), 200)).json()).toMatchObject({ ok: true });
  });
});

async function until(ask: () => Promise<Response>, status: number): Promise<Response> {
  for (;;) {
    const response = await ask();
    if (response.status === status) return response;
    await response.text();
  }
}

function numberOf(text: string, metric: string): number {
  const line = text.split('\n').find((one) => one.startsWith(`${metric} `));
  return Number(line?.slice(metric.length + 1));
}

/** Every secret of the file with where it stands, in lower case and without 0x; the head of the draws is public. */
function secretsIn(value: unknown, at = ''): { at: string; value: string }[] {
  if (typeof value === 'string') return [{ at, value: value.toLowerCase().replace(/^0x/, '') }];
  return Object.entries(z.record(z.string(), z.unknown()).parse(value))
    .filter(([key]) => key !== 'head')
    .flatMap(([key, inner]) => secretsIn(inner, `${at}.${key}`));
}
