/** Whether an inspected scene can be rendered by the farm, and what the artist should know. Pure. */

import type { SceneInspection } from '../../platform/render/runtime.ts';
import { FarmError } from '../../protocol/errors.ts';
import type { MissingFile, SceneSummary } from '../../protocol/http.ts';
import { sceneFormat } from './choose-output.ts';
import { unbakedWarning } from './require-baked.ts';

/** Files that a client still has to send (or that nobody can). Missing sounds change no pixel. */
export function missingFiles(scene: SceneInspection): MissingFile[] {
  return scene.missingFiles
    .filter((file) => file.kind !== 'sound')
    .map((file) => ({ stored: file.path, path: file.outsideRoot ? null : file.path }));
}

/** Throws the error that names what stands in the way of rendering; nothing has been submitted by then. */
export function requireRenderable(scene: SceneInspection): void {
  const kept = 'nothing was submitted, no money moved';
  if (scene.renderEngine !== 'CYCLES') {
    throw new FarmError(
      'ENGINE_NOT_HEADLESS',
      `the scene is set to ${engineName(scene.renderEngine)}, which needs a display`,
      { kept },
    );
  }
  if (!scene.hasCamera) throw new FarmError('SCENE_NO_CAMERA', 'the scene has no active camera', { kept });
  if (scene.unsupported.length > 0)
    throw new FarmError('SCENE_UNSUPPORTED', scene.unsupported.join('; '), { kept });
}

/** What is different from the artist's own machine, one sentence each. */
export function warningsFor(scene: SceneInspection): string[] {
  const warnings = [...scene.warnings];
  if (sceneFormat(scene) === 'png' && scene.outputFormat.fileFormat !== 'PNG') {
    warnings.push(
      `The scene's output format is ${scene.outputFormat.fileFormat}, which the farm does not write: frames come as PNG unless another format is asked for.`,
    );
  }
  const unbaked = unbakedWarning(scene);
  if (unbaked !== null) warnings.push(unbaked);
  for (const reason of scene.untileable) warnings.push(`Frames are rendered whole: ${reason}`);
  return warnings;
}

export function summaryOf(scene: SceneInspection): SceneSummary {
  return {
    frameStart: scene.frameStart,
    frameEnd: scene.frameEnd,
    frameStep: scene.frameStep,
    fullFrame: scene.resolution,
    samples: scene.samples,
    engine: scene.renderEngine,
    warnings: warningsFor(scene),
  };
}

function engineName(engine: string): string {
  if (engine.startsWith('BLENDER_EEVEE')) return 'EEVEE';
  if (engine === 'BLENDER_WORKBENCH') return 'Workbench';
  return engine;
}
