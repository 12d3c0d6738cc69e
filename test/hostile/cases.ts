/**
 * What hostile scenes try and what stops them: the data of the suite and of docs/hostile-scenes.md. The suite shows
 * every line to be true.
 */
import type { ErrorCode } from '../../protocol/errors.ts';

/** How Blender is kept in: bubblewrap around the machine's own, or a container of an engine image. */
export type Sandbox = 'process' | 'docker';

export type HostileCase = {
  scene: string;
  tried: string;
  /** One text where both sandboxes stop it in the same way. */
  stopped: string | Record<Sandbox, string>;
  /** What the artist is told, by code, and words that the message must have. */
  fault?: { code: ErrorCode; or?: ErrorCode; words: RegExp };
  /** Where it goes wrong. */
  during?: 'open' | 'render';
};

/** Scenes as the farm opens them: nothing in them is ever run. */
export const SCENES = {
  drivers: {
    scene: 'drivers',
    tried:
      'drivers that call os.system, one through the drivers’ namespace, one through subclasses of object',
    stopped: 'scripts are off; Blender refuses the expressions, inspection names them to the artist',
  },
  text: {
    scene: 'run-escape',
    tried: 'a text block set to run on opening, which opens sockets, reads, writes and kills',
    stopped: 'scripts are off: it does not run, inspection names it to the artist',
  },
  writes: {
    scene: 'writes',
    tried: 'output path, four File Output nodes and a simulation cache with absolute and ../ paths',
    stopped: 'the session sets its own output path and compositor; only its output folder is writable',
  },
  climbing: {
    scene: 'climbing',
    tried: 'libraries at //../../outside and at an absolute path, both there on the host',
    stopped: 'the sandbox shows only the folder of the scene; inspection lists them as outside of it',
  },
  symlink: {
    scene: 'symlink',
    tried: 'pictures in the folder of the scene that are symlinks to a file outside and to /proc',
    stopped: 'the target is not in the sandbox: inspection lists the file as missing',
  },
} as const satisfies Record<string, HostileCase>;

const MEMORY = {
  code: 'MEMORY_LIMIT',
  words: /than the farm gives a session \(limit of 1\.0 GiB\)/,
} as const;
/** The kernel ends a container that is over its limit; the watch may come first, with a figure. */
const MEMORY_STOP = {
  process: 'memory limit of the session',
  docker: 'memory limit of the container',
} as const;
const OUTPUT = { code: 'OUTPUT_LIMIT', words: /the scene w(rote|rites)/ } as const;

/** Scenes that the farm opens or renders until a limit stops them. */
export const LIMITED: readonly HostileCase[] = [
  {
    scene: 'subdivision-bomb',
    tried: 'a cube subdivided 18 times: 10^11 faces',
    stopped: MEMORY_STOP,
    fault: MEMORY,
    during: 'render',
  },
  {
    scene: 'array-bomb',
    tried: 'four arrays of 100 around each other: 10^8 cubes',
    stopped: MEMORY_STOP,
    fault: MEMORY,
    during: 'render',
  },
  {
    scene: 'texture-bomb',
    tried: 'a texture of 30,000 x 30,000 float pixels: 14 GB in one piece',
    stopped: {
      process: 'limit of mapped memory: the kernel refuses it at once, and the render is stopped for it',
      docker: MEMORY_STOP.docker,
    },
    fault: MEMORY,
    during: 'render',
  },
  {
    scene: 'endless-load',
    tried: 'a sound .blend with half an hour of smoothing to do on opening it',
    stopped: 'time limit for loading',
    fault: { code: 'SCENE_LOAD_TIMEOUT', words: /was not loaded in time/ },
    during: 'open',
  },
  {
    scene: 'resolution',
    tried: '50,000 x 50,000 pixels at 200 %: 100,000 a side',
    stopped: 'the size is refused before any memory is taken',
    fault: { code: 'TOO_LARGE', words: /100000 x 100000 pixels/ },
    during: 'render',
  },
  {
    scene: 'output-bomb',
    tried: 'a picture of noise that does not compress, larger than the limit',
    stopped: 'limit of the output folder',
    fault: OUTPUT,
    during: 'render',
  },
];

/** The same with scripts switched on in a copy of the session's Python: what the sandbox stops by itself. */
export const WITH_SCRIPTS: readonly HostileCase[] = [
  {
    scene: 'run-fork-bomb',
    tried: 'script: fork for ever',
    stopped: 'process limit or, if it is seen first, memory limit, both watched from outside',
    fault: { code: 'PROCESS_LIMIT', or: 'MEMORY_LIMIT', words: /\d+ are allowed|than the farm gives/ },
  },
  {
    scene: 'run-threads-bomb',
    tried: 'script: start threads for ever',
    stopped: 'process limit: threads count',
    fault: { code: 'PROCESS_LIMIT', words: /processes and threads, \d+ are allowed/ },
  },
  { scene: 'run-memory', tried: 'script: allocate for ever', stopped: MEMORY_STOP, fault: MEMORY },
  {
    scene: 'run-memory-without-name',
    tried: 'script: fill a file that exists in memory only (memfd)',
    stopped: {
      process: 'memory limit: open files without a name count',
      docker: MEMORY_STOP.docker,
    },
    fault: MEMORY,
  },
  {
    scene: 'run-scratch',
    tried: 'script: fill /tmp, which is memory',
    stopped: { process: 'memory limit: scratch space counts', docker: MEMORY_STOP.docker },
    fault: MEMORY,
  },
  {
    scene: 'run-one-large-file',
    tried: 'script: write one file for ever',
    stopped: 'limit of the output folder',
    fault: OUTPUT,
  },
  {
    scene: 'run-many-files',
    tried: 'script: write 8 MiB files for ever',
    stopped: 'limit of the output folder',
    fault: OUTPUT,
  },
  {
    scene: 'run-many-small-files',
    tried: 'script: write one-byte files for ever',
    stopped: 'number of files in the output folder',
    fault: OUTPUT,
  },
  {
    scene: 'run-deleted-files',
    tried: 'script: write files that are deleted while open, so that no folder shows them',
    stopped: 'limit of the output folder: deleted open files count',
    fault: OUTPUT,
  },
  {
    scene: 'run-endless',
    tried: 'script: loop for ever',
    stopped: 'time limit for loading',
    fault: { code: 'SCENE_LOAD_TIMEOUT', words: /was not loaded in time/ },
  },
  {
    scene: 'run-kill-everything',
    tried: 'script: kill every process there is, then crash',
    stopped: 'own process namespace: it reaches Blender only, and the crash is reported',
    fault: { code: 'SCENE_UNREADABLE', words: /SIGSEGV/ },
  },
];

export const ESCAPE: HostileCase & { ownFiles: Record<Sandbox, readonly string[]> } = {
  scene: 'run-escape',
  tried:
    'script: connect to the host and the internet, read /etc/shadow, $HOME and the host’s files, write everywhere, kill the host, become root, mount, trace, leave symlinks as output',
  stopped: {
    process:
      'own network, process, mount and user namespaces, no capabilities, read-only root; only plain files are taken out',
    docker:
      'own network, process and mount namespaces, a user who owns nothing, no capabilities, seccomp, read-only root; only plain files are taken out',
  },
  // An image brings a system of its own.
  ownFiles: { process: [], docker: ['/etc/passwd', '/home'] },
};

/** Of them, half still open. */
export const FUZZED_FILES = 12;

export const FUZZ: HostileCase = {
  scene: 'good',
  tried: `${FUZZED_FILES} copies of a .blend with bytes changed at random`,
  stopped: 'each renders or gives an error of the table; none outlives its limit',
};

/** What stopped it in this sandbox. */
export function stoppedIn(sandbox: Sandbox, { stopped }: HostileCase): string {
  return typeof stopped === 'string' ? stopped : stopped[sandbox];
}

/** The page. */
export function hostileTable(): string {
  const rows = [...Object.values(SCENES), ...LIMITED, ESCAPE, ...WITH_SCRIPTS, FUZZ].map(
    (row: HostileCase) => {
      const stops = new Set([stoppedIn('process', row), stoppedIn('docker', row)]);
      const [process, docker] = [...stops];
      const stopped = docker === undefined ? process : `process: ${process}; docker: ${docker}`;
      const { fault, tried } = row;
      const codes = [fault?.code, fault?.or].filter((code) => code !== undefined).join(' or ');
      return `| ${tried} | ${stopped} | ${codes || 'none: it renders, or is refused by name before'} |`;
    },
  );
  return `# Hostile scenes

Made from \`test/hostile/cases.ts\`, whose suite runs every line with real Blender in both sandboxes: \`process\` (this machine's
Blender under bubblewrap) and \`docker\` (that of an engine image, in a container). After each one the same node renders a good
scene, with the same pixels as before. Where the second column names no sandbox, both stopped it in the same way.

A .blend file is a program in disguise. Scripts in it are never run; the lines that begin with "script:" switch them on in
a copy of the session's Python, to show what the sandbox alone stops. The tests set the limits low (1 GiB of memory, 24 MiB
and 2,000 files of output); a node's own are in \`platform/render/\`.

| what it tried | what stopped it | what the artist reads |
| --- | --- | --- |
${rows.join('\n')}

What is over a limit is noticed up to 0.2 s later: a limit of memory or disk is exceeded by what can be written in that
time. Not counted under \`process\`: System V shared memory, and files in flight between processes of one sandbox; both need a
script that runs. The kernel counts both to a container. What it does not count is deleted files on disk: the host's watch
does, unless the farm itself lives in a container, from where it cannot see the processes of another one.
`;
}
