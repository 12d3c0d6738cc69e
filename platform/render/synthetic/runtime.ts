/**
 * The runtime of load tests: hundreds of tasks a second without Blender, with pixels that every node makes alike. A
 * farm refuses it unless it was started for it, so that nobody pays for noise (docs/decisions/synthetic-runtime.md).
 * There is no sandbox: what it reads is a small JSON file and plain floats, never a stranger's program.
 */
import { FarmError } from '../../../protocol/errors.ts';
import type { EngineInfo, RenderRuntime } from '../runtime.ts';
import { loadScene } from './scene.ts';
import { SyntheticSession } from './session.ts';

const NAME = 'synthetic';
/** Raised when the same scene gives other pixels than before. */
const VERSION = '1';

/** Whether an engine calls itself synthetic. One that lies is no engine of the farm, and its pixels fail the check. */
export function isSynthetic(engineId: string): boolean {
  return engineId === NAME || engineId.startsWith(`${NAME}-`);
}

export function createSyntheticRuntime(): RenderRuntime {
  const engine: EngineInfo = {
    id: `${NAME}-${VERSION}`,
    version: VERSION,
    // It runs where no GPU is, and none is to be looked for.
    deviceClass: `cpu-${NAME}`,
    runtime: 'synthetic',
  };
  return {
    engine,
    async open(scene, { signal }) {
      const loaded = await loadScene(scene);
      if (signal.aborted) throw new FarmError('INTERRUPTED', 'stopped while the scene was opened');
      return new SyntheticSession(engine, loaded);
    },
  };
}
