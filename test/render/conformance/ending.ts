/** How sessions end, and that nothing of a scene runs. */
import { readdir } from 'node:fs/promises';
import { describe, expect, it } from 'vitest';
import type { RenderSession } from '../../../platform/render/runtime.ts';
import { type Bench, code } from './bench.ts';

export function endingConformance(bench: Bench): void {
  const { signal, open, fresh, scenes, exchange, finish, wholeFrame } = bench;

  const long = { frame: 1, rect: { x: 0, y: 0, width: 97, height: 55 }, samples: 60_000 };

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
    it('on abort, within two seconds, leaving nothing', async () => {
      const session = await open('plain');
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
      const session = await open('plain');
      const work = session.render({ ...long, output: fresh('.exr') }, { signal, timeoutMs: 700 });
      await expect(work).rejects.toEqual(code('RENDER_TIMEOUT'));
      expect(await session.closed).toMatchObject({ reason: 'timeout' });
    });

    it('while it opens, on abort and on time-out', async () => {
      const stop = new AbortController();
      const opening = expect(open('plain', scenes(), { signal: stop.signal })).rejects.toEqual(
        code('INTERRUPTED'),
      );
      setTimeout(() => stop.abort(), 150);
      await opening;
      const scene = { root: scenes(), main: 'plain.blend' };
      const late = bench.runtime.open(scene, { signal, threads: 2, loadTimeoutMs: 50 });
      await expect(late).rejects.toEqual(code('RENDER_TIMEOUT'));
      expect(await readdir(exchange())).toEqual([]);
    });

    it('on close, twice, with a command under way and one that waits', async () => {
      const session = await open('plain');
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

  it('runs nothing that the scene brings along', async () => {
    await using session = await open('hostile');
    const { warnings } = await session.inspect({ signal });
    expect(warnings).toHaveLength(2);
    const { scene, tile } = await wholeFrame(session, 3);
    await finish(session, scene, [tile], 3);
    const entries = await readdir(exchange(), { recursive: true });
    expect(entries.length).toBeGreaterThan(0);
    expect(entries.filter((entry) => entry.includes('evil'))).toEqual([]);
  });
}
