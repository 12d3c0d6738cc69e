/** GPU choice and what a container is asked for; nothing here has seen a GPU. */
import { describe, expect, it } from 'vitest';
import {
  chooseDevices,
  enginesForDevice,
  isGpuClass,
  type ReportedDevice,
} from '../../platform/render/device-choice.ts';
import { containerRequest } from '../../platform/render/docker/container-request.ts';
import { allDevices, deviceRequests } from '../../platform/render/docker/gpu-request.ts';
import { createProcessRuntime } from '../../platform/render/process/runtime.ts';
import type { EngineInfo } from '../../platform/render/runtime.ts';
import { makeFixtures, temporaryFolder } from './support.ts';

const cpu: ReportedDevice = { type: 'CPU', id: 'CPU', name: 'a CPU' };
const device = (type: ReportedDevice['type'], id: string): ReportedDevice => ({
  type,
  id,
  name: `card ${id}`,
});
const UUID = 'GPU-01234567-89ab-cdef-0123-456789abcdef';

describe('the devices of a session', () => {
  const order = ['OPTIX', 'CUDA', 'HIP', 'METAL', 'ONEAPI'] as const;

  it('are the best kind that Blender reports: OptiX, CUDA, HIP, Metal, oneAPI, then the CPU', () => {
    const reported: ReportedDevice[] = [cpu, ...order.map((type) => device(type, '0')).reverse()];
    for (const type of order) {
      expect(chooseDevices(reported, 'any').type).toBe(type);
      reported.splice(
        reported.findIndex((one) => one.type === type),
        1,
      );
    }
    expect(chooseDevices(reported, 'any')).toEqual({ type: 'CPU', devices: [cpu] });
  });

  it('are the CPU when that was asked for', () => {
    expect(chooseDevices([device('OPTIX', '0'), cpu], 'cpu')).toEqual({ type: 'CPU', devices: [cpu] });
  });

  it.each([[[]], [[cpu]]])('are never a CPU for a job that asks for a GPU (%j)', (reported) => {
    expect(() => chooseDevices(reported, 'gpu')).toThrowError(
      expect.objectContaining({ code: 'GPU_NOT_FOUND' }),
    );
    const engine: EngineInfo = { id: 'a', version: '4.3.2', deviceClass: 'cpu-avx2', runtime: 'docker' };
    expect(() => enginesForDevice([engine], 'gpu')).toThrowError(
      expect.objectContaining({ code: 'GPU_NOT_FOUND' }),
    );
    expect(enginesForDevice([engine], 'cpu')).toEqual([engine]);
    const fast = { ...engine, deviceClass: 'optix-sm90' };
    expect(enginesForDevice([engine, fast], 'gpu')).toEqual([fast]);
    expect(isGpuClass('cpu-neon')).toBe(false);
    // A GPU that waits for work is what `any` takes first, and one that nobody offers it does not take at all.
    expect(enginesForDevice([engine, fast], 'any')).toEqual([engine]);
    expect(enginesForDevice([engine, fast], 'any', new Set(['a optix-sm90']))).toEqual([fast, engine]);
    expect(enginesForDevice([engine, fast], 'cpu', new Set(['a optix-sm90']))).toEqual([engine]);
    const slow = { ...engine, deviceClass: 'cuda-sm50' };
    expect(enginesForDevice([engine, slow, fast], 'gpu', new Set(['a optix-sm90']))).toEqual([fast, slow]);
  });

  it('are what this Blender reports, the CPU at least', async () => {
    const { signal } = new AbortController();
    await using folder = await temporaryFolder();
    await makeFixtures(folder.path);
    const runtime = await createProcessRuntime({ signal });
    await using session = await runtime.open(
      { root: folder.path, main: 'plain.blend' },
      { signal, threads: 1 },
    );
    expect((await session.devices?.({ signal }))?.map((one) => one.type)).toContain('CPU');
  });
});

describe('the request for a container', () => {
  const spec = {
    imageId: `sha256:${'a'.repeat(64)}`,
    folders: { scene: '/a', input: '/b', output: '/c' },
    pythonFolder: '/p',
    threads: 16,
    processors: 4,
    user: { uid: 1234, gid: 1235 },
    limits: { memoryBytes: 2 ** 30, scratchBytes: 2 ** 20, fileBytes: 1000, processes: 64 },
    labels: { 'org.tessera.owner': '/data' },
    withoutAvx2: false,
    niceness: 0,
    devices: [],
  };

  it('names the image by id and takes every right away', () => {
    const request = containerRequest(spec);
    expect(request).toMatchObject({
      Image: spec.imageId,
      User: '1234:1235',
      NetworkDisabled: true,
      Labels: spec.labels,
      HostConfig: {
        NetworkMode: 'none',
        IpcMode: 'none',
        ReadonlyRootfs: true,
        CapDrop: ['ALL'],
        SecurityOpt: ['no-new-privileges=true'],
        Privileged: false,
        Memory: 2 ** 30,
        MemorySwap: 2 ** 30,
        // Above the limit that is watched, so that a scene is seen to be over it.
        PidsLimit: 128,
        ReadonlyPaths: expect.arrayContaining(['/proc/sys', '/proc/pressure']),
        NanoCpus: 4e9,
        LogConfig: { Type: 'none' },
      },
    });
    expect(request.HostConfig?.Mounts?.map(({ Target, ReadOnly }) => [Target, ReadOnly])).toEqual([
      ['/scene', true],
      ['/tessera/session', true],
      ['/in', true],
      ['/out', false],
    ]);
    expect(Object.keys(request.HostConfig?.Tmpfs ?? {})).toEqual(['/tmp', '/sys']);
    expect(request.HostConfig).not.toHaveProperty('DeviceRequests');
  });

  it('gives a container that gives way the share that Linux gives to its niceness', () => {
    expect(containerRequest(spec).HostConfig).not.toHaveProperty('CpuShares');
    // The kernel's own table has 15 of 1024 for it (sched_prio_to_weight).
    expect(containerRequest({ ...spec, niceness: 19 }).HostConfig?.CpuShares).toBe(15);
  });

  it('asks for exactly one NVIDIA card by its id, and for no other maker', () => {
    const devices = deviceRequests('OPTIX', UUID);
    // A driver looks for its card below /sys.
    expect(Object.keys(containerRequest({ ...spec, devices }).HostConfig?.Tmpfs ?? {})).toEqual(['/tmp']);
    expect(containerRequest({ ...spec, devices }).HostConfig?.DeviceRequests).toEqual([
      { Driver: 'nvidia', DeviceIDs: [UUID], Capabilities: [['gpu', 'compute', 'utility', 'graphics']] },
    ]);
    expect(deviceRequests('CUDA', UUID)[0]?.Capabilities).toEqual([['gpu', 'compute', 'utility']]);
    expect(deviceRequests('CPU', null)).toEqual([]);
    expect(allDevices()).toMatchObject([{ Driver: 'nvidia', Count: -1 }]);
    expect(containerRequest({ ...spec, devices, deviceType: 'OPTIX' }).Cmd?.slice(-4)).toEqual([
      ...['--', '/in/s', '--cycles-device', 'OPTIX'],
    ]);
    expect(containerRequest(spec).Cmd).not.toContain('--cycles-device');
    for (const [type, id] of [
      ['CUDA', 'all'],
      ['OPTIX', '0'],
      ['OPTIX', null],
      ['HIP', UUID],
      ['ONEAPI', UUID],
      ['METAL', UUID],
    ] as const) {
      expect(() => deviceRequests(type, id)).toThrowError(expect.objectContaining({ code: 'GPU_NOT_FOUND' }));
    }
  });
});
