/** Why a renderer ended or a command failed, in words, from an exit status and what Blender printed. Pure. */
import { constants } from 'node:os';
import type { ErrorCode } from '../../../protocol/errors.ts';
import type { Exit } from './launcher.ts';
import { memoryBreach, type SessionLimits } from './limits.ts';

export type Cause = { code: ErrorCode; message: string; signal?: string };

/** What a shell, bubblewrap and a container engine add to the number of the signal that ended a program. */
const SIGNAL_BASE = 128;

const SIGNAL_WORDS: Record<string, string> = {
  SIGSEGV: 'it read memory that is not its own (SIGSEGV): a fault in Blender that the scene brings out',
  SIGBUS: 'a file it had mapped went away or the memory behind it ran out (SIGBUS)',
  SIGABRT: 'it gave up by itself (SIGABRT)',
  SIGFPE: 'it divided by zero (SIGFPE): a fault in Blender that the scene brings out',
  SIGILL: 'this CPU lacks an instruction that it needs (SIGILL)',
  SIGKILL: 'it was killed from outside (SIGKILL), as the kernel does when the machine runs out of memory',
  SIGTERM: 'it was told to end from outside (SIGTERM)',
};

/** Blender's allocator, C++, Cycles and Python each have their own words for it. */
const OUT_OF_MEMORY =
  /[cm]alloc\w* returns null|std::bad_alloc|bad allocation|out of memory|not enough memory|MemoryError|Cannot allocate memory/i;
/**
 * Cycles on a card that is full ("System is out of GPU memory") or that it cannot reach (with --cycles-device): the
 * node's own matter, since another one has another card. The second was seen, the first is from Cycles' source.
 */
const GPU_OUT_OF_MEMORY = /out of (GPU|device)\b.{0,40}memory|out of memory in (cu|hip|optix)/i;
const NO_SUCH_DEVICE = /Found no Cycles device of the specified type/;
/** Blender's allocator when it is given nothing. Blender may go on after it, with an image or a mesh left out. */
const REFUSED_ALLOCATION = /^(Calloc|Malloc|Mapalloc)\w* returns null/;
const DISK_FULL = /No space left on device|Disk quota exceeded/i;
const FILE_TOO_LARGE = /File too large/i;
const NO_MORE_PROCESSES = /Resource temporarily unavailable|can't start new thread/i;

/** The name of the signal that ended it, also where bubblewrap passes it on as a number. */
export function signalOf({ code, signal }: Exit): string | undefined {
  if (signal !== null) return signal;
  if (code === null || code <= SIGNAL_BASE) return undefined;
  const number = code - SIGNAL_BASE;
  return Object.entries(constants.signals).find(([, value]) => value === number)?.[0];
}

/** What Blender's own words say about a limit; undefined where they speak of something else. */
export function causeOfWords(words: string, limits: SessionLimits): Cause | undefined {
  if (NO_SUCH_DEVICE.test(words)) {
    return { code: 'GPU_NOT_FOUND', message: `the GPU of this session is not there any more: ${words}` };
  }
  if (GPU_OUT_OF_MEMORY.test(words)) {
    return { code: 'NODE_OUT_OF_MEMORY', message: `the scene does not fit this node's GPU: ${words}` };
  }
  if (OUT_OF_MEMORY.test(words)) {
    const { code, message } = memoryBreach(limits);
    return { code, message: `${message}. Its words: ${words}` };
  }
  if (DISK_FULL.test(words)) {
    return {
      code: 'DISK_FULL',
      message: `the disk of this node is full, so Blender could not write: ${words}`,
    };
  }
  if (FILE_TOO_LARGE.test(words)) {
    return { code: 'OUTPUT_LIMIT', message: `the scene writes a larger file than a task may: ${words}` };
  }
  if (NO_MORE_PROCESSES.test(words)) {
    return {
      code: 'PROCESS_LIMIT',
      message: `the scene starts more processes or threads than allowed: ${words}`,
    };
  }
  return undefined;
}

/** Whether a line that Blender printed means that the picture would lack something for want of memory. */
export function saysAllocationRefused(line: string): boolean {
  return REFUSED_ALLOCATION.test(line);
}

/** The cause of an end that nobody here asked for. */
export function causeOfExit(exit: Exit, words: string, limits: SessionLimits): Cause {
  if (exit.outOfMemory === true) {
    const { code, message } = memoryBreach(limits);
    return { code, message };
  }
  const signal = signalOf(exit);
  if (signal === 'SIGXFSZ') {
    return { code: 'OUTPUT_LIMIT', message: 'the scene writes a larger file than a task may (SIGXFSZ)' };
  }
  const known = causeOfWords(words, limits);
  if (known !== undefined) return known;
  const how =
    signal === undefined
      ? `Blender ended with code ${exit.code}`
      : `Blender broke down: ${SIGNAL_WORDS[signal] ?? signal}`;
  const message = words === '' ? how : `${how}. Last words: ${words}`;
  return { code: 'RENDER_FAILED', message, ...(signal !== undefined && { signal }) };
}
