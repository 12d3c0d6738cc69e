/** Render sessions as containers of an engine image. */
import { readFile, realpath, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { DeviceRequest } from 'dockerode';
import { FarmError } from '../../../protocol/errors.ts';
import { packageRoot } from '../../package-root.ts';
import type { DeviceType } from '../device-choice.ts';
import { type EngineImage, engineIdOf } from '../images/labels.ts';
import { cpuDeviceClass } from '../process/device-class.ts';
import type { EngineInfo, GpuAccess, RenderRuntime } from '../runtime.ts';
import type { Guest, Launch } from '../session/launcher.ts';
import type { SessionLimits } from '../session/limits.ts';
import { reportDevices, tryDevice } from '../session/probe.ts';
import { openSession, startRenderer } from '../session/session.ts';
import type { DockerEngine } from './connect.ts';
import { launchContainer } from './container.ts';
import { type ContainerLimits, containerRequest } from './container-request.ts';
import { allDevices, deviceRequests } from './gpu-request.ts';
import { ownerLabels } from './owner.ts';

export type DockerRuntimeOptions = {
  docker: DockerEngine;
  image: EngineImage;
  /** The folder the program works in: containers are labelled with it. */
  owner: string;
  withoutAvx2?: boolean;
  limits?: Partial<ContainerLimits>;
  /** What the host watches over. */
  sessionLimits?: Partial<Pick<SessionLimits, 'outputBytes' | 'outputFiles'>>;
  /** The Python that runs inside, where it is not the package's own. */
  pythonFolder?: string | undefined;
  /** Where exchange folders go; best on the disk of the outputs. */
  tempFolder?: string | undefined;
  /** 0, or up to 19 for sessions that give way to all else on this machine. */
  niceness?: number | undefined;
};

const GIB = 1024 ** 3;
/** The rest is for the farm's own programs and the system. */
const MEMORY_SHARE = 0.8;
/** As for the process runtime (process/runtime.ts). */
const DEFAULT_LIMITS = { fileBytes: 8 * GIB, scratchBytes: 4 * GIB, processes: 4096 };
/** Between what Debian gives to people and what systemd gives to services: nobody's. */
const NOBODYS_ID = 60_999;

/** Containers never run as root; a farm that does not run as root can only share files with its own user. */
function userInside(): { user: Guest; guest: Guest | undefined } {
  const uid = process.getuid?.() ?? 0;
  if (uid !== 0) return { user: { uid, gid: process.getgid?.() ?? uid }, guest: undefined };
  const guest = { uid: NOBODYS_ID, gid: NOBODYS_ID };
  return { user: guest, guest };
}

/** The runtime of one image. */
export async function createDockerRuntime(options: DockerRuntimeOptions): Promise<RenderRuntime> {
  const { docker, image, withoutAvx2 = false, tempFolder } = options;
  const cpuInfo = await readFile('/proc/cpuinfo', 'utf8').catch(() => '');
  const engine: EngineInfo = {
    id: engineIdOf(image),
    version: image.version,
    deviceClass: cpuDeviceClass(cpuInfo, image.version, withoutAvx2),
    runtime: 'docker',
  };
  const { user, guest } = userInside();
  const memoryBytes = Math.floor(docker.memoryBytes * MEMORY_SHARE);
  const limits: ContainerLimits = { memoryBytes, ...DEFAULT_LIMITS, ...options.limits };
  // The kernel holds the container to memory and processes as well; the watch says sooner, and in whose name.
  const sessionLimits: Partial<SessionLimits> = {
    memoryBytes: limits.memoryBytes,
    processes: limits.processes,
    memoryLimitOf: options.limits?.memoryBytes === undefined ? 'machine' : 'farm',
    ...options.sessionLimits,
  };
  const labels = await ownerLabels(options.owner);
  const pythonFolder = options.pythonFolder ?? join(packageRoot(), 'blender-images', 'session');
  const launchWith =
    (devices: DeviceRequest[], deviceType?: DeviceType): Launch =>
    (folders, { threads, niceness = options.niceness ?? 0 }) => {
      const { processors } = docker;
      const { id: imageId } = image;
      const spec = { imageId, folders, pythonFolder, threads, processors, user, limits, labels };
      const watched = { outputFolder: folders.output, maxProcesses: limits.processes };
      return launchContainer(
        docker,
        containerRequest({ ...spec, withoutAvx2, niceness, devices, deviceType }),
        watched,
      );
    };
  const runtimeOn = (engine: EngineInfo, launch: Launch): RenderRuntime => ({
    engine,
    start: (startOptions) =>
      startRenderer({ ...startOptions, launch, tempFolder, guest, limits: sessionLimits }),
    async open(scene, openOptions) {
      const root = await realpath(scene.root).catch((error: unknown) => {
        throw new FarmError('SCENE_NOT_FOUND', `there is no folder ${scene.root}`, { cause: error });
      });
      if (guest !== undefined) await requireReadable(root);
      return await openSession(
        { ...scene, root },
        {
          ...openOptions,
          ...{ engine, launch, tempFolder, guest },
          limits: sessionLimits,
        },
      );
    },
  });
  const gpus: GpuAccess = {
    async report(signal) {
      if (!docker.givesGpus || image.gpu.length === 0) return null;
      return await reportDevices({ signal, tempFolder, guest, launch: launchWith(allDevices()) });
    },
    on(device) {
      const launch = launchWith(deviceRequests(device.type, device.uuid), device.type);
      const bound = { ...engine, deviceClass: device.deviceClass, device };
      return {
        ...runtimeOn(bound, launch),
        tryOut: (signal) => tryDevice(device, { signal, tempFolder, guest, launch }),
      };
    },
  };
  return { ...runtimeOn(engine, launchWith([])), gpus };
}

/** Blender would only find an empty folder, and say that the scene is not there. */
async function requireReadable(root: string): Promise<void> {
  if (((await stat(root)).mode & 0o005) === 0o005) return;
  throw new FarmError(
    'SCENE_UNREADABLE',
    `the folder ${root} is closed to other users (chmod o+rx), and a container does not run as root`,
  );
}
