/** Scenes that ask for a denoiser: what guides it is rendered, and it runs once over the merged frame. */
import { mkdir, readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { differingValues, localBlender, makeFixtures, referencePicture, temporaryFolder } from './support.ts';

const SCRIPT = join(dirname(fileURLToPath(import.meta.url)), 'check-denoising.py');
const FRAME = 2;

describe('denoising', { timeout: 180_000 }, () => {
  it('is a node over the merged frame, guided by passes that were rendered for it', async () => {
    await using folder = await temporaryFolder();
    const [scenes, out] = [join(folder.path, 'scenes'), join(folder.path, 'out')];
    await Promise.all([makeFixtures(scenes), mkdir(out)]);
    const scene = join(scenes, 'composite.blend');
    const reference = await referencePicture(localBlender, scene, FRAME, folder.path);
    const script = ['--python-exit-code', '1', '--python', SCRIPT, '--', out];
    await localBlender(['-b', '--factory-startup', '-noaudio', '-t', '2', scene, ...script], out);

    const report = JSON.parse(await readFile(join(out, 'report.json'), 'utf8'));
    expect(report).toMatchObject({
      prefilters: ['FAST'],
      unsupported: [],
      // Put back as the artist has it.
      storesPasses: false,
      usesDenoising: true,
    });
    expect(report.channels).toEqual(
      expect.arrayContaining(['ViewLayer.Denoising Albedo.R', 'ViewLayer.Denoising Normal.X']),
    );
    const links: { from: [string, string]; to: [string, string] }[] = report.links;
    const into = links.filter(({ to }) => to[0] === 'DENOISE').map(({ from, to }) => [...from, to[1]]);
    expect(into.sort()).toEqual([
      ['IMAGE', 'Combined', 'Image'],
      ['IMAGE', 'Denoising Albedo', 'Albedo'],
    ]);
    expect(links.some(({ from }) => from[0] === 'DENOISE')).toBe(true);
    // What asked for the noisy picture has it.
    expect(links.find(({ to }) => to[0] === 'BLUR')?.from).toEqual(['IMAGE', 'Combined']);

    const pictures = ['whole.png', 'tiled.png'].map((name) => join(out, name));
    expect(await differingValues(pictures[0] ?? '', pictures[1] ?? '')).toMatchObject({ differing: 0 });
    // Debian's Blender has no denoiser: its node gives what it got.
    expect(await differingValues(reference, pictures[0] ?? '')).toMatchObject({ differing: 0 });
  });
});
