/** Whose fault a failed task is. Pure. */
import type { ErrorCode, FarmError } from '../protocol/errors.ts';
import type { FailureClass } from '../protocol/messages.ts';

/** Network, storage and chain: they count against nobody and cost no retry. */
const INFRASTRUCTURE: ReadonlySet<ErrorCode> = new Set([
  'FARM_UNREACHABLE',
  'BLOB_MISMATCH',
  'CHAIN_UNAVAILABLE',
]);

/**
 * What the scene itself causes, on any node alike: the limits here are the farm's, the same for everybody. A machine
 * that is too small (NODE_OUT_OF_MEMORY), a full disk and a first crash are the node's, and another one gets the task.
 */
const TASK: ReadonlySet<ErrorCode> = new Set([
  'SCENE_UNREADABLE',
  'SCENE_UNSUPPORTED',
  'SCENE_NO_CAMERA',
  'ENGINE_NOT_HEADLESS',
  'TOO_LARGE',
  'RENDER_TIMEOUT',
  'SCENE_LOAD_TIMEOUT',
  'SCENE_CRASHES',
  'MEMORY_LIMIT',
  'OUTPUT_LIMIT',
  'PROCESS_LIMIT',
]);

export function classifyFailure(error: FarmError): FailureClass {
  if (INFRASTRUCTURE.has(error.code)) return 'infrastructure';
  return TASK.has(error.code) ? 'task' : 'node';
}
