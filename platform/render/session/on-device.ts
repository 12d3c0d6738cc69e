/** Rendering in a session that was opened on a GPU: what was not rendered there does not count. */
import type { DeviceType, ReportedDevice } from '../device-choice.ts';
import { DeviceWitness } from '../gpu/witness.ts';
import type { Wire } from './wire.ts';

/** A device as the renderer knows it; null for the CPU. */
export function deviceArgument(device: ReportedDevice | undefined): ReportedDevice | null {
  return device === undefined ? null : { type: device.type, id: device.id, name: device.name };
}

/** Does `work`, and ends the renderer with GPU_NOT_USED when Blender has rendered on anything else. */
export async function onDevice<T>(
  type: DeviceType,
  wire: Wire,
  onLine: ((line: string) => void) | undefined,
  work: () => Promise<T>,
): Promise<T> {
  const witness = new DeviceWitness(type);
  const listen = (line: string): void => {
    witness.add(line);
    onLine?.(line);
  };
  return await wire.whileListening(listen, async () => {
    const result = await work();
    try {
      await witness.confirm();
    } catch (error) {
      // Whatever keeps it from the GPU now does so for the next task as well.
      wire.end('closed', 'it did not render on its GPU');
      throw error;
    }
    return result;
  });
}
