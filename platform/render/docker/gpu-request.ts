/** How a container is given GPUs. Pure; never run on a real GPU yet. */
import type { DeviceRequest } from 'dockerode';
import { FarmError } from '../../../protocol/errors.ts';
import type { DeviceType } from '../device-choice.ts';

/** OptiX and the display driver's compiler come with "graphics"; "compute" alone gives CUDA. */
const COMPUTE = ['gpu', 'compute', 'utility'];
const RAYS = [...COMPUTE, 'graphics'];

/** Every NVIDIA card of the machine: for a container that only looks at what there is. */
export function allDevices(): DeviceRequest[] {
  return [{ Driver: 'nvidia', Count: -1, Capabilities: [RAYS] }];
}

/**
 * The device requests of a container that renders on this card. `uuid` is the driver's own name of it (nvidia-smi -L):
 * numbers move when a card is added. Only NVIDIA's runtime takes requests; other makers' cards are refused.
 */
export function deviceRequests(type: DeviceType, uuid: string | null): DeviceRequest[] {
  switch (type) {
    case 'CPU':
      return [];
    case 'OPTIX':
    case 'CUDA':
      if (uuid === null || !/^GPU-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(uuid)) {
        throw new FarmError(
          'GPU_NOT_FOUND',
          uuid === null
            ? 'the driver does not say which card this is (nvidia-smi is missing or too old), so a container cannot be given it'
            : `${uuid} is not the id of an NVIDIA GPU (nvidia-smi -L lists them)`,
        );
      }
      return [
        {
          Driver: 'nvidia',
          DeviceIDs: [uuid],
          Capabilities: [type === 'OPTIX' ? RAYS : COMPUTE],
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
