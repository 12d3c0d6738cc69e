/** The Blenders that are measured: the local one as a process, and the newest engine image as a container. */
import { connectDocker } from '../../platform/render/docker/connect.ts';
import type { RuntimeChoice } from '../../platform/render/engines.ts';
import { listImages } from '../../platform/render/images/list.ts';
import { findBlender } from '../../platform/render/process/programs.ts';
import { isFarmError } from '../../protocol/errors.ts';
import type { Engine } from './baselines.ts';

export type MeasuredEngine = {
  /** In the table. */
  name: string;
  runtime: Exclude<RuntimeChoice, 'auto'>;
  bare: Engine;
};

/** Those that this machine has, and a word about one that it has not. `folder` is where scenes and pictures are. */
export async function measuredEngines(
  folder: string,
  signal: AbortSignal,
  say: (line: string) => void,
): Promise<MeasuredEngine[]> {
  const engines: MeasuredEngine[] = [];
  try {
    const { path, version } = await findBlender(process.env['TESSERA_BLENDER'], undefined, signal);
    const bare: Engine = { command: (parameters) => ({ program: path, parameters: [...parameters] }) };
    engines.push({ name: `process, Blender ${version}`, runtime: 'process', bare });
  } catch (error) {
    if (!isFarmError(error, 'BLENDER_NOT_FOUND')) throw error;
    say('no local Blender: only containers are measured');
  }
  try {
    const docker = await connectDocker({ signal });
    const image = (await listImages(docker, signal)).find(({ gpu }) => gpu.length === 0);
    if (image === undefined)
      say('no engine image (`tessera images build` makes one): no container is measured');
    else
      engines.push({
        name: `docker, Blender ${image.version}`,
        runtime: 'docker',
        bare: inContainer(image.id, folder),
      });
  } catch (error) {
    if (!isFarmError(error, 'DOCKER_UNAVAILABLE')) throw error;
    say('no Docker engine answers: only the local Blender is measured');
  }
  return engines;
}

/** A plain container without any of the farm's limits: what somebody would type who has no farm. */
function inContainer(imageId: string, folder: string): Engine {
  const options = ['--rm', '--network', 'none', '--volume', `${folder}:${folder}`, '--env', 'HOME=/tmp'];
  return {
    command: (parameters) => ({
      program: 'docker',
      parameters: ['run', ...options, imageId, 'blender', ...parameters],
    }),
  };
}
