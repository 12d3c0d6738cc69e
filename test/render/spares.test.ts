import { describe, expect, it } from 'vitest';
import type {
  OpenOptions,
  RenderRuntime,
  RenderSession,
  StartedRenderer,
} from '../../platform/render/runtime.ts';
import { Spares } from '../../platform/render/spares.ts';

const { signal } = new AbortController();
const SCENE = { root: '/nowhere', main: 'a.blend' };

/** A runtime that only remembers what it was asked for. */
function fakeRuntime(start: () => Promise<void> = async () => {}) {
  const started: (StartedRenderer & { alive: boolean })[] = [];
  const opened: OpenOptions['started'][] = [];
  const runtime: RenderRuntime = {
    engine: { id: 'blender-1.0.0', version: '1.0.0', deviceClass: 'cpu', runtime: 'process' },
    async open(_scene, options) {
      opened.push(options.started);
      return {} as RenderSession;
    },
    async start() {
      await start();
      const renderer = {
        alive: true,
        async close() {
          renderer.alive = false;
        },
        [Symbol.asyncDispose]: () => renderer.close(),
      };
      started.push(renderer);
      return renderer;
    },
  };
  return { runtime, started, opened };
}

const busy = (): boolean => false;

const never = (error: unknown): never => {
  throw error;
};

describe('a spare renderer', () => {
  it('is taken by the next session of its runtime, once', async () => {
    await using spares = new Spares({ threads: 2, busy, onError: never });
    const { runtime, started, opened } = fakeRuntime();
    const around = spares.around(runtime);
    spares.prepare(runtime);
    spares.prepare(runtime);
    await around.open(SCENE, { signal, threads: 2 });
    await around.open(SCENE, { signal, threads: 2 });
    expect(started).toHaveLength(1);
    expect(opened).toEqual([started[0], undefined]);
  });

  it('is waited for while it starts, and left alone by other runtimes', async () => {
    await using spares = new Spares({ threads: 2, busy, onError: never });
    let go = (): void => {};
    const slow = fakeRuntime(() => new Promise((resolve) => (go = resolve)));
    const other = fakeRuntime();
    spares.prepare(slow.runtime);
    await spares.around(other.runtime).open(SCENE, { signal, threads: 2 });
    expect(other.opened).toEqual([undefined]);
    const opening = spares.around(slow.runtime).open(SCENE, { signal, threads: 2 });
    go();
    await opening;
    expect(slow.opened).toEqual([slow.started[0]]);
  });

  it('that has died or could not be started is not given to anybody', async () => {
    const errors: unknown[] = [];
    await using spares = new Spares({ threads: 2, busy, onError: (error) => errors.push(error) });
    const dead = fakeRuntime();
    spares.prepare(dead.runtime);
    await expect.poll(() => dead.started.length).toBe(1);
    await dead.started[0]?.close();
    await spares.around(dead.runtime).open(SCENE, { signal, threads: 2 });
    expect(dead.opened).toEqual([undefined]);
    const broken = fakeRuntime(() => Promise.reject(new Error('no Blender')));
    spares.prepare(broken.runtime);
    await spares.around(broken.runtime).open(SCENE, { signal, threads: 2 });
    expect(broken.opened).toEqual([undefined]);
    expect(errors).toEqual([new Error('no Blender')]);
  });

  it('is replaced as soon as the program is idle for a while, and ended with the program', async () => {
    const { runtime, started, opened } = fakeRuntime();
    const answers = [true, true, false, true, false, false];
    let asked = 0;
    {
      await using spares = new Spares({
        threads: 2,
        busy: () => answers[asked++] ?? false,
        onError: never,
        lookMs: 1,
      });
      spares.prepare(runtime);
      await spares.around(runtime).open(SCENE, { signal, threads: 2 });
      expect(opened).toEqual([started[0]]);
      await expect.poll(() => started.length).toBe(2);
      expect(asked).toBe(answers.length);
      expect(started[1]?.alive).toBe(true);
    }
    expect(started[1]?.alive).toBe(false);
  });

  it('is not replaced while nobody can say whether the program is busy', async () => {
    let asked = 0;
    const { runtime, started } = fakeRuntime();
    await using spares = new Spares({
      threads: 2,
      busy: () => (asked++ < 5 ? Promise.reject(new Error('no database')) : false),
      onError: never,
      lookMs: 1,
    });
    await spares.around(runtime).open(SCENE, { signal, threads: 2 });
    await expect.poll(() => started.length).toBe(1);
    expect(asked).toBe(7);
  });
});
