/** Frames that need the ones before them: any node may get any frame, so a simulation has to be baked. Pure. */
import type { SceneInspection, UnbakedSimulation } from '../../platform/render/runtime.ts';
import { FarmError } from '../../protocol/errors.ts';

/** Whoever has more than these finds them in the details; a sentence is for reading. */
const MAX_NAMED = 3;

/**
 * Throws SCENE_NOT_BAKED where a frame lies behind the start of a simulation that is not baked: the node that gets it
 * has not seen what led there. The first frame of a simulation, and those before it, need nothing.
 */
export function requireBaked(frames: readonly number[], scene: SceneInspection): void {
  const simulations = scene.unbaked ?? [];
  const lastFree = lastFreeFrame(simulations);
  const late = frames.find((frame) => frame > lastFree);
  if (late === undefined) return;
  throw new FarmError(
    'SCENE_NOT_BAKED',
    `frame ${late} needs the frames before it, which the node that renders it has not seen: ${named(simulations)}`,
    { kept: 'nothing was submitted, no money moved', details: { simulations, lastFreeFrame: lastFree } },
  );
}

/** What the artist is told before asking for frames; null where everything is baked. */
export function unbakedWarning(scene: SceneInspection): string | null {
  const simulations = scene.unbaked ?? [];
  const lastFree = lastFreeFrame(simulations);
  if (simulations.length === 0) return null;
  const what = lastFree < scene.frameStart ? 'No frame' : `No frame after ${lastFree}`;
  return `${what} can be rendered until this is baked: ${named(simulations)}.`;
}

/** Up to here nothing depends on an earlier frame. */
function lastFreeFrame(simulations: readonly UnbakedSimulation[]): number {
  return simulations.reduce((least, { firstFrame }) => Math.min(least, firstFrame), Number.POSITIVE_INFINITY);
}

function named(simulations: readonly UnbakedSimulation[]): string {
  const first = simulations.slice(0, MAX_NAMED).map(({ object, kind }) => `${kind} of "${object}"`);
  const rest = simulations.length - first.length;
  return `${first.join(', ')}${rest > 0 ? ` and ${rest} more` : ''}`;
}
