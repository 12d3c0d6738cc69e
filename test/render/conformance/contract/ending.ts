/** How sessions end. */
import { readdir } from 'node:fs/promises';
import { beforeAll, describe, expect, it } from 'vitest';
import type { RenderSession } from '../../../../platform/render/runtime.ts';
import { type Bench, code, LONG_SAMPLES } from '../bench.ts';

export function endingContract(bench: Bench): void {
  const { signal, open, closeShared, fresh, scenes, exchange, slow } = bench;

  const long = { frame: 1, rect: { x: 0, y: 0, width: 97, height: 55 }, samples: LONG_SAMPLES };

  /** Begins a render that nobody waits for, and says when the renderer is at it. */
  function beginLong(session: RenderSession, stop: AbortSignal) {
    let begun = (): void => undefined;
    const rendering = new Promise<void>((resolve) => {
      begun = resolve;
    });
    const work = session.render({ ...long, output: fresh('.exr') }, { signal: stop, onProgress: begun });
    return { work, rendering };
  }

  describe('ending', () => {
    beforeAll(closeShared);

    it('on abort, within two seconds, leaving nothing', async () => {
      const session = await open(slow);
      const stop = new AbortController();
      const { work, rendering } = beginLong(session, stop.signal);
      const failed = expect(work).rejects.toEqual(code('INTERRUPTED'));
      await rendering;
      const started = performance.now();
      stop.abort();
      await failed;
      expect(await session.closed).toMatchObject({ reason: 'aborted' });
      expect(performance.now() - started).toBeLessThan(2000);
      await expect(session.inspect({ signal })).rejects.toEqual(code('INTERRUPTED'));
      expect(await readdir(exchange())).toEqual([]);
    });

    it('on time-out', async () => {
      const session = await open(slow);
      const work = session.render({ ...long, output: fresh('.exr') }, { signal, timeoutMs: 700 });
      await expect(work).rejects.toEqual(code('RENDER_TIMEOUT'));
      expect(await session.closed).toMatchObject({ reason: 'timeout' });
    });

    it('while it opens, on abort', async () => {
      const stop = new AbortController();
      const opening = open('plain', scenes(), { signal: stop.signal });
      const failed = expect(opening).rejects.toEqual(code('INTERRUPTED'));
      stop.abort();
      await failed;
      expect(await readdir(exchange())).toEqual([]);
    });

    it('on close, twice, with a command under way and one that waits', async () => {
      const session = await open(slow);
      const { work: running, rendering } = beginLong(session, signal);
      const waiting = session.inspect({ signal });
      const failed = Promise.all([
        expect(running).rejects.toEqual(code('INTERRUPTED')),
        expect(waiting).rejects.toEqual(code('INTERRUPTED')),
      ]);
      await rendering;
      await session.close();
      await session.close();
      await failed;
      expect(await session.closed).toMatchObject({ reason: 'closed' });
      expect(await readdir(exchange())).toEqual([]);
    });
  });
}
