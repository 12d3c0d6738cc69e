/** How a container is given a GPU, and how the GPUs of a machine are shared out. Pure; never run on a real GPU yet. */
import type { DeviceRequest } from 'dockerode';
import { FarmError } from '../../../protocol/errors.ts';
import type { DevicePlan, DeviceType, ReportedDevice } from '../device-choice.ts';

/** Which card a session renders on; none for the CPU. */
export type SessionDevice = { type: DeviceType; device: ReportedDevice | null };

/** One session for each GPU, since two scenes on one card wait for each other; one for all of the CPU. */
export function sessionsFor(plan: DevicePlan): SessionDevice[] {
  if (plan.type === 'CPU') return [{ type: 'CPU', device: null }];
  return plan.devices.map((device) => ({ type: plan.type, device }));
}

/**
 * The device requests of a container that renders on this card. `uuid` is the driver's own name of it (nvidia-smi -L):
 * numbers move when a card is added. Only NVIDIA's runtime takes requests; other makers' cards are refused.
 */
export function deviceRequests(type: DeviceType, uuid: string): DeviceRequest[] {
  switch (type) {
    case 'CPU':
      return [];
    case 'OPTIX':
    case 'CUDA':
      if (!/^GPU-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(uuid)) {
        throw new FarmError(
          'GPU_NOT_FOUND',
          `${uuid} is not the id of an NVIDIA GPU (nvidia-smi -L lists them)`,
        );
      }
      return [
        {
          Driver: 'nvidia',
          DeviceIDs: [uuid],
          // OptiX and the display driver's compiler come with "graphics"; "compute" alone gives CUDA.
          Capabilities: [
            type === 'OPTIX' ? ['gpu', 'compute', 'utility', 'graphics'] : ['gpu', 'compute', 'utility'],
          ],
        },
      ];
    case 'HIP':
    case 'ONEAPI':
    case 'METAL':
      throw new FarmError(
        'GPU_NOT_FOUND',
        `containers are not given ${type} devices yet; use TESSERA_RUNTIME=process`,
      );
    default:
      return type satisfies never;
  }
}
