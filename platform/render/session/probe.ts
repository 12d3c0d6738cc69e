/** Questions to a Blender that has no scene: which devices it reports, and whether one of them renders. */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { BoundDevice, ReportedDevice } from '../device-choice.ts';
import { createExchange } from './exchange.ts';
import type { Guest, Launch } from './launcher.ts';
import { DEFAULT_SESSION_LIMITS, type SessionLimits } from './limits.ts';
import { deviceArgument, onDevice } from './on-device.ts';
import { devicesSchema, triedSchema } from './replies.ts';
import { Wire } from './wire.ts';

/** A cold driver takes seconds to wake its cards, and OptiX a minute or more to prepare its kernels the first time. */
const PROBE_TIMEOUT_MS = 300_000;

export type ProbeOptions = {
  signal: AbortSignal;
  launch: Launch;
  tempFolder?: string | undefined;
  guest?: Guest | undefined;
  limits?: Partial<SessionLimits>;
};

/** What Blender reports inside this launcher's sandbox. */
export async function reportDevices(options: ProbeOptions): Promise<ReportedDevice[]> {
  return await withBlender(options, async (wire, waiting) => {
    const { devices } = await wire.command('devices', {}, devicesSchema, waiting);
    return devices;
  });
}

/** Renders a few pixels on a device. Throws GPU_NOT_FOUND or GPU_NOT_USED, or how Blender broke down over it. */
export async function tryDevice(device: BoundDevice, options: ProbeOptions): Promise<void> {
  await withBlender(options, async (wire, waiting) => {
    const parameters = { device: deviceArgument(device) };
    await onDevice(device.type, wire, undefined, () =>
      wire.command('tryDevice', parameters, triedSchema, waiting),
    );
  });
}

async function withBlender<T>(
  { signal, launch, tempFolder, guest, limits }: ProbeOptions,
  work: (wire: Wire, waiting: { signal: AbortSignal; timeoutMs: number }) => Promise<T>,
): Promise<T> {
  const waiting = { signal, timeoutMs: PROBE_TIMEOUT_MS };
  const exchange = await createExchange(tempFolder, { guest });
  let wire: Wire;
  try {
    const nothing = join(exchange.input, 'nothing');
    await mkdir(nothing);
    const folders = { scene: nothing, input: exchange.input, output: exchange.output };
    wire = await Wire.start(() => launch(folders, { threads: 1 }), exchange, {
      ...DEFAULT_SESSION_LIMITS,
      ...limits,
    });
  } catch (error) {
    await exchange.remove();
    throw error;
  }
  try {
    await wire.ready(waiting);
    return await work(wire, waiting);
  } finally {
    wire.end('closed', 'the question was answered');
    await wire.closed;
  }
}
