/**
 * A whole farm with every kind of lying verifier in it at once: one that fails a rival, one that passes a friend's work,
 * one of the friend's own operator, one that is never there; and with the cheat that they are friends of. What each of them,
 * the honest node and the requester end with is read from the chain.
 */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { farmFolder, loadSecrets, makeFolders } from '../../cli/farm/data-folder.ts';
import type { EscrowBooks } from '../../platform/chain/escrow-books.ts';
import { escrowBooks } from '../../platform/chain/read-books.ts';
import { addressOf, type PrivateKey } from '../../platform/chain/signing.ts';
import type { SyntheticScene } from '../../platform/render/synthetic/scene.ts';
import { isFarmError } from '../../protocol/errors.ts';
import type { Address } from '../../protocol/ids.ts';
import type { JobView } from '../../protocol/job.ts';
import type { BatchView } from '../../protocol/verdict.ts';
import { runCommand } from '../support/command.ts';
import { adversary, startTestFarm, type TestFarm } from '../support/farm.ts';

const { signal } = new AbortController();
const TESS = 1_000_000n;
const [STAKE, PENALTY, MISS] = [100n * TESS, 10n * TESS, TESS / 10n];
const NODES = ['cheat', 'rival'];
const VERIFIERS = ['accuser', 'colluder', 'own', 'vanished', 'honest-1', 'honest-2', 'honest-3'];

describe('a farm with lying verifiers', { timeout: 600_000 }, () => {
  let folder: string;
  let scene: string;
  let farm: TestFarm;
  /** Of a node, or of the operator that answers for a verifier. */
  let accounts: Record<string, Address>;
  const jobs: JobView[] = [];
  const batches: BatchView[] = [];
  let books: EscrowBooks;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'tessera-test-'));
    scene = join(folder, 'scene.json');
    const size = { width: 64, height: 64 };
    const description: SyntheticScene = { resolution: size, frameEnd: 12, durationMs: 50 };
    await writeFile(scene, JSON.stringify(description));
    const dataFolder = join(folder, 'farm');
    accounts = await ownKeys(dataFolder);
    const lying = { entry: adversary('lying-verifier') };
    farm = await startTestFarm({
      dataFolder,
      ...{ runtime: 'synthetic', allowSynthetic: true, leaseMs: 30_000 },
      // It may cheat again at once, and so meets every verifier.
      quarantineMs: 0,
      nodes: [{ id: 'cheat', entry: adversary('picture-cheat'), arguments: ['samples-25'] }, { id: 'rival' }],
      verifiers: [
        { id: 'accuser', ...lying, arguments: ['accuser', 'rival'] },
        { id: 'colluder', ...lying, arguments: ['colluder', 'cheat'] },
        { id: 'own', ...lying, arguments: ['colluder', 'cheat'] },
        { id: 'vanished', entry: adversary('vanished-verifier') },
        ...VERIFIERS.filter((id) => id.startsWith('honest')).map((id) => ({ id })),
      ],
      // Silence costs seconds here, not an hour.
      chainTerms: { verdictWindowS: 2, drawBlocks: 8 },
    });
    // Until each of them was asked where it lies: who is asked follows from blocks.
    while (!(await everybodyLied())) await playRound();
  });
  afterAll(async () => {
    await farm[Symbol.asyncDispose]();
    await rm(folder, { recursive: true, force: true });
  });

  /** The farm's keys, made before it starts, with one account behind the cheat and one of the verifiers. */
  async function ownKeys(dataFolder: string): Promise<Record<string, Address>> {
    const place = farmFolder(dataFolder);
    await makeFolders(place);
    await loadSecrets(place, NODES, VERIFIERS);
    const path = join(dataFolder, 'secrets.json');
    const secrets = JSON.parse(await readFile(path, 'utf8'));
    secrets.verifiers.own.operatorKey = secrets.nodeKeys.cheat;
    await writeFile(path, JSON.stringify(secrets));
    const of = (key: string): Address => addressOf(key as PrivateKey);
    return {
      ...Object.fromEntries(NODES.map((id) => [id, of(secrets.nodeKeys[id])])),
      ...Object.fromEntries(VERIFIERS.map((id) => [id, of(secrets.verifiers[id].operatorKey)])),
    };
  }

  /** Twelve jobs of a frame each. Their requester doubts every pass that the cheat is given. */
  async function playRound(): Promise<void> {
    const played = await Promise.all(
      Array.from({ length: 12 }, (_, at) =>
        farm.submit(scene, { frames: [at + 1], tiles: { columns: 1, rows: 1 } }),
      ),
    );
    await Promise.all(played.map(({ id }) => doubtAndWait(id)));
    for (const { id } of played) {
      jobs.push(await farm.client.job(id, signal));
      batches.push(...(await farm.client.batches(id, signal)));
    }
    const info = await farm.client.info(signal);
    const deployment = { ...info, tokenAddress: info.token, escrowAddress: info.escrow };
    books = await escrowBooks(
      info.chainUrl ?? '',
      { ...deployment, registryAddress: info.registry },
      { signal },
    );
  }

  async function doubtAndWait(id: JobView['id']): Promise<void> {
    const closing = new AbortController();
    for await (const { event } of farm.client.events(id, 0, closing.signal)) {
      if (event.type === 'job.closed') break;
      if (event.type !== 'batch.committed' || event.nodeId !== 'cheat') continue;
      // Where the verdict was faster it is settled: then a cheat was paid, and the books below show it.
      await farm.client.dispute(event.batchId, { outcome: 'pass' }, signal).catch((error: unknown) => {
        if (!isFarmError(error, 'NOT_DISPUTABLE')) throw error;
      });
    }
    closing.abort();
  }

  const said = (verifier: string, outcome: string): BatchView[] =>
    batches.filter(({ verdicts }) =>
      verdicts.some(
        (one) => one.verifier === verifier && one.outcome === outcome && one.role !== 'committee',
      ),
    );
  const lost = (name: string): bigint =>
    books.slashes
      .filter(({ operator }) => operator === accounts[name])
      .reduce((sum, { amount }) => sum + amount, 0n);
  /** Passed by its friend, and by nobody who looked. */
  const paidFalsely = (): BatchView[] =>
    batches.filter(({ nodeId, outcome }) => nodeId === 'cheat' && outcome === 'pass');

  async function everybodyLied(): Promise<boolean> {
    if (jobs.length === 0) return false;
    const caught = said('colluder', 'pass').some(
      ({ nodeId, outcome }) => nodeId === 'cheat' && outcome === 'fail',
    );
    const accused = said('accuser', 'fail').some(
      ({ nodeId, outcome }) => nodeId === 'rival' && outcome === 'pass',
    );
    return caught && accused && lost('vanished') > 0n;
  }

  test('the requester gets every frame and pays for each once', () => {
    for (const { state, quote, spent, refunded } of jobs)
      expect({ state, spent, refunded }).toEqual({ state: 'completed', spent: quote, refunded: 0n });
  });

  test('one that fails a rival loses its penalty each time; the rival is paid to the unit and loses nothing', async () => {
    const accused = said('accuser', 'fail').filter(({ nodeId }) => nodeId === 'rival');
    for (const batch of accused) expect(batch).toMatchObject({ outcome: 'pass', slashed: '0' });
    expect(lost('accuser')).toBe(PENALTY * BigInt(accused.length));
    const nodes = await farm.client.nodes(signal);
    const due = batches
      .filter(({ nodeId }) => nodeId === 'rival')
      .reduce((sum, { amount }) => sum + BigInt(amount), 0n);
    expect(nodes.find(({ id }) => id === 'rival')).toMatchObject({
      ...{ earned: due, stake: STAKE, slashed: 0n, tasksForfeited: 0 },
    });
  });

  test('one that passes a friend loses its penalty where it is doubted, and the friend its pay and ten times that', async () => {
    const doubted = said('colluder', 'pass').filter(
      ({ nodeId, outcome }) => nodeId === 'cheat' && outcome === 'fail',
    );
    for (const batch of doubted) expect(batch).toMatchObject({ agreed: true });
    expect(lost('colluder')).toBe(PENALTY * BigInt(doubted.length));
    const forfeited = batches.filter(({ nodeId, agreed }) => nodeId === 'cheat' && agreed);
    expect(forfeited.length).toBeGreaterThanOrEqual(doubted.length);
    const amount = forfeited.reduce((sum, batch) => sum + BigInt(batch.amount), 0n);
    expect(lost('cheat')).toBe(10n * amount);
    const paid = paidFalsely().reduce((sum, batch) => sum + BigInt(batch.amount), 0n);
    const cheat = (await farm.client.nodes(signal)).find(({ id }) => id === 'cheat');
    expect(cheat).toMatchObject({ earned: paid, slashed: 10n * amount });
    // What was paid at all was passed by its friend, and not by one who looks.
    for (const { verdicts } of paidFalsely())
      expect(verdicts.map(({ verifier }) => verifier)).toEqual(['colluder']);
  });

  test("one of the cheat's own operator is never asked about it", () => {
    const asked = batches.filter(({ verdicts }) => verdicts.some(({ verifier }) => verifier === 'own'));
    expect(asked.length).toBeGreaterThan(0);
    expect(asked.filter(({ nodeId }) => nodeId === 'cheat')).toEqual([]);
  });

  test('one that is never there pays a tenth of a token each time, and stops nobody', () => {
    expect(lost('vanished') % MISS).toBe(0n);
    expect(lost('vanished')).toBeGreaterThan(0n);
    expect(batches.some(({ verdicts }) => verdicts.some(({ verifier }) => verifier === 'vanished'))).toBe(
      false,
    );
  });

  test('honest ones lose nothing, and the books agree with the chain', async () => {
    for (const name of VERIFIERS.filter((id) => id.startsWith('honest'))) expect(lost(name)).toBe(0n);
    const verifiers = await farm.client.verifiers(signal);
    const stakes = verifiers.map(({ id, stake }) => [id, stake] as const);
    // The cheat and its verifier are one account: what was staked for it stands behind both.
    expect(Object.fromEntries(stakes)).toMatchObject({
      ...{ accuser: STAKE - lost('accuser'), colluder: STAKE - lost('colluder') },
      ...{ vanished: STAKE - lost('vanished'), own: STAKE - lost('cheat') },
      ...{ 'honest-1': STAKE, 'honest-2': STAKE, 'honest-3': STAKE },
    });
    const ledger = await runCommand(['ledger', 'check', '--farm', farm.apiUrl], {
      TESSERA_API_KEY: farm.apiKey,
    });
    expect(ledger.code, ledger.stdout + ledger.stderr).toBe(0);
  });
});
