/** Canaries on a whole farm: a verifier that passes everything is found without anybody looking. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { SyntheticScene } from '../../platform/render/synthetic/scene.ts';
import type { JobView } from '../../protocol/job.ts';
import type { VerifierView } from '../../protocol/verifier.ts';
import { chainOf } from '../support/chain-of.ts';
import { runCommand } from '../support/command.ts';
import { adversary, startTestFarm, type TestFarm } from '../support/farm.ts';

const { signal } = new AbortController();
const TESS = 1_000_000n;

describe('a farm that plants canaries, with verifiers of whom two do not look', { timeout: 900_000 }, () => {
  let folder: string;
  let farm: TestFarm;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'tessera-test-'));
    const lazy = { entry: adversary('lying-verifier'), arguments: ['lazy'] };
    farm = await startTestFarm({
      runtime: 'synthetic',
      allowSynthetic: true,
      leaseMs: 30_000,
      nodes: [{ id: 'node-1' }],
      // Enough for a committee of three others, whoever is first.
      verifiers: [
        { id: 'lazy-1', ...lazy },
        { id: 'lazy-2', ...lazy },
        ...[1, 2, 3].map((nth) => ({ id: `honest-${nth}` })),
      ],
      canaryShare: 1,
      // The first penalty puts a verifier below it.
      chainTerms: { minVerifierStake: 95n * TESS },
    });
  });
  afterAll(async () => {
    await farm[Symbol.asyncDispose]();
    await rm(folder, { recursive: true, force: true });
  });

  /** Jobs of one frame each, so of one batch: beside each a canary is planted. */
  async function playRound(scene: string): Promise<JobView[]> {
    const jobs = await Promise.all(
      Array.from({ length: 8 }, (_, at) =>
        farm.submit(scene, { frames: [at + 1], tiles: { columns: 1, rows: 1 } }),
      ),
    );
    for (const { id } of jobs) await farm.event(id, ({ type }) => type === 'job.closed');
    return jobs;
  }

  test('catches one: it loses stake and its place, and no requester pays for it', async () => {
    const scene = join(folder, 'scene.json');
    const description: SyntheticScene = { resolution: { width: 64, height: 64 }, frameEnd: 8 };
    await writeFile(scene, JSON.stringify(description));
    const jobs: JobView[] = [];
    const struck = async (): Promise<VerifierView[]> => {
      const verifiers = await farm.client.verifiers(signal);
      return verifiers.filter(({ state, stake }) => state === 'left' && stake === 90n * TESS);
    };
    while ((await struck()).length === 0) jobs.push(...(await playRound(scene)));

    for (const { id, quote } of jobs) {
      const terms = { state: 'completed', escrow: 'closed', spent: quote, refunded: 0n };
      expect(await farm.client.job(id, signal)).toMatchObject(terms);
    }
    const verifiers = await farm.client.verifiers(signal);
    const caught = verifiers.filter((one) => one.canaries.caught > 0);
    expect(caught.map(({ id }) => id).every((id) => id.startsWith('lazy-'))).toBe(true);
    for (const honest of verifiers.filter(({ id }) => id.startsWith('honest-'))) {
      expect(honest).toMatchObject({ state: 'active', stake: 100n * TESS, canaries: { caught: 0 } });
    }
    // What shows it: the word that it signed, and what the farm finds there itself.
    const found = caught.find(({ state }) => state === 'left')?.caught;
    if (found == null) throw new Error('nobody was caught');
    expect(found.reason).toContain('the farm finds fail');
    const canary = await farm.client.batch(found.batch, signal);
    expect(canary).toMatchObject({ outcome: 'fail', agreed: true });
    expect(canary.verdicts.map(({ role, outcome }) => `${role} ${outcome}`)).toContain('first pass');
    // Told where the requester of the batch beside it looks.
    await farm.event(found.beside, (event) => event.type === 'verifier.caught' && event.outcome === 'pass');

    // On chain, and in the books: canaries are there like any other job, and nowhere else.
    const chain = await chainOf(farm);
    // Whoever was struck is off the list, also where another one is struck at this moment; the honest ones are on it.
    const out = await struck();
    const listedNow = await chain.verifiers();
    for (const { address } of out) expect(listedNow).not.toContain(address);
    for (const { id, address } of verifiers)
      if (id.startsWith('honest-')) expect(listedNow).toContain(address);
    expect(new Set((await farm.client.jobs(signal)).map(({ id }) => id))).toEqual(
      new Set(jobs.map(({ id }) => id)),
    );
    expect((await farm.client.nodes(signal)).map(({ id }) => id)).toEqual(['node-1']);
    const on = ['--farm', farm.apiUrl];
    const key = { TESSERA_API_KEY: farm.apiKey };
    const listed = await runCommand(['verifiers', ...on], key);
    expect(listed.stdout).toMatch(/^lazy-\d +left +passed \d+, .* wrong 1 {2}stake 90\.000 TESS$/m);
    const ledger = await runCommand(['ledger', 'check', ...on], key);
    expect(ledger.code, ledger.stdout + ledger.stderr).toBe(0);
  });
});
