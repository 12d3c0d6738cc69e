/** What this machine offers: the local Blender under bubblewrap, and every engine image of its Docker. */
import { z } from 'zod';
import { FarmError, isFarmError } from '../../protocol/errors.ts';
import { connectDocker } from './docker/connect.ts';
import { createDockerRuntime } from './docker/runtime.ts';
import { sweepContainers } from './docker/sweep.ts';
import { findGpuEngines } from './gpu/find-gpu-engines.ts';
import { engineIdOf, whyLeftOut } from './images/labels.ts';
import { compareVersions, listImages } from './images/list.ts';
import type { KnownBlender } from './process/known-blender.ts';
import { createProcessRuntime } from './process/runtime.ts';
import type { RenderRuntime } from './runtime.ts';

/**
 * `auto` takes both where they are there; `docker` and `process` insist (TESSERA_RUNTIME). `synthetic` is for load
 * tests and nothing that people can choose; alone, so that no job ends up with it by mistake.
 */
export const runtimeChoiceSchema = z.enum(['auto', 'docker', 'process', 'synthetic']);
export type RuntimeChoice = z.infer<typeof runtimeChoiceSchema>;

export type FindEnginesOptions = {
  signal: AbortSignal;
  choice: RuntimeChoice;
  blenderPath?: string | undefined;
  /** What somebody else has found out about it. */
  knownBlender?: KnownBlender | undefined;
  /** Where exchange folders go; containers are labelled with it. */
  tempFolder: string;
  /** The most one session may hold; left out: each runtime's default. */
  memoryLimitBytes?: number | undefined;
  /** 0, or up to 19 for sessions that give way to all else on this machine. */
  niceness?: number | undefined;
  /** The engine's socket, in place of the usual one. */
  dockerSocketPath?: string;
  /** The CPU as the class that it would be without AVX2; no such class where it has none. */
  withoutAvx2?: boolean;
  /** Whether GPUs are looked for as well; it takes seconds where there are any. */
  gpus?: boolean;
  /** Hears what was found and is not used, and why. */
  onNote?: (note: string) => void;
};

/**
 * The engines, containers first, of each kind the newest first; at least one. After all of them those of them on GPUs,
 * one for each GPU, where these are asked for. Containers that a dead program left on
 * this machine are removed on the way. Throws DOCKER_UNAVAILABLE, ENGINE_NOT_FOUND, BLENDER_NOT_FOUND or
 * SANDBOX_NOT_FOUND where what was asked for is not there.
 */
export async function findEngines(options: FindEnginesOptions): Promise<RenderRuntime[]> {
  const { choice } = options;
  if (choice === 'synthetic') {
    // Load tests alone need it, and its picture libraries.
    const { createSyntheticRuntime } = await import('./synthetic/runtime.ts');
    return [createSyntheticRuntime()];
  }
  const containers = choice === 'process' ? [] : await findContainers(options);
  const local = choice === 'docker' ? null : await findLocal(options, containers.length > 0);
  if (choice === 'docker' && containers.length === 0) {
    throw new FarmError(
      'ENGINE_NOT_FOUND',
      'Docker has no engine image; make one with `tessera images build`',
    );
  }
  const engines = local === null ? containers : [...containers, local];
  if (options.gpus !== true) return engines;
  return [...engines, ...(await findGpuEngines(engines, options))];
}

async function findContainers(options: FindEnginesOptions): Promise<RenderRuntime[]> {
  const { signal, choice, tempFolder, memoryLimitBytes, niceness, dockerSocketPath, onNote } = options;
  const { withoutAvx2 = false } = options;
  const limits = memoryLimitBytes === undefined ? {} : { memoryBytes: memoryLimitBytes };
  try {
    const docker = await connectDocker({ signal, socketPath: dockerSocketPath });
    await sweepContainers(docker, signal);
    const seen = new Set<string>();
    const runtimes: RenderRuntime[] = [];
    for (const image of await listImages(docker, signal)) {
      if (seen.has(image.id)) continue;
      seen.add(image.id);
      const why = whyLeftOut(image, docker.givesGpus);
      if (why !== null) {
        onNote?.(`${engineIdOf(image)} is left out: ${why}`);
        continue;
      }
      runtimes.push(
        await createDockerRuntime({
          ...{ docker, image, owner: tempFolder, limits, tempFolder, niceness, withoutAvx2 },
        }),
      );
    }
    return runtimes.sort((a, b) => compareVersions(b.engine.version, a.engine.version));
  } catch (error) {
    if (choice === 'auto' && isFarmError(error, 'DOCKER_UNAVAILABLE')) return [];
    throw error;
  }
}

async function findLocal(options: FindEnginesOptions, hasOthers: boolean): Promise<RenderRuntime | null> {
  const {
    signal,
    choice,
    blenderPath,
    knownBlender,
    tempFolder,
    memoryLimitBytes,
    niceness,
    withoutAvx2 = false,
  } = options;
  try {
    return await createProcessRuntime({
      ...{ signal, blenderPath, knownBlender, tempFolder, memoryLimitBytes, niceness, withoutAvx2 },
    });
  } catch (error) {
    const isMissing = isFarmError(error, 'BLENDER_NOT_FOUND') || isFarmError(error, 'SANDBOX_NOT_FOUND');
    // Named by the operator, it has to be there.
    if (choice === 'auto' && hasOthers && isMissing && blenderPath === undefined) return null;
    throw error;
  }
}

/**
 * The runtime of an engine, on this device class where one is named and there; ENGINE_NOT_FOUND with those there are.
 * Without a class it is the one on the CPU: {@link findEngines} lists these first.
 */
export function runtimeOf(
  runtimes: readonly RenderRuntime[],
  engineId: string,
  deviceClass?: string,
): RenderRuntime {
  const fitting = runtimes.filter((runtime) => runtime.engine.id === engineId);
  const found = fitting.find((runtime) => runtime.engine.deviceClass === deviceClass) ?? fitting[0];
  if (found !== undefined) return found;
  const there = runtimes.map((runtime) => runtime.engine.id).join(', ');
  throw new FarmError('ENGINE_NOT_FOUND', `there is no engine ${engineId} here, only ${there}`);
}
