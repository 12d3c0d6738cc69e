/** The engine image of the tests, and its Blender without the farm. */
import { realpath } from 'node:fs/promises';
import { dirname } from 'node:path';
import { Writable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { connectDocker, type DockerEngine } from '../../platform/render/docker/connect.ts';
import type { EngineImage } from '../../platform/render/images/labels.ts';
import { listImages } from '../../platform/render/images/list.ts';
import type { BareBlender } from './support.ts';

const HERE = dirname(fileURLToPath(import.meta.url));
const { signal } = new AbortController();

/** Fails, and is not skipped, where no engine answers or the image is missing: `npm test` sees to both. */
export async function testImage(): Promise<{ docker: DockerEngine; image: EngineImage }> {
  const docker = await connectDocker({ signal });
  const image = (await listImages(docker, signal)).find((one) => one.gpu.length === 0);
  if (image === undefined) throw new Error('there is no engine image: run `tessera images build` first');
  return { docker, image };
}

/** `docker run` of the same image, with nothing of the farm. `scenes` is seen besides the folder that is written to. */
export function blenderInImage(...visible: string[]): BareBlender {
  const blender = async (parameters: string[], folder: string): Promise<void> => {
    const { docker, image } = await testImage();
    let output = '';
    const sink = new Writable({
      write(chunk: Buffer, _encoding, done) {
        output = (output + chunk.toString()).slice(-4_000);
        done();
      },
    });
    // Scenes lie in the parent of what is written.
    const scenes = parameters.filter((one) => one.endsWith('.blend')).map((path) => dirname(dirname(path)));
    const binds = new Set([...visible, ...scenes, await realpath(folder)].map((path) => `${path}:${path}`));
    const [result] = (await docker.client.run(image.id, ['blender', ...parameters], sink, {
      Tty: true,
      Env: ['HOME=/tmp'],
      HostConfig: { NetworkMode: 'none', AutoRemove: true, Binds: [...binds, `${HERE}:${HERE}:ro`] },
    })) as [{ StatusCode: number }];
    if (result.StatusCode !== 0) throw new Error(`Blender ended with ${result.StatusCode}:\n${output}`);
  };
  return Object.assign(blender, { madeBy: 'image' } as const);
}
