/** The CPU image from a base image: the same packages, put in by the engine's own builder. */
import { FarmError } from '../../../protocol/errors.ts';
import type { DockerEngine } from '../docker/connect.ts';
import { type BuildOptions, followed } from './build-progress.ts';
import { LABEL_ENGINE, LABEL_GPU, LABEL_RECIPE, LABEL_VERSION, REPOSITORY } from './labels.ts';
import { RECIPE_FOLDER, versionIn } from './recipe.ts';

const kept = 'no image was named';

/** Builds without a name, asks the result for its Blender, and only then names and labels it. Returns the tag. */
export async function buildFromBase(
  docker: DockerEngine,
  base: string,
  recipe: string,
  { signal, onProgress }: BuildOptions,
): Promise<string> {
  try {
    const context = { context: RECIPE_FOLDER, src: ['Dockerfile', 'install.sh', 'packages.txt'] };
    let id: string | undefined;
    const stream = await docker.client.buildImage(context, {
      buildargs: { BASE: base },
      // The host's network: an engine that only ever runs renderers may have no bridge.
      networkmode: 'host',
      forcerm: true,
      abortSignal: signal,
    });
    await followed(docker, stream, (line) => {
      id = /^Successfully built ([0-9a-f]+)$/.exec(line)?.[1] ?? id;
      onProgress(line);
    });
    if (id === undefined) throw new Error('the builder did not name its result');
    return await label(docker, id, recipe, base, signal);
  } catch (error) {
    if (signal.aborted) throw new FarmError('INTERRUPTED', 'the image build was stopped', { kept });
    if (error instanceof FarmError) throw error;
    const why = error instanceof Error ? error.message : String(error);
    throw new FarmError('IMAGE_BUILD_FAILED', `building from ${base}: ${why}`, { cause: error, kept });
  }
}

async function label(
  docker: DockerEngine,
  id: string,
  recipe: string,
  base: string,
  signal: AbortSignal,
): Promise<string> {
  const container = await docker.client.createContainer({
    Image: id,
    Cmd: ['blender', '--version'],
    HostConfig: { NetworkMode: 'none' },
    abortSignal: signal,
  });
  try {
    await container.start({ abortSignal: signal });
    await container.wait({ abortSignal: signal });
    const version = versionIn(
      String(await container.logs({ stdout: true, stderr: true })).replaceAll(/[^\x20-\x7e\n]/g, ''),
    );
    if (version === undefined) throw new Error('the Blender in the image does not say its version');
    const labels = {
      [LABEL_ENGINE]: 'blender',
      [LABEL_VERSION]: version,
      [LABEL_GPU]: 'none',
      [LABEL_RECIPE]: recipe,
      'org.opencontainers.image.title': `Blender ${version} on ${base}`,
    };
    const changes = Object.entries(labels).map(([name, value]) => `LABEL ${name}=${JSON.stringify(value)}`);
    const tag = `${version}-base`;
    await container.commit({ repo: REPOSITORY, tag, changes: changes.join('\n'), abortSignal: signal });
    return `${REPOSITORY}:${tag}`;
  } finally {
    await container.remove({ force: true });
  }
}
