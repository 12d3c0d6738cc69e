/** The command line that runs Blender (and ffmpeg) with nothing in reach but what it was given. */
import { dirname } from 'node:path';
import { INSIDE, type SandboxFolders, SOCKET_NAME } from '../session/launcher.ts';

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
/** Any number but 0: nothing inside looks like root. */
const UID = '1000';

export type Limits = {
  /** Largest file Blender may write. The largest honest one is a merged frame: 2^32 bytes decoded. */
  fileBytes: number;
  /** Size of the sandbox's own /tmp, which is memory. Cycles puts tiles of very large frames there. */
  scratchBytes: number;
  /** Threads and processes in the sandbox; undefined where the kernel cannot count them per sandbox. */
  processes?: number | undefined;
  /** Address space. Blender reserves much more than it uses, so there is no default. */
  addressSpaceBytes?: number | undefined;
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
};

function limitArguments({ limits, prlimitPath }: Bubble): string[] {
  if (prlimitPath === undefined) return [];
  const options = [`--core=0`, `--fsize=${limits.fileBytes}`];
  if (limits.processes !== undefined) options.push(`--nproc=${limits.processes}`);
  if (limits.addressSpaceBytes !== undefined) options.push(`--as=${limits.addressSpaceBytes}`);
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
    ...['--proc', '/proc', '--dev', '/dev', '--size', String(limits.scratchBytes), '--tmpfs', '/tmp'],
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
  const binds = [
    { host: folders.scene, inside: INSIDE.scene },
    { host: pythonFolder, inside: INSIDE.python },
    { host: folders.input, inside: INSIDE.input },
    { host: folders.output, inside: INSIDE.output, writable: true },
  ];
  return bubbleArguments(
    { ...program, binds, environment: withoutAvx2 ? { CYCLES_CPU_NO_AVX2: '1' } : {} },
    parameters,
  );
}

/** Blender's own arguments: nothing of the user's set-up, no scripts of the scene, no sound. */
export function blenderArguments(threads: number): string[] {
  return [
    ...['-b', '--factory-startup', '--disable-autoexec', '-noaudio', '-t', String(threads)],
    ...['--python-exit-code', '1', '--python', `${INSIDE.python}/main.py`],
    ...['--', `${INSIDE.input}/${SOCKET_NAME}`],
  ];
}
