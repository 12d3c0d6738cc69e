/** A farm whose nodes sign in every few seconds: a job takes many sign-ins, and nobody notices. */
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { z } from 'zod';
import { newPrivateKey } from '../../platform/chain/signing.ts';
import { createLog } from '../../platform/log.ts';
import { joinFarm } from '../../platform/nats/join-farm.ts';
import type { SyntheticScene } from '../../platform/render/synthetic/scene.ts';
import { nodeIdSchema } from '../../protocol/ids.ts';
import { startTestFarm } from '../support/farm.ts';

const { signal } = new AbortController();

/** Signed in anew at half of it. Long against what a busy machine needs for that. */
const PASS_MS = 20_000;
const FRAMES = 8;
/** On two nodes the job takes longer than a pass. */
const FRAME_MS = 6_000;

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tessera-test-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

test('a job that outlasts every token loses no lease, and the keys are in no log', async () => {
  const scene = join(folder, 'scene.json');
  const description: SyntheticScene = {
    ...{ resolution: { width: 32, height: 32 }, frameEnd: FRAMES, durationMs: FRAME_MS },
  };
  await writeFile(scene, JSON.stringify(description));
  await using farm = await startTestFarm({
    ...{ runtime: 'synthetic', allowSynthetic: true, passMs: PASS_MS },
    // A lease that outlasts no token: losing one connection would show.
    leaseMs: 60_000,
    batchMaxAgeMs: 1_000,
  });
  // One more asks for the same while nodes work: it has no name here.
  const stranger = { role: 'node', id: nodeIdSchema.parse('node-1'), key: newPrivateKey() } as const;
  const place = { apiUrl: farm.apiUrl, natsUrl: 'nats://127.0.0.1:1' };
  await expect(joinFarm(place, stranger, createLog('test', 'silent'), signal)).rejects.toMatchObject({
    code: 'UNAUTHORIZED',
  });

  const job = await farm.submit(scene, { tiles: { columns: 1, rows: 1 } });
  const events = (await farm.events(job.id)).map((logged) => logged.event);
  expect(await farm.client.job(job.id, signal)).toMatchObject({ state: 'completed', spent: job.quote });
  expect(events.filter((event) => event.type === 'task.requeued')).toEqual([]);
  // Each was leased once and its result taken once.
  expect(events.filter((event) => event.type === 'task.leased')).toHaveLength(FRAMES);

  const log = await readFile(join(farm.folder.log, 'coordinator.log'), 'utf8');
  const signIns = log
    .split('\n')
    .filter((line) => line.includes('signed in'))
    .map((line) => z.object({ id: z.string() }).parse(JSON.parse(line)).id);
  for (const id of ['node-1', 'node-2', 'verifier-1', 'verifier-2'])
    expect(signIns.filter((one) => one === id).length).toBeGreaterThan(2);

  const keys = join(farm.folder.root, 'nats-keys.json');
  expect((await stat(keys)).mode & 0o777).toBe(0o600);
  const seeds = z.record(z.string(), z.string()).parse(JSON.parse(await readFile(keys, 'utf8')));
  const server = await readFile(join(farm.folder.run, 'nats.conf'), 'utf8');
  const logs = await Promise.all(
    (await readdir(farm.folder.log)).map((name) => readFile(join(farm.folder.log, name), 'utf8')),
  );
  // Seeds of operators, accounts and users; tokens; blob tokens.
  const secret = /\bS[OAU][A-Z2-7]{56}\b|\beyJ[\w-]+\.eyJ|tsb_/;
  for (const text of logs) expect(text).not.toMatch(secret);
  expect(Object.values(seeds)).toHaveLength(3);
  for (const seed of Object.values(seeds)) expect(server).not.toContain(seed);
});
