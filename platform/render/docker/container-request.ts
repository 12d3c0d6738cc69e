/** What the Docker engine is asked for: a container with nothing in reach but its scene. Pure. */
import type { ContainerCreateOptions, DeviceRequest, MountSettings } from 'dockerode';
import type { DeviceType } from '../device-choice.ts';
import { blenderArguments } from '../process/sandbox.ts';
import { type Guest, INSIDE, type SandboxFolders } from '../session/launcher.ts';

export type ContainerLimits = {
  /** Memory with everything in it, /tmp too; no swap on top. */
  memoryBytes: number;
  /** Size of /tmp, which is memory. */
  scratchBytes: number;
  /** Largest file Blender may write. */
  fileBytes: number;
  /** Processes and threads, as the host's watch counts them; the kernel's own limit is a little above. */
  processes: number;
};

export type ContainerSpec = {
  /** By id, never by tag: a tag can be moved to another image. */
  imageId: string;
  folders: SandboxFolders;
  pythonFolder: string;
  threads: number;
  /** Of the machine: the engine refuses a share of more. */
  processors: number;
  user: Guest;
  limits: ContainerLimits;
  labels: Record<string, string>;
  withoutAvx2: boolean;
  /** Above 0 the container gives way to all else on this machine. */
  niceness: number;
  devices: DeviceRequest[];
  /** What Cycles is to render on; left out: the CPU. */
  deviceType?: DeviceType | undefined;
};

/**
 * What the kernel allows above the limit that is watched. A scene whose processes are only refused hangs until its time
 * is over; one that is seen to be over the limit is ended, and the artist reads why.
 */
const PROCESSES_ABOVE_LIMIT = 64;

/**
 * The engine's default, and one more: the kernel lets everybody write to /proc/pressure, which starts kernel threads of
 * the host.
 */
const READ_ONLY_IN_PROC = ['bus', 'fs', 'irq', 'pressure', 'sys', 'sysrq-trigger'];

/** The request. Everything not listed here is the engine's default, its seccomp profile above all. */
export function containerRequest(spec: ContainerSpec): ContainerCreateOptions {
  const { folders, limits, user } = spec;
  return {
    Image: spec.imageId,
    Entrypoint: ['blender'],
    Cmd: blenderArguments(spec.threads, spec.deviceType),
    User: `${user.uid}:${user.gid}`,
    WorkingDir: '/tmp',
    Hostname: 'tessera',
    Env: ['HOME=/tmp', 'TMPDIR=/tmp', 'LANG=C.UTF-8', ...(spec.withoutAvx2 ? ['CYCLES_CPU_NO_AVX2=1'] : [])],
    Labels: spec.labels,
    NetworkDisabled: true,
    OpenStdin: false,
    Tty: false,
    HostConfig: {
      NetworkMode: 'none',
      // No /dev/shm: the one writable place besides /tmp and the output.
      IpcMode: 'none',
      ReadonlyRootfs: true,
      Tmpfs: {
        '/tmp': `rw,nosuid,nodev,noexec,size=${limits.scratchBytes},mode=1777`,
        // The machine's hardware and its kernel are none of the scene's business; a driver may look for its card there.
        ...(spec.devices.length === 0 && { '/sys': 'ro,nosuid,nodev,noexec,size=4k,mode=555' }),
      },
      ReadonlyPaths: READ_ONLY_IN_PROC.map((name) => `/proc/${name}`),
      Mounts: [
        bind(folders.scene, INSIDE.scene, true),
        bind(spec.pythonFolder, INSIDE.python, true),
        bind(folders.input, INSIDE.input, true),
        bind(folders.output, INSIDE.output, false),
      ],
      CapDrop: ['ALL'],
      SecurityOpt: ['no-new-privileges=true'],
      Privileged: false,
      // Reaps what a scene may start and leave behind.
      Init: true,
      PidsLimit: limits.processes + PROCESSES_ABOVE_LIMIT,
      Memory: limits.memoryBytes,
      // Memory and swap together: the same number means no swap.
      MemorySwap: limits.memoryBytes,
      // Between containers shares count, not niceness; a step of it is this factor (sched(7)), and 1024 the usual share.
      ...(spec.niceness > 0 && { CpuShares: Math.round(1024 / 1.25 ** spec.niceness) }),
      NanoCpus: Math.min(spec.threads, spec.processors) * 1e9,
      Ulimits: [
        { Name: 'core', Soft: 0, Hard: 0 },
        { Name: 'fsize', Soft: limits.fileBytes, Hard: limits.fileBytes },
      ],
      // What Blender prints is read as it comes; a log on disk would grow with what a scene makes it print.
      LogConfig: { Type: 'none', Config: {} },
      RestartPolicy: { Name: 'no' },
      ...(spec.devices.length === 0 ? {} : { DeviceRequests: spec.devices }),
    },
  };
}

function bind(source: string, target: string, readOnly: boolean): MountSettings {
  return {
    Type: 'bind',
    Source: source,
    Target: target,
    ReadOnly: readOnly,
    // What is mounted below it on the host is none of the scene's business, nor is what will be.
    BindOptions: { Propagation: 'rprivate' },
  };
}
