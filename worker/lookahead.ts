/** When a node asks for its next task: early enough that it never waits, late enough that others get their share. */

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
