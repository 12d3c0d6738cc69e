import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { formatTokens } from '../../cli/render/parse-options.ts';
import type { BatchId } from '../../protocol/ids.ts';
import type { JobView } from '../../protocol/job.ts';
import { type CommandResult, runCommand } from '../support/command.ts';
import { adversary, sample, startTestFarm, type TestFarm } from '../support/farm.ts';

const SEED = `0x${'5e'.repeat(32)}`;
const signal = new AbortController().signal;

const on = (farm: TestFarm, ...parameters: string[]): Promise<CommandResult> =>
  runCommand([...parameters, '--farm', farm.apiUrl], { TESSERA_API_KEY: farm.apiKey });

async function batchesOf(farm: TestFarm, job: JobView, outcome: string): Promise<BatchId[]> {
  const batches = await farm.client.batches(job.id, signal);
  return batches.filter((batch) => batch.outcome === outcome).map(({ id }) => id);
}

describe('on a farm with an honest verifier', () => {
  let farm: TestFarm;
  let job: JobView;
  beforeAll(async () => {
    farm = await startTestFarm({
      nodes: [
        { id: 'honest' },
        { id: 'cheat', entry: adversary('picture-cheat'), arguments: ['samples-25'] },
      ],
      leaseMs: 30_000,
    });
    const request = { frames: [1], tiles: { columns: 3, rows: 2 }, samples: 8 };
    job = (await farm.finish((await farm.submit(sample('turntable'), request)).id)).job;
  });
  afterAll(() => farm[Symbol.asyncDispose]());

  test('an audit finds everything in order, and draws the same again with its seed', async () => {
    const first = await on(farm, 'audit', job.id, '--tiles', '4', '--seed', SEED);
    expect(first.code, first.stderr).toBe(0);
    const lines = first.stdout.split('\n');
    for (const what of ['receipts', 'draw', 'verdicts', 'money', 'pictures'])
      expect(lines.filter((line) => line.startsWith(`ok     ${what} `))).toHaveLength(1);
    expect(lines.filter((line) => line.includes('every pixel is equal')).length).toBeGreaterThanOrEqual(3);
    expect(first.stdout).not.toContain('FAILED');
    const second = await on(farm, 'audit', job.id, '--tiles', '4', '--seed', SEED);
    expect(second.stdout).toBe(first.stdout);
  });

  test('the verdict on the cheat can be replayed: the numbers from its pixels, and the crops rendered again', async () => {
    const [failed] = await batchesOf(farm, job, 'fail');
    const replayed = await on(farm, 'evidence', failed ?? '');
    expect(replayed.code, replayed.stderr).toBe(0);
    expect(replayed.stdout).toMatch(/: fail by verifier-[12] \(first\)/);
    expect(replayed.stdout).toMatch(/: fail by verifier-[12] \(second\)/);
    expect(replayed.stdout.match(/^found with blender-/gm)).toHaveLength(2);
    expect(replayed.stdout).toContain('the same numbers from the stored pixels');
    expect(replayed.stdout).toContain('this machine renders the same pixels as the verifier');
    expect(replayed.stdout).not.toContain('FAILED');
    const passed = await batchesOf(farm, job, 'pass');
    const json = await on(farm, 'evidence', passed[0] ?? '', '--no-render', '--json');
    expect(json.code).toBe(0);
    expect(JSON.parse(json.stdout)).toMatchObject({
      batch: passed[0],
      verdicts: [{ role: 'first', holds: true, finding: { holds: true } }],
    });
  });

  test('the ledger is what the chain says: what was paid, given back and lost of stake', async () => {
    const checked = await on(farm, 'ledger', 'check');
    expect(checked.code, checked.stdout + checked.stderr).toBe(0);
    for (const what of ['jobs', 'batches', 'sums', 'escrow', 'stake'])
      expect(checked.stdout).toMatch(new RegExp(`^ok     ${what} `, 'm'));
    expect(checked.stdout).not.toContain('FAILED');
    // Two verifiers and two nodes stake 100 each; the cheat has lost some of it, half of which is burnt.
    const lost = (await farm.client.nodes(signal)).reduce((sum, { slashed }) => sum + slashed, 0n);
    expect(lost).toBeGreaterThan(0n);
    const json = await on(farm, 'ledger', 'check', '--json');
    const { findings } = JSON.parse(json.stdout) as { findings: { what: string; detail: string }[] };
    expect(findings.find(({ what }) => what === 'stake')?.detail).toContain(
      formatTokens(400_000_000n - lost),
    );
  });

  test('a job or batch that nobody knows is told apart from one that is wrong', async () => {
    const unknown = await on(farm, 'evidence', 'batch_nobody');
    expect(unknown.code).toBe(5);
    expect(unknown.stderr).toContain('NOT_FOUND');
    const bad = await on(farm, 'audit', job.id, '--seed', '0x12');
    expect(bad.code).toBe(2);
    expect(bad.stderr).toContain('--seed 0x12');
  });
});

describe('on a farm whose verifier does not look', () => {
  let farm: TestFarm;
  let job: JobView;
  beforeAll(async () => {
    farm = await startTestFarm({
      nodes: [{ id: 'cheat', entry: adversary('picture-cheat'), arguments: ['samples-25'] }],
      verifiers: [{ id: 'lazy', entry: adversary('lying-verifier'), arguments: ['lazy'] }],
      leaseMs: 30_000,
    });
    const request = { frames: [1], tiles: { columns: 2, rows: 2 }, samples: 8 };
    job = (await farm.finish((await farm.submit(sample('turntable'), request)).id)).job;
  });
  afterAll(() => farm[Symbol.asyncDispose]());

  test('a cheat is paid, and an audit by anybody shows it', async () => {
    expect(job).toMatchObject({ state: 'completed', spent: job.quote });
    const audit = await on(farm, 'audit', job.id, '--tiles', '5');
    expect(audit.code).toBe(1);
    expect(audit.stderr).toContain('AUDIT_FAILED');
    const failed = audit.stdout.split('\n').filter((line) => line.startsWith('FAILED'));
    expect(failed.length).toBeGreaterThanOrEqual(4);
    expect(failed[0]).toMatch(/pixels differ/);
  });
});
