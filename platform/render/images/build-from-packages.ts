/** The CPU image from Debian packages alone: no registry, no base image. */
import { spawn } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { FarmError } from '../../../protocol/errors.ts';
import { digestFile } from '../../blobs/digest-file.ts';
import type { DockerEngine } from '../docker/connect.ts';
import { findProgram } from '../process/programs.ts';
import { archiveFiles } from './archive.ts';
import { type BuildOptions, followed } from './build-progress.ts';
import { LABEL_ENGINE, LABEL_GPU, LABEL_RECIPE, LABEL_VERSION, REPOSITORY } from './labels.ts';
import { RECIPE_FOLDER, versionIn } from './recipe.ts';
import { runStep } from './run-step.ts';

const SYSTEM_FOLDERS = ['/usr/local/sbin', '/usr/sbin', '/sbin', '/usr/local/bin', '/usr/bin', '/bin'];
/** Two copies of the system lie there for a moment; /tmp is memory on many machines. */
const DEFAULT_TEMP_FOLDER = '/var/tmp';

/** Makes the image and loads it under its name; returns the tag. */
export async function buildFromPackages(
  docker: DockerEngine,
  source: { suite: string; mirror: string },
  recipe: string,
  { signal, onProgress, tempFolder = DEFAULT_TEMP_FOLDER }: BuildOptions,
): Promise<string> {
  const kept = 'no image was made';
  if (process.getuid?.() !== 0) {
    const advice =
      'run it as root, or build from a base image: tessera images build --base debian:trixie-slim';
    throw new FarmError('IMAGE_BUILD_FAILED', `making a system from packages needs root; ${advice}`, {
      kept,
    });
  }
  for (const program of ['debootstrap', 'unshare', 'tar', 'chroot']) {
    if ((await findProgram(program, SYSTEM_FOLDERS)) === undefined) {
      throw new FarmError(
        'PROGRAM_NOT_FOUND',
        `${program} is not installed (Debian: apt-get install ${program})`,
        { kept },
      );
    }
  }
  const folder = await mkdtemp(join(tempFolder, 'tessera-image-'));
  try {
    const rootfs = join(folder, 'layer');
    const script = join(RECIPE_FOLDER, 'make-rootfs.sh');
    let version: string | undefined;
    let newestMs = 0;
    await runStep({
      // Namespaces of its own: whatever is mounted or started for the build is gone with it.
      command: 'unshare',
      parameters: [
        '--mount',
        '--pid',
        '--fork',
        '--kill-child',
        'sh',
        script,
        rootfs,
        source.suite,
        source.mirror,
      ],
      signal,
      onLine: (line) => {
        version ??= versionIn(line);
        newestMs = Number(/^TESSERA-NEWEST (\d+)$/.exec(line)?.[1] ?? newestMs / 1_000) * 1_000;
        onProgress(line);
      },
    });
    if (version === undefined) {
      throw new FarmError('IMAGE_BUILD_FAILED', 'the Blender in the image does not say its version', {
        kept,
      });
    }
    onProgress('taking the digest of the layer');
    const layer = await digestFile(`${rootfs}.tar`);
    const tag = `${REPOSITORY}:${version}-debian`;
    const { manifest, config } = archiveFiles({
      tag,
      labels: {
        [LABEL_ENGINE]: 'blender',
        [LABEL_VERSION]: version,
        [LABEL_GPU]: 'none',
        [LABEL_RECIPE]: recipe,
        'org.opencontainers.image.title': `Blender ${version} of Debian ${source.suite}`,
      },
      layerDigest: layer.digest,
      createdAtMs: newestMs,
      architecture: process.arch,
    });
    await writeFile(join(folder, 'manifest.json'), manifest);
    await writeFile(join(folder, 'config.json'), config);
    onProgress(`loading ${Math.round(layer.sizeBytes / 2 ** 20)} MiB into the Docker engine`);
    await load(docker, folder, signal);
    return tag;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** The engine names an image last, so one that is cut off here has no name. */
async function load(docker: DockerEngine, folder: string, signal: AbortSignal): Promise<void> {
  const files = ['manifest.json', 'config.json', 'layer.tar'];
  const tar = spawn('tar', ['--create', '--directory', folder, ...files], {
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  const end = (): void => void tar.kill('SIGKILL');
  signal.addEventListener('abort', end, { once: true });
  try {
    const reply = await docker.client.loadImage(tar.stdout, { quiet: true, abortSignal: signal });
    await followed(docker, reply);
  } catch (error) {
    if (signal.aborted)
      throw new FarmError('INTERRUPTED', 'the image build was stopped', { kept: 'no image was made' });
    throw new FarmError('IMAGE_BUILD_FAILED', `the Docker engine did not take the image: ${String(error)}`, {
      cause: error,
      kept: 'no image was made',
    });
  } finally {
    signal.removeEventListener('abort', end);
    end();
  }
}
