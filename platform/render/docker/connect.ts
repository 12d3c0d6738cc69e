/** The Docker engine of this machine, if one answers. */
import type Docker from 'dockerode';
import { FarmError } from '../../../protocol/errors.ts';

/** An engine that is alive answers a ping in milliseconds; one that is starting or stuck does not in this time. */
const PING_TIMEOUT_MS = 10_000;
const USUAL_SOCKET = '/var/run/docker.sock';

export type DockerEngine = {
  readonly client: Docker;
  readonly version: string;
  readonly processors: number;
  readonly memoryBytes: number;
  /** Whether it has NVIDIA's runtime, without which it cannot give a container a GPU. */
  readonly givesGpus: boolean;
};

/**
 * Where the engine listens: `DOCKER_HOST` when it names a socket of this machine, else the usual place. An engine
 * elsewhere is of no use: it could not see the scene's folder.
 */
export function dockerSocket(dockerHost: string | undefined): string {
  if (dockerHost === undefined || dockerHost === '') return USUAL_SOCKET;
  if (dockerHost.startsWith('unix://')) return dockerHost.slice('unix://'.length);
  throw new FarmError(
    'DOCKER_UNAVAILABLE',
    `DOCKER_HOST is ${dockerHost}, but only an engine of this machine (unix://…) can see the scenes`,
  );
}

/** Connects and asks what is there. Throws DOCKER_UNAVAILABLE with the reason. */
export async function connectDocker(options: {
  signal: AbortSignal;
  socketPath?: string | undefined;
}): Promise<DockerEngine> {
  const { signal } = options;
  const socketPath = options.socketPath ?? dockerSocket(process.env['DOCKER_HOST']);
  // Loaded when somebody wants it: it brings a lot along that most commands never need.
  const { default: DockerClient } = await import('dockerode');
  // The time limit is for this one question: later ones wait for a container's end for hours.
  const asking = new DockerClient({ socketPath, timeout: PING_TIMEOUT_MS });
  try {
    const info: unknown = await asking.info();
    signal.throwIfAborted();
    return { client: new DockerClient({ socketPath }), ...described(info, socketPath) };
  } catch (error) {
    if (signal.aborted) throw new FarmError('INTERRUPTED', 'stopped while looking for the Docker engine');
    if (error instanceof FarmError) throw error;
    const why = error instanceof Error ? error.message : String(error);
    throw new FarmError('DOCKER_UNAVAILABLE', `no Docker engine answers at ${socketPath} (${why})`, {
      cause: error,
    });
  }
}

function described(info: unknown, socketPath: string): Omit<DockerEngine, 'client'> {
  const facts = info as {
    ServerVersion?: string;
    NCPU?: number;
    MemTotal?: number;
    SecurityOptions?: string[];
    Runtimes?: Record<string, unknown>;
  };
  if (facts.SecurityOptions?.some((option) => option.includes('rootless'))) {
    // Users are shifted there: the folders a session shares with its container would belong to nobody it knows.
    throw new FarmError('DOCKER_UNAVAILABLE', `the engine at ${socketPath} is a rootless one`);
  }
  return {
    version: facts.ServerVersion ?? 'unknown',
    processors: facts.NCPU ?? 1,
    memoryBytes: facts.MemTotal ?? 0,
    givesGpus: Object.hasOwn(facts.Runtimes ?? {}, 'nvidia'),
  };
}

/** The HTTP status in an error of the engine, or undefined. */
export function statusOf(error: unknown): number | undefined {
  if (typeof error !== 'object' || error === null || !('statusCode' in error)) return undefined;
  return typeof error.statusCode === 'number' ? error.statusCode : undefined;
}
