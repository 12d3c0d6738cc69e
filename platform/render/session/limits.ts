/** What one session may take of the machine, and what is said when it takes more. Pure. */
import type { ErrorCode } from '../../../protocol/errors.ts';
import type { SessionEnd } from '../runtime.ts';
import type { Usage } from './launcher.ts';

const GIB = 1024 ** 3;
const MIB = 1024 ** 2;

export type SessionLimits = {
  /** Resident memory; undefined where something else sees to it. */
  memoryBytes: number | undefined;
  /**
   * Who set it. A limit of the farm is the same on every node, so a scene that breaks it is at fault; what only this
   * machine lacks, another one may have.
   */
  memoryLimitOf: 'farm' | 'machine';
  /** Size of the output folder. Files are taken out after each command, so this is what one command may write. */
  outputBytes: number;
  /** Files and folders in it. */
  outputFiles: number;
  /** Processes and threads; undefined where something else sees to it. */
  processes: number | undefined;
};

export const DEFAULT_SESSION_LIMITS: SessionLimits = {
  memoryBytes: undefined,
  memoryLimitOf: 'machine',
  // A decoded frame may have 2^32 bytes (limits.py): the merged one and its finished pictures fit four times over.
  outputBytes: 16 * GIB,
  // A command writes a handful; a scene with a File Output node for every pass some hundreds.
  outputFiles: 10_000,
  processes: undefined,
};

export type Breach = {
  reason: Extract<SessionEnd['reason'], 'memory' | 'output' | 'processes'>;
  code: ErrorCode;
  message: string;
};

export type OutputSize = { bytes: number; files: number };

/** 1.5 GiB, 300 MiB: as people read it. */
export function sizeText(bytes: number): string {
  return bytes >= GIB ? `${(bytes / GIB).toFixed(1)} GiB` : `${Math.round(bytes / MIB)} MiB`;
}

/** The breach of the memory limit, however it was noticed. */
export function memoryBreach(limits: SessionLimits, taken?: number): Breach {
  const limit = limits.memoryBytes === undefined ? '' : ` of ${sizeText(limits.memoryBytes)}`;
  const held = taken === undefined ? 'needs more memory' : `took ${sizeText(taken)} of memory, more`;
  const ofFarm = limits.memoryLimitOf === 'farm';
  const whose = ofFarm ? 'the farm gives a session' : 'this machine can give a session';
  return {
    reason: 'memory',
    code: ofFarm ? 'MEMORY_LIMIT' : 'NODE_OUT_OF_MEMORY',
    message: `the scene ${held} than ${whose} (limit${limit || ' reached'}); Blender was stopped`,
  };
}

/** What is over its limit, if anything: memory first, because it harms others first. */
export function breachOf(
  usage: Usage | undefined,
  output: OutputSize,
  limits: SessionLimits,
): Breach | undefined {
  if (usage !== undefined && limits.memoryBytes !== undefined && usage.memoryBytes > limits.memoryBytes) {
    return memoryBreach(limits, usage.memoryBytes);
  }
  if (usage !== undefined && limits.processes !== undefined && usage.processes > limits.processes) {
    const message = `the scene started ${usage.processes} processes and threads, ${limits.processes} are allowed; all were stopped`;
    return { reason: 'processes', code: 'PROCESS_LIMIT', message };
  }
  const bytes = output.bytes + (usage?.deletedBytes ?? 0);
  if (bytes > limits.outputBytes || output.files > limits.outputFiles) {
    const message = `the scene wrote ${sizeText(bytes)} in ${output.files} files; one command may write ${sizeText(limits.outputBytes)} in ${limits.outputFiles} files; Blender was stopped and the files removed`;
    return { reason: 'output', code: 'OUTPUT_LIMIT', message };
  }
  return undefined;
}
