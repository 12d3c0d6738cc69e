/**
 * A whole farm on which two of five verifiers fail whatever one node renders. Where two of them are drawn together the node
 * appeals by itself, and a committee of the others makes it whole; what everybody ends with is read from the chain.
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { SyntheticScene } from '../../platform/render/synthetic/scene.ts';
import type { JobView } from '../../protocol/job.ts';
import type { BatchView } from '../../protocol/verdict.ts';
import { runCommand } from '../support/command.ts';
import { adversary, startTestFarm, type TestFarm } from '../support/farm.ts';

const { signal } = new AbortController();
const TESS = 1_000_000n;
const [STAKE, PENALTY, BOND] = [100n * TESS, 10n * TESS, TESS];
/** Jobs at once, of one batch each. One batch in ten meets two liars. */
const JOBS = 12;

describe('a farm whose liars fail an honest node together', { timeout: 600_000 }, () => {
  let folder: string;
  let farm: TestFarm;
  const batches: BatchView[] = [];
  const failedWords = ({ verdicts }: BatchView): number =>
    verdicts.filter(({ role, outcome }) => role !== 'committee' && outcome === 'fail').length;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'tessera-test-'));
    const lying = { entry: adversary('lying-verifier'), arguments: ['accuser', 'rival'] };
    farm = await startTestFarm({
      ...{ runtime: 'synthetic', allowSynthetic: true, leaseMs: 30_000 },
      nodes: [{ id: 'rival' }],
      // A committee is the three others: never more than one liar among them.
      verifiers: [
        ...[1, 2].map((nth) => ({ id: `liar-${nth}`, ...lying })),
        ...[1, 2, 3].map((nth) => ({ id: `honest-${nth}` })),
      ],
    });
    const scene = join(folder, 'scene.json');
    const description: SyntheticScene = { resolution: { width: 64, height: 64 }, frameEnd: JOBS };
    await writeFile(scene, JSON.stringify(description));
    // Who is drawn follows from blocks.
    while (!batches.some((batch) => failedWords(batch) === 2)) batches.push(...(await playRound(scene)));
  });
  afterAll(async () => {
    await farm[Symbol.asyncDispose]();
    await rm(folder, { recursive: true, force: true });
  });

  async function playRound(scene: string): Promise<BatchView[]> {
    const played = await Promise.all(
      Array.from({ length: JOBS }, (_, at) =>
        farm.submit(scene, { frames: [at + 1], tiles: { columns: 1, rows: 1 } }),
      ),
    );
    await Promise.all(played.map(({ id }) => farm.event(id, ({ type }) => type === 'job.closed')));
    const own = await Promise.all(played.map(({ id }) => farm.client.batches(id, signal)));
    for (const { id, quote } of played) await requirePaidOnce(id, quote);
    return own.flat();
  }

  async function requirePaidOnce(id: JobView['id'], quote: bigint): Promise<void> {
    const paid = { state: 'completed', spent: quote, refunded: 0n };
    expect(await farm.client.job(id, signal)).toMatchObject(paid);
  }

  test('the node appeals against each, and every batch of it is paid', async () => {
    for (const batch of batches) {
      expect(batch).toMatchObject({ outcome: 'pass', slashed: '0' });
      const appealed = failedWords(batch) === 2 ? { appeals: true, refused: null } : null;
      if (appealed === null) expect(batch.appeal).toBeNull();
      else expect(batch.appeal).toMatchObject(appealed);
    }
    const due = batches.reduce((sum, { amount }) => sum + BigInt(amount), 0n);
    // Its bond, and a quarter of what each of the two liars lost.
    const appeals = batches.filter((batch) => failedWords(batch) === 2).length;
    const won = BigInt(appeals) * (BOND + (2n * PENALTY) / 4n);
    const [rival] = await farm.client.nodes(signal);
    expect(rival).toMatchObject({ earned: due + won, stake: STAKE, slashed: 0n, tasksForfeited: 0 });
  });

  test('the dispute is told where the requester looks, and by tessera evidence', async () => {
    const [appealed] = batches.filter((batch) => failedWords(batch) === 2);
    if (appealed === undefined) throw new Error('no batch was failed twice');
    await farm.event(appealed.jobId, (event) => event.type === 'batch.disputed' && event.appeal === true);
    const shown = await runCommand(['evidence', appealed.id, '--no-render', '--farm', farm.apiUrl], {
      TESSERA_API_KEY: farm.apiKey,
    });
    expect(shown.stdout).toContain('the node appealed: rendered again here');
  });

  test('each liar loses its penalty for each word that a committee contradicts, and nobody else loses anything', async () => {
    for (const { id, stake } of await farm.client.verifiers(signal)) {
      const lies = batches.flatMap(({ verdicts }) =>
        verdicts.filter(
          ({ verifier, role, outcome }) => verifier === id && role !== 'committee' && outcome === 'fail',
        ),
      );
      expect(id.startsWith('liar-') || lies.length === 0).toBe(true);
      expect(stake, id).toBe(STAKE - PENALTY * BigInt(lies.length));
    }
    const ledger = await runCommand(['ledger', 'check', '--farm', farm.apiUrl], {
      TESSERA_API_KEY: farm.apiKey,
    });
    expect(ledger.code, ledger.stdout + ledger.stderr).toBe(0);
  });
});
