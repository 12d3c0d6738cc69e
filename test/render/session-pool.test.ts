import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { RenderSession, SessionEnd } from '../../platform/render/runtime.ts';
import { SessionPool } from '../../platform/render/session-pool.ts';
import { type Living, nextExpiryMs, whomToEvict } from '../../platform/render/session-pool-policy.ts';
import { FarmError } from '../../protocol/errors.ts';
import type { Digest } from '../../protocol/ids.ts';

const { signal } = new AbortController();

const livingArbitrary: fc.Arbitrary<Living<number>[]> = fc
  .array(
    fc.record({
      lastUsedMs: fc.nat(1000),
      memoryBytes: fc.nat(100),
      inUse: fc.boolean(),
    }),
    { maxLength: 12 },
  )
  .map((rows) => rows.map((row, id) => ({ ...row, id })));
const limitsArbitrary = fc.record({
  idleMs: fc.integer({ min: 1, max: 800 }),
  memoryBytes: fc.nat(500),
  sessions: fc.integer({ min: 1, max: 8 }),
});

describe('whom to evict', () => {
  const property = (
    check: (
      living: Living<number>[],
      evicted: number[],
      limits: { idleMs: number; memoryBytes: number; sessions: number },
      opening: number,
    ) => void,
  ) =>
    fc.assert(
      fc.property(livingArbitrary, limitsArbitrary, fc.nat(1), (living, limits, opening) => {
        check(living, whomToEvict(living, limits, { nowMs: 1000, opening }), limits, opening);
      }),
    );

  it('never ends what is in use, and nothing twice', () =>
    property((living, evicted) => {
      expect(new Set(evicted).size).toBe(evicted.length);
      for (const id of evicted) expect(living[id]?.inUse).toBe(false);
    }));

  it('ends everything idle too long', () =>
    property((living, evicted, limits) => {
      for (const one of living) {
        if (!one.inUse && 1000 - one.lastUsedMs >= limits.idleMs) expect(evicted).toContain(one.id);
      }
    }));

  it('takes the least recently used first', () =>
    property((living, evicted) => {
      const kept = living.filter((one) => !one.inUse && !evicted.includes(one.id));
      for (const id of evicted) {
        for (const one of kept) expect(living[id]?.lastUsedMs).toBeLessThanOrEqual(one.lastUsedMs);
      }
    }));

  it('leaves what is within both limits, unless all the rest is in use or the last one', () =>
    property((living, evicted, limits, opening) => {
      const left = living.filter((one) => !evicted.includes(one.id));
      if (left.every((one) => one.inUse)) return;
      expect(left.length + opening).toBeLessThanOrEqual(limits.sessions);
      if (left.length + opening > 1) {
        const memory = left.reduce((sum, one) => sum + one.memoryBytes, 0);
        expect(memory).toBeLessThanOrEqual(limits.memoryBytes);
      }
    }));

  it('ends none without need', () =>
    property((living, evicted, limits, opening) => {
      const last = evicted.at(-1);
      if (last === undefined) return;
      const before = living.filter((one) => one.id === last || !evicted.includes(one.id));
      const memory = before.reduce((sum, one) => sum + one.memoryBytes, 0);
      const expired = 1000 - (living[last]?.lastUsedMs ?? 0) >= limits.idleMs;
      const over = memory > limits.memoryBytes || before.length + opening > limits.sessions;
      expect(expired || over).toBe(true);
    }));

  it('knows when the next one expires: not earlier, not later', () =>
    fc.assert(
      fc.property(livingArbitrary, limitsArbitrary, (living, { idleMs }) => {
        const limits = { idleMs, memoryBytes: Number.MAX_SAFE_INTEGER, sessions: 1000 };
        const inMs = nextExpiryMs(living, limits, 1000);
        if (inMs === undefined) {
          expect(living.every((one) => one.inUse)).toBe(true);
          return;
        }
        expect(whomToEvict(living, limits, { nowMs: 1000 + inMs, opening: 0 }).length).toBeGreaterThan(0);
        if (inMs > 0) expect(whomToEvict(living, limits, { nowMs: 999 + inMs, opening: 0 })).toHaveLength(0);
      }),
    ));
});

/** A session that only lives and ends. */
function fakeSession(memoryBytes = 0): RenderSession & { end(reason: SessionEnd['reason']): void } {
  let resolve: (end: SessionEnd) => void = () => {};
  const promise = new Promise<SessionEnd>((settle) => {
    resolve = settle;
  });
  const unused = () => Promise.reject(new Error('not of this test'));
  return {
    engine: { id: 'fake', version: '0', deviceClass: 'cpu', runtime: 'process' },
    inspect: unused,
    render: unused,
    preview: unused,
    renderFrame: unused,
    finish: unused,
    readPixels: unused,
    digestPixels: unused,
    memoryBytes,
    closed: promise,
    end: (reason) => resolve({ reason, message: reason }),
    close: async () => resolve({ reason: 'closed', message: 'closed' }),
    [Symbol.asyncDispose]: async () => resolve({ reason: 'closed', message: 'closed' }),
  };
}

function keyOf(scene: string) {
  return { engine: 'fake', scene: scene.repeat(64) as Digest, device: 'cpu' };
}

function crash(details: Record<string, unknown> = {}): FarmError {
  return new FarmError('RENDER_FAILED', 'Blender broke down', { details: { ended: 'crashed', ...details } });
}

describe('session pool', () => {
  it('opens once for uses at the same time, and stays warm', async () => {
    await using pool = new SessionPool();
    let opened = 0;
    const open = async () => {
      opened += 1;
      return fakeSession();
    };
    const use = () => pool.use(keyOf('a'), open, signal, async (session) => session);
    const [first, second] = await Promise.all([use(), use()]);
    expect(await use()).toBe(first);
    expect(second).toBe(first);
    expect(opened).toBe(1);
    expect(pool.warm).toEqual([{ engine: 'fake', scene: keyOf('a').scene }]);
  });

  it('keeps within its number and its memory, least recently used first', async () => {
    let now = 0;
    await using pool = new SessionPool({
      limits: { sessions: 3, memoryBytes: 100 },
      now: () => now,
    });
    const use = async (scene: string, memory: number) => {
      now += 1;
      await pool.use(
        keyOf(scene),
        async () => fakeSession(memory),
        signal,
        async () => {},
      );
      return pool.warm.map(({ scene: digest }) => digest[0]);
    };
    expect(await use('a', 10)).toEqual(['a']);
    expect(await use('b', 10)).toEqual(['b', 'a']);
    expect(await use('a', 10)).toEqual(['a', 'b']);
    expect(await use('c', 10)).toEqual(['c', 'a', 'b']);
    expect(await use('d', 10)).toEqual(['d', 'c', 'a']);
    expect(await use('e', 85)).toEqual(['e', 'd']);
    expect(await use('f', 500)).toEqual(['f']);
    expect(await use('f', 500)).toEqual(['f']);
  });

  it('ends a session that is idle too long, by itself', async () => {
    await using pool = new SessionPool({ limits: { idleMs: 20 } });
    const session = fakeSession();
    await pool.use(
      keyOf('a'),
      async () => session,
      signal,
      async () => {},
    );
    expect(await session.closed).toMatchObject({ reason: 'closed' });
    expect(pool.warm).toEqual([]);
  });

  it('reports a crash with its cause, opens again for the next work, and blames the scene at the second in a row', async () => {
    await using pool = new SessionPool();
    let opened = 0;
    const work = (outcome: 'crash' | 'fine') =>
      pool.use(
        keyOf('a'),
        async () => {
          opened += 1;
          return fakeSession();
        },
        signal,
        async () => {
          if (outcome === 'crash') throw crash({ signal: 'SIGSEGV' });
          return 'fine';
        },
      );
    await expect(work('crash')).rejects.toMatchObject({ code: 'RENDER_FAILED' });
    expect(await work('fine')).toBe('fine');
    await expect(work('crash')).rejects.toMatchObject({ code: 'RENDER_FAILED' });
    await expect(work('crash')).rejects.toMatchObject({
      code: 'SCENE_CRASHES',
      message: expect.stringContaining('Blender broke down'),
    });
    expect(opened).toBe(3);
  });

  it('does not blame the scene for what was killed from outside', async () => {
    await using pool = new SessionPool();
    for (let time = 0; time < 3; time++) {
      const work = pool.use(
        keyOf('a'),
        async () => fakeSession(),
        signal,
        () => Promise.reject(crash({ signal: 'SIGKILL' })),
      );
      await expect(work).rejects.toMatchObject({ code: 'RENDER_FAILED' });
    }
  });

  it('opens again, once, for work that found its renderer dead before it began', async () => {
    await using pool = new SessionPool();
    let tries = 0;
    const work = (times: number) =>
      pool.use(
        keyOf('a'),
        async () => fakeSession(),
        signal,
        async () => {
          tries += 1;
          if (tries <= times) throw crash({ begun: false });
          return tries;
        },
      );
    expect(await work(1)).toBe(2);
    tries = 0;
    await expect(work(2)).rejects.toMatchObject({ code: 'RENDER_FAILED' });
    expect(tries).toBe(2);
  });

  it('forgets a session that ended', async () => {
    await using pool = new SessionPool();
    const session = fakeSession();
    await pool.use(
      keyOf('a'),
      async () => session,
      signal,
      async () => {},
    );
    session.end('crashed');
    await session.closed;
    await Promise.resolve();
    expect(pool.warm).toEqual([]);
  });

  it('gives others their session though the one who opened it gave up', async () => {
    await using pool = new SessionPool();
    const stop = new AbortController();
    let opened = 0;
    const open = async (opening: AbortSignal): Promise<RenderSession> => {
      opened += 1;
      if (opened > 1) return fakeSession();
      return await new Promise((_, reject) =>
        opening.addEventListener('abort', () => reject(new FarmError('INTERRUPTED', 'stopped'))),
      );
    };
    const first = pool.use(keyOf('a'), open, stop.signal, async () => 'first');
    const other = pool.use(keyOf('a'), open, signal, async () => 'other');
    await new Promise((resolve) => setImmediate(resolve));
    stop.abort();
    await expect(first).rejects.toMatchObject({ code: 'INTERRUPTED' });
    expect(await other).toBe('other');
  });

  it('closes what is in use and what is being opened, and takes nothing more', async () => {
    const pool = new SessionPool();
    const session = fakeSession();
    const busy = pool.use(
      keyOf('a'),
      async () => session,
      signal,
      async (own) => (await own.closed).reason,
    );
    const opening = pool.use(
      keyOf('b'),
      (stop) =>
        new Promise((_, reject) =>
          stop.addEventListener('abort', () => reject(new FarmError('INTERRUPTED', 'stopped'))),
        ),
      signal,
      async () => 'never',
    );
    const refused = expect(opening).rejects.toMatchObject({ code: 'INTERRUPTED' });
    await new Promise((resolve) => setImmediate(resolve));
    await pool.close();
    expect(await busy).toBe('closed');
    await refused;
    const late = pool.use(
      keyOf('c'),
      async () => fakeSession(),
      signal,
      async () => {},
    );
    await expect(late).rejects.toMatchObject({ code: 'INTERRUPTED' });
  });
});
