/** Which renderer can check what another one rendered. */
import { FarmError } from '../../protocol/errors.ts';
import type { RenderRuntime } from '../render/runtime.ts';

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
