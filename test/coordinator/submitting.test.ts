import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { submitJob } from '../../coordinator/submission/jobs.ts';
import { Scenes } from '../../coordinator/submission/scenes.ts';
import { MAX_MESSAGE_BYTES } from '../../platform/nats/connection.ts';
import { digestSchema } from '../../protocol/ids.ts';
import type { SceneManifest } from '../../protocol/job.ts';
import { SCENE, type TestCoordinator, testCoordinator } from '../support/coordinator-context.ts';

vi.setConfig({ testTimeout: 30_000, hookTimeout: 60_000 });

let farm: TestCoordinator;
beforeAll(async () => {
  farm = await testCoordinator();
});
afterAll(() => farm[Symbol.asyncDispose]());

describe('submitting a job', () => {
  const idle = new AbortController().signal;

  it('writes down the whole job: frames, tasks, prices, and an event', async () => {
    const id = await submitJob(
      farm.context,
      new Scenes(farm.context),
      {
        scene: SCENE,
        name: 'scene.blend',
        frames: [2, 1],
        tiles: { columns: 2, rows: 1 },
      },
      idle,
    );
    const job = await farm.job(id);
    const tasks = await farm.db
      .selectFrom('tasks')
      .selectAll()
      .where('job_id', '=', id)
      .orderBy('position')
      .execute();
    expect(job).toMatchObject({ state: 'opening', escrow: 'none', spent: '0' });
    expect(tasks.map((task) => [task.kind, task.frame, task.state])).toEqual([
      ['render', 2, 'queued'],
      ['render', 2, 'queued'],
      ['finish', 2, 'waiting'],
      ['render', 1, 'queued'],
      ['render', 1, 'queued'],
      ['finish', 1, 'waiting'],
    ]);
    expect(tasks.reduce((sum, task) => sum + BigInt(task.price), 0n)).toBe(BigInt(job.quote));
    expect(await farm.eventsOf(id)).toEqual([{ type: 'job.submitted', tasks: 6, quote: job.quote }]);
  });

  it('refuses a scene the farm does not know', async () => {
    const scene = digestSchema.parse('0'.repeat(64));
    await expect(
      submitJob(farm.context, new Scenes(farm.context), { scene, name: 'a' }, idle),
    ).rejects.toMatchObject({
      code: 'NOT_FOUND',
      kept: 'nothing was submitted',
    });
  });
});

describe('a scene whose list of files is too long for a message', () => {
  /** Files with names of this letter, so that the list is about this many letters long. */
  function manifestOf(letters: number, letter: string): SceneManifest {
    const count = Math.ceil(letters / 500);
    const files = Array.from({ length: count }, (_, index) => ({
      path: `${letter.repeat(370)}-${String(index).padStart(6, '0')}`,
      digest: digestSchema.parse('cd'.repeat(32)),
      sizeBytes: 1,
    }));
    return { main: files[0]?.path ?? '', files };
  }
  const submit = (manifest: SceneManifest) =>
    new Scenes(farm.context).submit(manifest, new AbortController().signal);

  it('is refused before anything is looked at, and one that is short enough is not', async () => {
    const [fits, tooLong] = [
      manifestOf(0.4 * MAX_MESSAGE_BYTES, 'a'),
      manifestOf(0.6 * MAX_MESSAGE_BYTES, 'a'),
    ];
    expect(JSON.stringify(fits).length).toBeLessThan(MAX_MESSAGE_BYTES / 2);
    expect(JSON.stringify(tooLong).length).toBeGreaterThan(MAX_MESSAGE_BYTES / 2);
    await expect(submit(tooLong)).rejects.toMatchObject({
      code: 'TOO_LARGE',
      kept: 'nothing was submitted',
      message: expect.stringContaining(String(tooLong.files.length)),
    });
    // Not too long: refused for the next thing that is wrong with it.
    await expect(submit(fits)).rejects.toMatchObject({ code: 'NOT_FOUND' });
  });

  // Until coordinator/submission/scenes.ts counts bytes and not letters: this list is larger than any message.
  it('is refused by its bytes, whatever alphabet its names are in', async () => {
    const manifest = manifestOf(0.45 * MAX_MESSAGE_BYTES, '\u6f22');
    expect(Buffer.byteLength(JSON.stringify(manifest))).toBeGreaterThan(MAX_MESSAGE_BYTES);
    await expect(submit(manifest)).rejects.toMatchObject({ code: 'TOO_LARGE' });
  });
});
