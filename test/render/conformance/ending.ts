/** How Blender ends while it loads, and that nothing of a scene runs. */
import { readdir } from 'node:fs/promises';
import { expect, it } from 'vitest';
import { type Bench, code } from './bench.ts';

export function endingConformance(bench: Bench): void {
  const { signal, open, scenes, exchange, finish, wholeFrame } = bench;

  it('ends while it opens, on abort and on time-out', async () => {
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
