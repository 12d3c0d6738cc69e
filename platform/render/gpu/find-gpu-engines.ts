/** The engines of a machine on its GPUs: asked for in the sandbox, and tried out before anything is promised. */
import { toFarmError } from '../../../protocol/errors.ts';
import { type BoundDevice, chooseDevices, DEVICE_TYPES, type ReportedDevice } from '../device-choice.ts';
import type { BoundRuntime, GpuAccess, RenderRuntime } from '../runtime.ts';
import { bindDevice, type Card } from './cards.ts';
import { nvidiaCards } from './nvidia.ts';

export type FindGpuOptions = {
  signal: AbortSignal;
  onNote?: (note: string) => void;
  /** In place of what nvidia-smi says. */
  cards?: (signal: AbortSignal) => Promise<Card[]>;
};

/**
 * For every engine one runtime per GPU, of the best kind that really renders there. A GPU that does not is left out
 * with a note and never fails the node, whose CPU works.
 */
export async function findGpuEngines(
  engines: readonly RenderRuntime[],
  { signal, onNote, cards = nvidiaCards }: FindGpuOptions,
): Promise<RenderRuntime[]> {
  const found: RenderRuntime[] = [];
  let known: Card[] | undefined;
  for (const { engine, gpus } of engines) {
    const note = (text: string) => onNote?.(`${engine.id}: ${text}`);
    const reported = await gpus?.report(signal).catch((error: unknown) => {
      if (signal.aborted) throw error;
      note(`its GPUs could not be asked for: ${toFarmError(error).message}`);
      return null;
    });
    if (gpus === undefined || reported === undefined || reported === null) continue;
    known ??= await cards(signal);
    found.push(...(await bestOf(gpus, reported, known, note, signal)));
  }
  return found;
}

async function bestOf(
  gpus: GpuAccess,
  reported: readonly ReportedDevice[],
  cards: readonly Card[],
  note: (text: string) => void,
  signal: AbortSignal,
): Promise<RenderRuntime[]> {
  let left = reported.filter((device) => DEVICE_TYPES.includes(device.type));
  for (;;) {
    const { type, devices } = chooseDevices(left, 'any');
    if (type === 'CPU') {
      if (reported.every((device) => device.type === 'CPU'))
        note('Blender reports no GPU, though this machine has one');
      return [];
    }
    const working: RenderRuntime[] = [];
    for (const device of devices) {
      const bound = bindDevice(device, cards);
      const runtime = await tried(gpus, bound, note, signal);
      if (runtime !== null) working.push(runtime);
    }
    if (working.length > 0) return working;
    left = left.filter((device) => device.type !== type);
  }
}

async function tried(
  gpus: GpuAccess,
  device: BoundDevice,
  note: (text: string) => void,
  signal: AbortSignal,
): Promise<BoundRuntime | null> {
  try {
    const runtime = gpus.on(device);
    await runtime.tryOut(signal);
    return runtime;
  } catch (error) {
    if (signal.aborted) throw error;
    const { code, message } = toFarmError(error);
    note(`${device.name} (${device.type}) is left out: ${code}: ${message}`);
    return null;
  }
}
