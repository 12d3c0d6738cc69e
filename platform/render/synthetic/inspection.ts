/** What a synthetic scene says about itself, in the words of a Blender scene. */
import type { SceneInspection } from '../runtime.ts';
import { LAYER } from './pixels.ts';
import type { LoadedScene } from './scene.ts';

const FRAMES_PER_SECOND = 24;

export function describeScene({
  resolution,
  region,
  frameStart,
  frameEnd,
  samples,
}: LoadedScene): SceneInspection {
  const picture = { x: 0, y: 0, ...resolution };
  return {
    frameStart,
    frameEnd,
    frameStep: 1,
    frameCurrent: frameStart,
    framesPerSecond: FRAMES_PER_SECOND,
    frameRate: { fps: FRAMES_PER_SECOND, base: 1 },
    resolution,
    region: region ?? picture,
    picture,
    // The farm takes scenes of this one only, and what is tested is the farm.
    renderEngine: 'CYCLES',
    samples,
    hasCamera: true,
    viewLayers: [{ name: LAYER, passes: ['Combined'] }],
    usesCompositor: false,
    usesSequencer: false,
    usesDenoising: false,
    canDenoise: false,
    usesMultiview: false,
    outputFormat: { fileFormat: 'PNG', colorMode: 'RGBA', colorDepth: '8' },
    writableFormats: ['png'],
    files: [],
    missingFiles: [],
    unsupported: [],
    untileable: [],
    warnings: ['This scene is a description for load tests: its pixels are numbers, not a picture.'],
  };
}
