/** Sessions that begin in a renderer which was started before the scene was known. */
import { copyFile, mkdir, readdir, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import type { StartedRenderer } from '../../../platform/render/runtime.ts';
import { type Bench, FRAME } from './bench.ts';

export function startingConformance(bench: Bench): void {
  const { signal, open, scenes, exchange, folder, renderTiles } = bench;

  const start = async (threads = 2): Promise<StartedRenderer> => {
    const started = await bench.runtime.start?.({ signal, threads });
    if (started === undefined) throw new Error('this runtime starts no renderer ahead');
    return started;
  };
  const openIn = (started: StartedRenderer, root = scenes()) =>
    bench.runtime.open({ root, main: 'plain.blend' }, { signal, threads: 2, started });

  it('begins in a renderer that was started ahead, gives the same pixels and leaves nothing behind', async () => {
    const digests: string[] = [];
    for (const opening of [() => open('plain'), async () => openIn(await start())]) {
      await using session = await opening();
      const { region } = await session.inspect({ signal });
      const [tile] = await renderTiles(session, region, [1, 1], FRAME);
      digests.push(tile?.pixelDigest ?? '');
    }
    expect(digests[1]).toMatch(/^[0-9a-f]{64}$/);
    expect(digests[1]).toBe(digests[0]);
    expect(await readdir(exchange())).toEqual([]);
  });

  it('begins in a new one where the one that was started will not do', async () => {
    const linked = join(folder(), 'linked');
    await mkdir(linked);
    await copyFile(join(scenes(), 'plain.blend'), join(linked, 'plain.blend'));
    await symlink('plain.blend', join(linked, 'other.blend'));
    const ended = await start();
    await ended.close();
    const narrow = await start(1);
    const wrong = await start();
    for (const [started, root] of [[ended], [narrow], [wrong, linked]] as const) {
      await using session = await openIn(started, root);
      expect((await session.inspect({ signal })).hasCamera).toBe(true);
      expect(started.alive).toBe(false);
    }
    expect(await readdir(exchange())).toEqual([]);
  });
}
