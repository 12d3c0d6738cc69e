/**
 * When a node asks for its next tasks, and for how many: early enough that it never waits, late enough that others get
 * their share.
 */
import { MAX_RUN } from '../protocol/messages.ts';

/** Of tasks this short the next one is fetched while one renders; leasing one costs the others next to nothing. */
const SHORT_TASK_MS = 10_000;

/** Of longer ones the next is leased once this share is done: the rest is time enough to fetch a scene. */
const LATE_SHARE = 0.7;

/**
 * Whether to ask for the next task while one renders. `lastRenderMs` is what the task before took, null where there
 * was none: then only its own progress tells.
 */
export function wantsNext(task: { fraction: number; lastRenderMs: number | null }): boolean {
  return task.fraction >= LATE_SHARE || (task.lastRenderMs !== null && task.lastRenderMs <= SHORT_TASK_MS);
}

/** A run of tasks takes about this long: what others wait for a node that took them and dies at the end of a job. */
const RUN_MS = 5_000;

/** How many more of the tasks of which the last took `renderMs` are worth one lease. */
export function tasksPerRun(renderMs: number): number {
  return Math.max(1, Math.min(MAX_RUN, Math.floor(RUN_MS / Math.max(1, renderMs))));
}
