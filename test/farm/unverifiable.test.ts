/** A requester whose scene never renders the same twice: it would get pictures, and no honest node could be paid. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { jobKey } from '../../platform/chain/keys.ts';
import { ERRORS } from '../../protocol/errors.ts';
import { makeFixtures } from '../render/support.ts';
import { chainOf } from '../support/chain-of.ts';
import { runCommand } from '../support/command.ts';
import { sample, startTestFarm, type TestFarm } from '../support/farm.ts';

const signal = new AbortController().signal;

describe('a scene that is another picture at every render', () => {
  let farm: TestFarm;
  let scenes: string;
  let data: string;
  beforeAll(async () => {
    scenes = await mkdtemp(join(tmpdir(), 'tessera-unsteady-'));
    data = await mkdtemp(join(tmpdir(), 'tessera-test-'));
    await makeFixtures(scenes);
    farm = await startTestFarm({ dataFolder: data, nodes: [{ id: 'node-1' }], restart: true });
  });
  afterAll(async () => {
    await farm[Symbol.asyncDispose]();
    for (const folder of [scenes, data]) await rm(folder, { recursive: true, force: true });
  });

  test('stops its job before anything is paid, and all of the money comes back', async () => {
    const scene = join(scenes, 'noise-displaced.blend');
    const job = await farm.submit(scene);
    await expect(farm.finish(job.id)).rejects.toMatchObject({
      code: 'SCENE_UNVERIFIABLE',
      message: expect.stringMatching(/frame [15] at \d+,\d+ \(\d+x\d+\), \d+\.\d % of the pixels match/),
      kept: `nothing was paid; all ${job.quote} units are back`,
    });
    const chain = await chainOf(farm);
    expect(await chain.job(jobKey(job.id))).toMatchObject({
      ...{ state: 'closed', released: 0n, refunded: job.quote, reserved: 0n, free: 0n },
    });
    expect(await chain.tokenBalance(chain.escrowAddress)).toBe(0n);
    const events = (await farm.events(job.id)).map(({ event }) => event.type);
    expect(events).not.toContain('batch.committed');
    expect(await farm.client.frames(job.id, signal)).toMatchObject(
      Array.from({ length: 5 }, () => ({ state: 'pending', picture: null })),
    );
    const [node] = await farm.client.nodes(signal);
    expect(node).toMatchObject({ earned: 0n, tasksForfeited: 0 });
    // It is not blamed; on a busy machine it may have been silent for a moment.
    expect(node?.state).not.toBe('quarantined');
    // Known now: nothing of it is taken again.
    await expect(farm.submit(scene)).rejects.toMatchObject({
      code: 'SCENE_UNVERIFIABLE',
      kept: 'nothing was submitted, no money moved',
    });
  });

  test('is told before anything is submitted by `tessera inspect`', async () => {
    const inspect = (name: string) => runCommand(['inspect', join(scenes, name), '--data', data, '--json']);
    const unsteady = await inspect('noise-driven.blend');
    expect(unsteady.code).toBe(ERRORS.SCENE_UNVERIFIABLE.exitCode);
    expect(JSON.parse(unsteady.stdout).error).toMatchObject({
      code: 'SCENE_UNVERIFIABLE',
      details: {
        inspection: { frames: 5, engine: expect.stringMatching(/^blender-/), twice: { same: false } },
      },
    });
    const steady = await inspect('smooth.blend');
    expect(steady.code).toBe(0);
    expect(JSON.parse(steady.stdout).inspection).toMatchObject({
      ...{ frames: 5, samples: 8, twice: { same: true } },
    });
    const shown = await runCommand(['inspect', join(scenes, 'smooth.blend'), '--data', data]);
    expect(shown.stdout).toMatch(/price {4}\d+\.\d+ TESS\nchecked {2}renders the same twice/);
    expect(await farm.client.jobs(signal)).toHaveLength(1);
  });

  test('is no trouble to the farm: after a restart in mid-trial an honest job is tried again and paid', async () => {
    const job = await farm.submit(sample('turntable'), { frames: [1, 4], samples: 4 });
    const pid = farm.processes.get('coordinator')?.pid;
    if (pid === undefined) throw new Error('there is no coordinator');
    process.kill(pid, 'SIGKILL');
    const { job: done } = await farm.finish(job.id);
    expect(done).toMatchObject({ state: 'completed', admission: 'admitted', spent: job.quote, refunded: 0n });
    const types = (await farm.events(job.id)).map(({ event }) => event.type);
    expect(types.filter((type) => type === 'job.admitted')).toHaveLength(1);
    expect(types.indexOf('job.admitted')).toBeLessThan(types.indexOf('batch.committed'));
  });
});
