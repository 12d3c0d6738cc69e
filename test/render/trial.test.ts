/** Which real scenes render the same twice. */
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { tryScene } from '../../coordinator/admission/try-scene.ts';
import { createProcessRuntime } from '../../platform/render/process/runtime.ts';
import type { RenderRuntime } from '../../platform/render/runtime.ts';
import { digestSchema } from '../../protocol/ids.ts';
import { makeFixtures, temporaryFolder } from './support.ts';

const signal = new AbortController().signal;
const REGION = { x: 0, y: 0, width: 97, height: 55 };

describe('a scene that is rendered twice', () => {
  let folder: Awaited<ReturnType<typeof temporaryFolder>>;
  let runtime: RenderRuntime;
  beforeAll(async () => {
    folder = await temporaryFolder();
    await makeFixtures(folder.path);
    runtime = await createProcessRuntime({ signal, tempFolder: folder.path });
  });
  afterAll(() => folder[Symbol.asyncDispose]());

  const tried = (scene: string, frames = [1, 5]) =>
    tryScene(
      { scene: digestSchema.parse('7e'.repeat(32)), frames, region: REGION, samples: 8 },
      {
        runtime,
        folder: { root: folder.path, main: scene },
        workFolder: join(folder.path, 'trial'),
        threads: 2,
        niceness: undefined,
        signal,
      },
    );

  it.each(['plain.blend', 'smooth.blend'])('%s is the same', async (scene) => {
    expect(await tried(scene)).toMatchObject({ outcome: 'pass' });
  });

  it('is another picture with a Displace modifier on a Noise texture, also where one frame is asked for', async () => {
    for (const frames of [[1, 5], [3]]) {
      const finding = await tried('noise-displaced.blend', frames);
      expect(finding.outcome).not.toBe('pass');
      expect(frames).toContain(finding.frame);
      expect(finding.pixelMatchFraction).toBeLessThan(0.9);
    }
  });

  it('is another picture where a driver follows such a texture, on an object that is not rendered', async () => {
    const finding = await tried('noise-driven.blend');
    expect(finding.outcome).not.toBe('pass');
    expect(finding.pixelMatchFraction).toBeLessThan(0.998);
  });
});
