/** What a session renders on: chosen from what Blender itself reports, never from what is plugged in. Pure. */
import { FarmError } from '../../protocol/errors.ts';

/** Cycles' own names, fastest first: OptiX traces rays in hardware that CUDA leaves idle. */
export const DEVICE_TYPES = ['OPTIX', 'CUDA', 'HIP', 'METAL', 'ONEAPI', 'CPU'] as const;
export type DeviceType = (typeof DEVICE_TYPES)[number];

/** One line of Cycles' device list. The same card is listed once per type that can drive it. */
export type ReportedDevice = { type: DeviceType; id: string; name: string };

/** A GPU that a session can be opened on. */
export type BoundDevice = ReportedDevice & {
  /** The driver's name of the card; null where it did not say. */
  uuid: string | null;
  /** The same for every type that drives the same card: what is bound to it shares it. */
  card: string;
  /** `optix-sm89`, … */
  deviceClass: string;
};

export type WantedDevice = 'any' | 'cpu' | 'gpu';

/** The devices of one kind to render on; every one of them gets a session of its own. */
export type DevicePlan = { type: DeviceType; devices: ReportedDevice[] };

/** Throws GPU_NOT_FOUND when a GPU is wanted and Blender reports none: a CPU is never taken instead. */
export function chooseDevices(reported: readonly ReportedDevice[], wanted: WantedDevice): DevicePlan {
  const allowed = DEVICE_TYPES.filter((type) => wanted === 'any' || (wanted === 'cpu') === (type === 'CPU'));
  for (const type of allowed) {
    const devices = reported.filter((device) => device.type === type);
    if (devices.length > 0) return { type, devices };
  }
  if (wanted !== 'gpu') return { type: 'CPU', devices: [] };
  const names = reported.map((device) => `${device.name} (${device.type})`).join(', ') || 'nothing';
  throw new FarmError('GPU_NOT_FOUND', `the job asks for a GPU; this engine reports ${names}`);
}

/** Whether a device class is that of a GPU; classes of CPUs are named after their kernels. */
export function isGpuClass(deviceClass: string): boolean {
  return !/^cpu(-|$)/.test(deviceClass);
}

/** An engine on a device class, as one word: what is compared where both have to be the same. */
export function classKey(engine: string, deviceClass: string): string {
  return `${engine} ${deviceClass}`;
}

/**
 * Those engines that render on what a job wants, in the order of preference. `offered` are the {@link classKey}s of
 * GPUs that wait for work now: `any` takes one of them before a CPU, and no GPU that nobody has. Throws GPU_NOT_FOUND
 * when there is none for a job that wants one.
 */
export function enginesForDevice<E extends { id: string; deviceClass: string }>(
  engines: readonly E[],
  wanted: WantedDevice,
  offered: ReadonlySet<string> = new Set(),
): E[] {
  const isOffered = (engine: E): boolean => offered.has(classKey(engine.id, engine.deviceClass));
  const cpus = engines.filter((engine) => !isGpuClass(engine.deviceClass));
  const gpus = engines.filter((engine) => isGpuClass(engine.deviceClass));
  if (wanted === 'cpu') return cpus;
  if (wanted === 'any') return [...gpus.filter(isOffered), ...cpus];
  const fitting = [...gpus.filter(isOffered), ...gpus.filter((engine) => !isOffered(engine))];
  if (fitting.length > 0) return fitting;
  const there = engines.map((engine) => `${engine.id} on ${engine.deviceClass}`).join(', ');
  throw new FarmError('GPU_NOT_FOUND', `the job asks for a GPU; this farm has ${there}`, {
    kept: 'nothing was submitted, no money moved',
  });
}
