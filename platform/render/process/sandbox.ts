/** The command line that runs Blender (and ffmpeg) with nothing in reach but what it was given. */
import { dirname } from 'node:path';
import type { DeviceType } from '../device-choice.ts';
import { INSIDE, type SandboxFolders, SOCKET_NAME } from '../session/launcher.ts';

/** The card that a program in a bubble may compute on. */
export type BubbleGpu = {
  /** Device files of the host, all that the driver needs. */
  files: readonly string[];
  /** CUDA and OptiX see this card alone; null: all of them. */
  uuid: string | null;
};

/** What Blender, its libraries and its fonts are read from. Debian's BLAS is found through alternatives. */
const SYSTEM_FOLDERS = [
  '/usr',
  '/lib',
  '/lib32',
  '/lib64',
  '/bin',
  '/etc/fonts',
  '/etc/alternatives',
  '/etc/ld.so.cache',
];
/** Shared memory between processes: Blender has one process, so this is for libraries that insist. */
const SHARED_MEMORY_BYTES = 64 * 1024 ** 2;
/** Any number but 0: nothing inside looks like root. */
const UID = '1000';

export type Limits = {
  /** Largest file Blender may write. The largest honest one is a merged frame: 2^32 bytes decoded. */
  fileBytes: number;
  /** Size of the sandbox's own /tmp, which is memory. Cycles puts tiles of very large frames there. */
  scratchBytes: number;
  /** Threads and processes in the sandbox; undefined where the kernel cannot count them per sandbox. */
  processes?: number | undefined;
  /**
   * Writable memory that one process may map, touched or not. The kernel refuses more at once, before the host has
   * looked; Blender maps somewhat more than it uses, so it is above the limit that the host watches.
   */
  dataBytes?: number | undefined;
};

export type SandboxOptions = {
  /** Where the program is. What is not below /usr is made visible with the folder it lies in. */
  programPath: string;
  /** Host folder with the Python of the session. */
  pythonFolder: string;
  folders: SandboxFolders;
  limits: Limits;
  /** `prlimit`, where this machine has it. */
  prlimitPath: string | undefined;
  withoutAvx2: boolean;
  gpu?: BubbleGpu | undefined;
};

/** A program in a bubble: what it is, what of the host it sees besides the system's libraries, and its limits. */
export type Bubble = {
  /** Where the program is. What is not below /usr is made visible with the folder it lies in. */
  programPath: string;
  binds: readonly { host: string; inside: string; writable?: boolean }[];
  limits: Limits;
  /** `prlimit`, where this machine has it. */
  prlimitPath: string | undefined;
  environment?: Readonly<Record<string, string>>;
  gpu?: BubbleGpu | undefined;
};

function limitArguments({ limits, prlimitPath }: Bubble): string[] {
  if (prlimitPath === undefined) return [];
  const options = [`--core=0`, `--fsize=${limits.fileBytes}`];
  if (limits.processes !== undefined) options.push(`--nproc=${limits.processes}`);
  if (limits.dataBytes !== undefined) options.push(`--data=${limits.dataBytes}`);
  return [prlimitPath, ...options, '--'];
}

const ENVIRONMENT = { HOME: '/tmp', TMPDIR: '/tmp', PATH: '/usr/bin:/bin', LANG: 'C.UTF-8' };

/** Arguments of `bwrap` that run any program with these arguments of its own: no network, no privileges. */
export function bubbleArguments(bubble: Bubble, parameters: readonly string[]): string[] {
  const { programPath, binds, limits } = bubble;
  const inUsr = programPath.startsWith('/usr/');
  const environment = Object.entries({ ...ENVIRONMENT, ...bubble.environment });
  return [
    ...['--unshare-all', '--unshare-user', '--disable-userns', '--die-with-parent', '--new-session'],
    ...['--uid', UID, '--gid', UID, '--cap-drop', 'ALL', '--hostname', 'tessera'],
    ...['--clearenv', ...environment.flatMap(([name, value]) => ['--setenv', name, value])],
    ...SYSTEM_FOLDERS.flatMap((folder) => ['--ro-bind-try', folder, folder]),
    // Where the host runs as root, the kernel's settings below /proc/sys belong to the user inside as well, and
    // core_pattern there is a way to a command on the host.
    ...['--proc', '/proc', '--remount-ro', '/proc'],
    ...['--dev', '/dev', '--size', String(limits.scratchBytes), '--tmpfs', '/tmp'],
    ...(bubble.gpu?.files ?? []).flatMap((file) => ['--dev-bind', file, file]),
    // /dev would be memory as well, half of the machine's: only its /shm stays writable, and small.
    ...['--size', String(SHARED_MEMORY_BYTES), '--tmpfs', '/dev/shm', '--remount-ro', '/dev'],
    ...(inUsr ? [] : ['--ro-bind', dirname(programPath), dirname(programPath)]),
    ...binds.flatMap(({ host, inside, writable }) => [writable ? '--bind' : '--ro-bind', host, inside]),
    ...['--remount-ro', '/', '--chdir', '/tmp', '--'],
    ...limitArguments(bubble),
    programPath,
    ...parameters,
  ];
}

/** Arguments of `bwrap` that run Blender with these arguments of its own. */
export function sandboxArguments(options: SandboxOptions, parameters: readonly string[]): string[] {
  const { pythonFolder, folders, withoutAvx2, ...program } = options;
  const uuid = options.gpu?.uuid;
  const binds = [
    { host: folders.scene, inside: INSIDE.scene },
    { host: pythonFolder, inside: INSIDE.python },
    { host: folders.input, inside: INSIDE.input },
    { host: folders.output, inside: INSIDE.output, writable: true },
  ];
  const environment = {
    ...(withoutAvx2 && { CYCLES_CPU_NO_AVX2: '1' }),
    ...(typeof uuid === 'string' && { CUDA_VISIBLE_DEVICES: uuid }),
  };
  return bubbleArguments({ ...program, binds, environment }, parameters);
}

/** Level 2 is the lowest at which Cycles says what it has rendered on (gpu/witness.ts). */
const REPORTING = ['--debug-cycles', '--verbose', '2'];

/**
 * Blender's own arguments: nothing of the user's set-up, no scripts of the scene, no sound. On a GPU Cycles is told the
 * kind of device a second time, here, because it then fails where it otherwise renders on the CPU without a word.
 */
export function blenderArguments(threads: number, device?: DeviceType): string[] {
  const onGpu = device !== undefined && device !== 'CPU';
  return [
    ...['-b', '--factory-startup', '--disable-autoexec', '-noaudio', '-t', String(threads)],
    ...(onGpu ? REPORTING : []),
    ...['--python-exit-code', '1', '--python', `${INSIDE.python}/main.py`],
    ...['--', `${INSIDE.input}/${SOCKET_NAME}`],
    ...(onGpu ? ['--cycles-device', device] : []),
  ];
}
