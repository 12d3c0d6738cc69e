/** Which renderer can check what another one rendered, and how closely the two can agree. */
import { thresholdsFor } from '../../proof/thresholds.ts';
import { FarmError } from '../../protocol/errors.ts';
import type { ThresholdsName } from '../../protocol/verdict.ts';
import type { RenderRuntime } from '../render/runtime.ts';

export type Checker = { runtime: RenderRuntime; thresholds: ThresholdsName };

/**
 * The runtime to check with: of the same device class where there is one, else of another CPU class of the very same
 * engine, by the thresholds of such a pair. Throws VERIFIER_LACKS_DEVICE.
 */
export function checkerFor(
  runtimes: readonly RenderRuntime[],
  claim: { engine: string; deviceClass: string },
): Checker {
  const able = runtimes.map((runtime) => {
    const { id, deviceClass } = runtime.engine;
    return { runtime, thresholds: thresholdsFor(claim, { engine: id, deviceClass }) };
  });
  for (const wanted of ['sameClass', 'otherCpuClass'] as const) {
    const found = able.find(({ thresholds }) => thresholds === wanted);
    if (found !== undefined) return { runtime: found.runtime, thresholds: wanted };
  }
  return { runtime: runtimeFor(runtimes, claim), thresholds: 'sameClass' };
}

/** The runtime that something was rendered on: no other one of the engine will do, its noise is another. Throws VERIFIER_LACKS_DEVICE. */
export function runtimeFor(
  runtimes: readonly RenderRuntime[],
  { engine, deviceClass }: { engine: string; deviceClass: string },
): RenderRuntime {
  const found = runtimes.find((one) => one.engine.id === engine && one.engine.deviceClass === deviceClass);
  if (found !== undefined) return found;
  const there = runtimes.map((one) => `${one.engine.id} on ${one.engine.deviceClass}`).join(', ') || 'none';
  throw new FarmError(
    'VERIFIER_LACKS_DEVICE',
    `this machine cannot check what was rendered with ${engine} on ${deviceClass}; it has ${there}`,
  );
}
