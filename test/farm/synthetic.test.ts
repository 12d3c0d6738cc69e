/** A farm under load: hundreds of tasks through the real coordinator, message server, chain and verifier. No benchmark. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { SyntheticScene } from '../../platform/render/synthetic/scene.ts';
import type { JobId } from '../../protocol/ids.ts';
import { startTestFarm, type TestFarm } from '../support/farm.ts';

/** Cut into four tiles each, and left whole. */
const TILED_FRAMES = 10;
const WHOLE_FRAMES = 150;
const { signal } = new AbortController();

describe('a farm with synthetic engines', { timeout: 600_000 }, () => {
  let folder: string;
  let scene: string;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'tessera-test-'));
    scene = join(folder, 'scene.json');
    const description: SyntheticScene = { resolution: { width: 64, height: 64 }, frameEnd: WHOLE_FRAMES };
    await writeFile(scene, JSON.stringify(description));
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));

  /** Waits for the last payment, and that nothing but full payment was made. */
  async function requireSettled(farm: TestFarm, id: JobId) {
    await farm.event(id, (event) => event.type === 'job.closed');
    const job = await farm.client.job(id, signal);
    expect(job).toMatchObject({ state: 'completed', escrow: 'closed', spent: job.quote, refunded: 0n });
    expect(job.tasks.verified).toBe(job.tasks.total);
    const batches = await farm.client.batches(id, signal);
    expect(batches.reduce((sum, batch) => sum + batch.receipts, 0)).toBe(job.tasks.total);
    for (const batch of batches) expect(batch).toMatchObject({ state: 'settled', outcome: 'pass' });
    return job;
  }

  test('does, checks and pays two hundred tasks, tiled and whole', async () => {
    await using farm = await startTestFarm({
      runtime: 'synthetic',
      allowSynthetic: true,
      // A busy machine is slow to answer; what is looked at is that nothing is lost or paid wrongly.
      leaseMs: 30_000,
      // Full batches: each costs some transactions and a check.
      batchMaxAgeMs: 600_000,
    });
    const frames = Array.from({ length: TILED_FRAMES }, (_, index) => index + 1);
    const tiled = await farm.submit(scene, { frames, tiles: { columns: 2, rows: 2 } });
    const whole = await farm.submit(scene, { tiles: { columns: 1, rows: 1 } });
    expect(tiled.warnings.join()).toContain('load tests');
    expect((await requireSettled(farm, tiled.id)).tasks.total).toBe(TILED_FRAMES * 5);
    expect((await requireSettled(farm, whole.id)).tasks.total).toBe(WHOLE_FRAMES);
    const shown = await farm.client.frames(tiled.id, signal);
    const same = await farm.client.frames(whole.id, signal);
    // Merged from tiles or rendered at once: the same file.
    expect(shown.map((frame) => frame.picture)).toEqual(
      same.slice(0, TILED_FRAMES).map((frame) => frame.picture),
    );
  });

  test('does not start where nobody said that it may', async () => {
    const dataFolder = join(folder, 'refused');
    await expect(startTestFarm({ runtime: 'synthetic', dataFolder })).rejects.toMatchObject({
      code: 'SYNTHETIC_REFUSED',
      message: expect.stringContaining('allowSynthetic'),
    });
  });
});
