/** Render sessions as local Blender processes under bubblewrap. */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { readFile, realpath } from 'node:fs/promises';
import { availableParallelism, release, totalmem } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { FarmError } from '../../../protocol/errors.ts';
import type { DeviceType } from '../device-choice.ts';
import { nvidiaDeviceFiles } from '../gpu/nvidia.ts';
import type { EngineInfo, GpuAccess, RenderRuntime } from '../runtime.ts';
import type { Exit, Launch, Launched } from '../session/launcher.ts';
import type { SessionLimits } from '../session/limits.ts';
import { reportDevices, tryDevice } from '../session/probe.ts';
import { openSession, startRenderer } from '../session/session.ts';
import { Tail } from '../session/words.ts';
import { cpuDeviceClass } from './device-class.ts';
import { findKnownBlender, type KnownBlender } from './known-blender.ts';
import { lowerTree, preferAsVictim, resetPeaks, treeUsage } from './process-tree.ts';
import { findProgram, findSandbox } from './programs.ts';
import { type BubbleGpu, blenderArguments, type Limits, sandboxArguments } from './sandbox.ts';

export type ProcessRuntimeOptions = {
  signal: AbortSignal;
  /** The Blender to use (TESSERA_BLENDER). Else `blender` where programs are. */
  blenderPath?: string | undefined;
  /** What somebody else has found out about it. */
  knownBlender?: KnownBlender | undefined;
  /** Where programs are looked for, in place of the usual folders. */
  programFolders?: readonly string[] | undefined;
  /** Tells Cycles to do without AVX2 (CYCLES_CPU_NO_AVX2): this CPU then is another device class. */
  withoutAvx2?: boolean;
  /** Of the sandbox itself: what the kernel refuses at once. */
  limits?: Partial<Limits>;
  /** Resident memory of one session, the same on every node of the farm. Else a share of this machine's memory. */
  memoryLimitBytes?: number | undefined;
  /** What the host watches over. */
  sessionLimits?: Partial<Pick<SessionLimits, 'outputBytes' | 'outputFiles' | 'processes'>>;
  /** The Python that runs inside, where it is not the package's own. */
  pythonFolder?: string | undefined;
  /** Where exchange folders go; best on the disk of the outputs. */
  tempFolder?: string | undefined;
  /** 0, or up to 19 for sessions that give way to all else on this machine. */
  niceness?: number | undefined;
  /** What a sandbox on a GPU is given of /dev, in place of this machine's NVIDIA devices. */
  gpuDeviceFiles?: readonly string[];
};

const GIB = 1024 ** 3;
/** Blender, its task scheduler and Cycles start some threads per core; a fork bomb starts more than that. */
const BASE_PROCESSES = 512;
const PROCESSES_PER_CORE = 16;
/** The rest is for the farm, the system, and what is taken between two looks of the host. */
const MEMORY_SHARE = 0.75;
/** Blender maps 8 MiB of stack per thread and keeps arenas it does not fill: measured 0.2 GiB over what it used. */
const MAPPED_SHARE = 1.25;
const MAPPED_BASE_BYTES = 1024 ** 3;
const DEFAULT_LIMITS: Limits = { fileBytes: 8 * GIB, scratchBytes: 4 * GIB };
const PYTHON_FOLDER = join('blender-images', 'session');

/** Since Linux 5.14 processes are counted per user namespace; before that root's own would count too. */
function countsPerSandbox(): boolean {
  const [major = 0, minor = 0] = release().split('.').map(Number);
  return major > 5 || (major === 5 && minor >= 14);
}

/** The Python lies beside the sources in development and beside dist/ in a package. */
function findPythonFolder(): string {
  for (let folder = dirname(fileURLToPath(import.meta.url)); ; folder = dirname(folder)) {
    const candidate = join(folder, PYTHON_FOLDER);
    if (existsSync(join(candidate, 'main.py'))) return candidate;
    if (folder === dirname(folder))
      throw new FarmError('INTERNAL', `${PYTHON_FOLDER} is not where this program is`);
  }
}

function launchProcess(
  program: string,
  parameters: readonly string[],
  outputFolder: string,
  maxProcesses: number | undefined,
  niceness: number,
): Launched {
  const output = new Tail();
  const lowered = new Set<string>();
  // An own process group, so that Ctrl-C in a terminal reaches the farm and not Blender behind its back.
  const child = spawn(program, parameters, { stdio: ['ignore', 'pipe', 'pipe'], env: {}, detached: true });
  if (child.pid !== undefined) preferAsVictim(child.pid);
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8');
    stream.on('data', (chunk: string) => output.add(chunk));
  }
  const exited = new Promise<Exit>((resolve) => {
    child.once('error', (error) => {
      output.add(`${error.message}\n`);
      resolve({ code: null, signal: null });
    });
    // 'close' comes after the last word was read, and the pipes are open as long as anything inside runs.
    child.once('close', (code, signal) => resolve({ code, signal }));
  });
  return {
    exited,
    output,
    usage: () => {
      if (child.pid === undefined) return { memoryBytes: 0, processes: 0, deletedBytes: 0 };
      // Here, because it is asked several times a second from the start: loading the scene is to give way as well.
      if (niceness > 0) lowerTree(child.pid, niceness, lowered);
      return treeUsage(child.pid, outputFolder, maxProcesses);
    },
    resetPeak: () => {
      if (child.pid !== undefined) resetPeaks(child.pid);
    },
    kill() {
      // bubblewrap's child is the first process of its namespace and dies with bubblewrap; everything dies with it.
      if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
      try {
        process.kill(-child.pid, 'SIGKILL');
      } catch {
        child.kill('SIGKILL');
      }
    },
  };
}

/** Finds Blender and bubblewrap, and gives the runtime. BLENDER_NOT_FOUND, SANDBOX_NOT_FOUND. */
export async function createProcessRuntime(options: ProcessRuntimeOptions): Promise<RenderRuntime> {
  const { signal, programFolders, withoutAvx2 = false, tempFolder } = options;
  const [blender, bwrap, prlimitPath, cpuInfo] = await Promise.all([
    findKnownBlender(options.blenderPath, programFolders, signal, options.knownBlender),
    findSandbox(programFolders),
    findProgram('prlimit', programFolders),
    readFile('/proc/cpuinfo', 'utf8').catch(() => ''),
  ]);
  const engine: EngineInfo = {
    id: `blender-${blender.version}`,
    version: blender.version,
    deviceClass: cpuDeviceClass(cpuInfo, blender.version, withoutAvx2),
    runtime: 'process',
  };
  const memoryBytes = options.memoryLimitBytes ?? Math.floor(totalmem() * MEMORY_SHARE);
  const processes = BASE_PROCESSES + PROCESSES_PER_CORE * availableParallelism();
  const sessionLimits: Partial<SessionLimits> = {
    memoryBytes,
    memoryLimitOf: options.memoryLimitBytes === undefined ? 'machine' : 'farm',
    processes,
    ...options.sessionLimits,
  };
  // On a GPU without dataBytes: a driver maps far more than it uses. The host's watch alone holds memory then.
  const limits: Limits = {
    ...DEFAULT_LIMITS,
    // The kernel does not hold root to it: then the host's watch alone does (treeUsage).
    processes: countsPerSandbox() ? sessionLimits.processes : undefined,
    dataBytes: Math.floor(memoryBytes * MAPPED_SHARE) + MAPPED_BASE_BYTES,
    ...options.limits,
  };
  const pythonFolder = options.pythonFolder ?? findPythonFolder();
  const launchWith =
    (gpu?: BubbleGpu, type?: DeviceType): Launch =>
    (folders, { threads, niceness = options.niceness ?? 0 }) => {
      const programLimits = gpu === undefined ? limits : { ...limits, dataBytes: undefined };
      return launchProcess(
        bwrap,
        sandboxArguments(
          {
            ...{ programPath: blender.path, pythonFolder, folders, prlimitPath, withoutAvx2, gpu },
            limits: programLimits,
          },
          blenderArguments(threads, type),
        ),
        folders.output,
        sessionLimits.processes,
        niceness,
      );
    };
  const runtimeOn = (engine: EngineInfo, launch: Launch): RenderRuntime => ({
    engine,
    start: (startOptions) => startRenderer({ ...startOptions, launch, tempFolder, limits: sessionLimits }),
    async open(scene, openOptions) {
      const root = await realpath(scene.root).catch((error: unknown) => {
        throw new FarmError('SCENE_NOT_FOUND', `there is no folder ${scene.root}`, { cause: error });
      });
      return await openSession(
        { ...scene, root },
        {
          ...openOptions,
          engine,
          launch,
          tempFolder,
          limits: sessionLimits,
        },
      );
    },
  });
  const files = options.gpuDeviceFiles ?? (await nvidiaDeviceFiles());
  const gpus: GpuAccess = {
    async report(signal) {
      if (files.length === 0) return null;
      return await reportDevices({ signal, tempFolder, launch: launchWith({ files, uuid: null }) });
    },
    on(device) {
      const launch = launchWith({ files, uuid: device.uuid }, device.type);
      const bound = { ...engine, deviceClass: device.deviceClass, device };
      return {
        ...runtimeOn(bound, launch),
        tryOut: (signal) => tryDevice(device, { signal, tempFolder, launch }),
      };
    },
  };
  return { ...runtimeOn(engine, launchWith()), gpus };
}
