/** From a pending job to an admitted or refused one, over real SQL, with a renderer that is as steady as a test wants it. */
import { writeFile } from 'node:fs/promises';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { AdmissionLoop } from '../../coordinator/admission/admission-loop.ts';
import { chainKey } from '../../coordinator/settlement/lanes.ts';
import { closeBatches } from '../../coordinator/settlement/open-batch.ts';
import { settleBatches } from '../../coordinator/settlement/settle-batches.ts';
import { submitJob } from '../../coordinator/submission/jobs.ts';
import { Scenes } from '../../coordinator/submission/scenes.ts';
import type { OpenOptions, RenderRuntime, RenderSession } from '../../platform/render/runtime.ts';
import { canonicalBytes, imageFromPlanes } from '../../proof/pixels.ts';
import { FarmError } from '../../protocol/errors.ts';
import type { JobId } from '../../protocol/ids.ts';
import { SCENE, type TestCoordinator, testCoordinator } from '../support/coordinator-context.ts';
import { claim, deliver } from './delivery.ts';
import { FakeEscrow } from './fake-escrow.ts';

vi.setConfig({ testTimeout: 60_000 });

let farm: TestCoordinator;
let escrow: FakeEscrow;
beforeAll(async () => {
  farm = await testCoordinator();
  escrow = new FakeEscrow(farm.context.chain, { verifiers: [], nowMs: () => farm.clock.now() });
});
afterAll(() => farm[Symbol.asyncDispose]());
afterEach(async () => {
  await farm.db.deleteFrom('scene_trials').execute();
  // What a test left pending would be the next one's first.
  await farm.db
    .updateTable('jobs')
    .set({ admission: 'admitted' })
    .where('admission', '=', 'pending')
    .execute();
});

type Renders = { opened: OpenOptions[]; places: string[] };

/** Every session after the first adds `shift` times its number to all pixels. Counts what it is asked for. */
function renderer(
  shift: number,
  fail?: () => FarmError | undefined,
): { runtime: RenderRuntime; seen: Renders } {
  const seen: Renders = { opened: [], places: [] };
  const { engine } = farm.context.runtime;
  const open = async (_folder: unknown, options: OpenOptions): Promise<RenderSession> => {
    const error = fail?.();
    if (error !== undefined) throw error;
    const number = seen.opened.push(options) - 1;
    const session: Partial<RenderSession> = {
      render: async ({ frame, rect, output, samples = 0 }) => {
        seen.places.push(`session ${number} frame ${frame} at ${rect.x},${rect.y}`);
        const { width, height } = rect;
        const values = Float32Array.from(
          { length: width * height },
          (_, i) => 0.2 + ((i * 7919) % 101) / 200 + shift * number,
        );
        const planes = Object.fromEntries(
          ['R', 'G', 'B'].map((one) => [`ViewLayer.Combined.${one}`, values]),
        );
        await writeFile(output, canonicalBytes(imageFromPlanes(width, height, planes)));
        return { exrPath: output, pixelDigest: SCENE, renderMs: 1, peakMemoryBytes: 1, samples };
      },
      readPixels: async ({ exr, output }) => {
        const { copyFile } = await import('node:fs/promises');
        await copyFile(exr, output);
        return { width: 1, height: 1, channels: [], pixelDigest: SCENE, rawPath: output };
      },
      [Symbol.asyncDispose]: async () => undefined,
    };
    return session as RenderSession;
  };
  return { runtime: { engine, open }, seen };
}

function contextWith(runtime: RenderRuntime) {
  const scenes = { folderOf: async () => ({ root: '/nowhere', main: 'scene.blend' }) };
  return { ...farm.context, chain: escrow.port, engines: [runtime], scenes: scenes as never };
}

/** Runs a loop until it has decided about so many jobs. */
async function decide(runtime: RenderRuntime, decisions = 1): Promise<void> {
  const stopping = new AbortController();
  let decided = 0;
  const loop = new AdmissionLoop(contextWith(runtime), () => {
    decided += 1;
    if (decided >= decisions) stopping.abort();
  });
  await loop.run(stopping.signal);
}

const signal = new AbortController().signal;

/** A pending job of which some tiles are delivered, in a closed batch. */
async function underWay(options: Parameters<TestCoordinator['addJob']>[0] = {}) {
  const node = await farm.addNode();
  const job = await farm.addJob({ admission: 'pending', tilesPerFrame: 3, ...options });
  await deliver(farm, node, (options.whole ? job.wholes : job.tiles).slice(0, 2));
  farm.clock.advance(20_000);
  await closeBatches(farm.db, new Date(farm.clock.now()), 15_000);
  return { node, job };
}

async function onChain(id: JobId): Promise<string> {
  const { runtime } = renderer(0);
  await settleBatches(contextWith(runtime), signal);
  return escrow.get(chainKey(await farm.batchOf(id))).state;
}

describe('a job whose scene was not tried yet', () => {
  it('goes on chain only once its scene has rendered the same twice', async () => {
    const { job } = await underWay();
    expect(await onChain(job.id)).toBe('none');
    expect(await farm.batchOf(job.id)).toMatchObject({ state: 'closed' });
    const { runtime, seen } = renderer(0);
    await decide(runtime);
    expect(await farm.job(job.id)).toMatchObject({ admission: 'admitted', state: 'active' });
    expect(await farm.eventsOf(job.id)).toContainEqual({ type: 'job.admitted' });
    expect(await onChain(job.id)).toBe('committed');
    // Twice, each time loaded afresh, giving way to all else, the second time backwards.
    expect(seen.opened.map(({ niceness }) => niceness)).toEqual([19, 19]);
    const [first, second] = [0, 1].map((number) =>
      seen.places.filter((place) => place.startsWith(`session ${number}`)).map((place) => place.slice(10)),
    );
    expect(first?.length).toBeGreaterThanOrEqual(3);
    expect(second).toEqual(first?.toReversed());
  });

  it('ends where the scene is another picture each time: nothing goes on chain, nothing is kept, nobody is blamed', async () => {
    const { job, node } = await underWay({ whole: true, exr: false, frames: [1, 2, 3] });
    expect((await farm.frame(job.id, 1)).picture).not.toBeNull();
    await decide(renderer(0.05).runtime);
    const ended = await farm.job(job.id);
    expect(ended).toMatchObject({ admission: 'refused', state: 'failed', spent: '0' });
    expect(ended.reason).toMatch(
      /does not render the same twice: frame \d+ at \d+,\d+ \(\d+x\d+\), 0\.0 % of the pixels match/,
    );
    expect(await farm.frame(job.id, 1)).toMatchObject({ state: 'pending', picture: null });
    expect(await onChain(job.id)).toBe('none');
    expect(
      await farm.db
        .selectFrom('batches')
        .select('id')
        .where('job_id', '=', job.id)
        .where('receipts', '>', 0)
        .execute(),
    ).toEqual([]);
    const tasks = await farm.db.selectFrom('tasks').select('state').where('job_id', '=', job.id).execute();
    expect(new Set(tasks.map(({ state }) => state))).toEqual(new Set(['dropped']));
    expect(await farm.node(node.id)).toMatchObject({ quarantined_until: null, tasks_forfeited: 0 });
  });

  it('is refused when it is handed in again, and so is every other job of that kind', async () => {
    const { job } = await underWay({ frames: [1] });
    await decide(renderer(0.05).runtime);
    expect(await farm.job(job.id)).toMatchObject({ admission: 'refused' });
    const { runtime, seen } = renderer(0);
    const context = contextWith(runtime);
    const again = submitJob(
      context,
      new Scenes(context),
      { scene: SCENE, name: 'again', frames: [1] },
      signal,
    );
    await expect(again).rejects.toMatchObject({
      code: 'SCENE_UNVERIFIABLE',
      kept: 'nothing was submitted, no money moved',
    });
    // Other frames may be other pictures.
    const id = await submitJob(
      context,
      new Scenes(context),
      { scene: SCENE, name: 'other', frames: [2] },
      signal,
    );
    expect(await farm.job(id)).toMatchObject({ admission: 'pending' });
    expect(seen.opened).toEqual([]);
  });

  it('is not tried where its scene was', async () => {
    await underWay({ frames: [1, 5] });
    const { runtime, seen } = renderer(0);
    await decide(runtime);
    expect(seen.opened).toHaveLength(2);
    const context = contextWith(runtime);
    const id = await submitJob(
      context,
      new Scenes(context),
      { scene: SCENE, name: 'b', frames: [5, 3, 1] },
      signal,
    );
    expect(await farm.job(id)).toMatchObject({ admission: 'admitted' });
    const waiting = await underWay({ frames: [1, 5] });
    await decide(runtime);
    expect(await farm.job(waiting.job.id)).toMatchObject({ admission: 'admitted' });
    expect(seen.opened).toHaveLength(2);
  });

  it('is tried by the next coordinator where one was stopped in the middle', async () => {
    const { job } = await underWay();
    const stopping = new AbortController();
    const { runtime } = renderer(0, () => {
      stopping.abort();
      return new FarmError('INTERRUPTED', 'stopped');
    });
    await new AdmissionLoop(contextWith(runtime), () => undefined).run(stopping.signal);
    expect(await farm.job(job.id)).toMatchObject({ admission: 'pending', state: 'active' });
    await decide(renderer(0).runtime);
    expect(await farm.job(job.id)).toMatchObject({ admission: 'admitted' });
  });

  it('is tried for what was delivered of it before it was cancelled', async () => {
    const { job } = await underWay();
    await farm.db.updateTable('jobs').set({ state: 'cancelled' }).where('id', '=', job.id).execute();
    await decide(renderer(0).runtime);
    expect(await onChain(job.id)).toBe('committed');
  });
});

describe('a trial that does not work', () => {
  it('is done again, and no longer gives way then', async () => {
    const { job } = await underWay();
    const errors = [new FarmError('RENDER_FAILED', 'Blender stopped'), undefined, undefined];
    const { runtime, seen } = renderer(0, () => errors.shift());
    await decide(runtime);
    expect(await farm.job(job.id)).toMatchObject({ admission: 'admitted' });
    expect(seen.opened.map(({ niceness }) => niceness)).toEqual([undefined, undefined]);
  });

  it('time after time, or for a reason that stays, ends the job unpaid and says why', async () => {
    for (const [code, times] of [
      ['RENDER_FAILED', 4],
      ['MEMORY_LIMIT', 1],
    ] as const) {
      const { job } = await underWay();
      let tries = 0;
      const { runtime } = renderer(0, () => {
        tries += 1;
        return new FarmError(code, 'in words');
      });
      await decide(runtime);
      expect(tries).toBe(times);
      const ended = await farm.job(job.id);
      expect(ended).toMatchObject({ admission: 'untried', state: 'failed' });
      expect(ended.reason).toBe(
        `whether the scene renders the same twice could not be tried: ${code}: in words`,
      );
      expect(await onChain(job.id)).toBe('none');
      // Nothing was learned about the scene.
      expect(await farm.db.selectFrom('scene_trials').selectAll().execute()).toEqual([]);
    }
  });

  it('renders a third time what is neither the same nor clearly another picture', async () => {
    const { job } = await underWay();
    // A pixel in 64 differs between the first two sessions, and none between the second and the third.
    const { runtime, seen } = renderer(0);
    const open = runtime.open;
    const uneven: RenderRuntime = {
      ...runtime,
      open: async (folder, options) => {
        const session = await open(folder, options);
        const number = seen.opened.length - 1;
        if (number > 0) return session;
        const { render } = session;
        return {
          ...session,
          render: async (command, more) => {
            const tile = await render(command, more);
            const { width, height } = command.rect;
            const values = Float32Array.from(
              { length: width * height },
              (_, i) => 0.2 + ((i * 7919) % 101) / 200 + (i % 64 === 63 ? 0.1 : 0),
            );
            const planes = Object.fromEntries(
              ['R', 'G', 'B'].map((one) => [`ViewLayer.Combined.${one}`, values]),
            );
            await writeFile(command.output, canonicalBytes(imageFromPlanes(width, height, planes)));
            return tile;
          },
        };
      },
    };
    await decide(uneven);
    expect(seen.opened).toHaveLength(3);
    expect(await farm.job(job.id)).toMatchObject({ admission: 'admitted' });
  });
});

describe('while nobody knows whether a job can be paid for', () => {
  it('nodes work on it for a minute and no longer', async () => {
    const node = await farm.addNode();
    const job = await farm.addJob({ admission: 'pending', tilesPerFrame: 3 });
    expect(await claim(farm, node, job.tiles)).not.toBeNull();
    farm.clock.advance(61_000);
    expect(await claim(farm, node, job.tiles)).toBeNull();
    await farm.db.updateTable('jobs').set({ admission: 'admitted' }).where('id', '=', job.id).execute();
    expect(await claim(farm, node, job.tiles)).not.toBeNull();
  });
});

it('a scene of numbers needs no trial', async () => {
  const { runtime } = renderer(0);
  const synthetic = { ...runtime, engine: { ...runtime.engine, runtime: 'synthetic' as const } };
  const context = contextWith(synthetic);
  const id = await submitJob(
    context,
    new Scenes(context),
    { scene: SCENE, name: 'numbers', frames: [1] },
    signal,
  );
  expect(await farm.job(id)).toMatchObject({ admission: 'admitted' });
});
