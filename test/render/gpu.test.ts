/**
 * GPUs, on machines without one: what is read, chosen, asked for and refused. The outputs of nvidia-smi and the names
 * Cycles gives its devices are written after their documentation and source; nothing here has seen a GPU.
 */
import { execFile } from 'node:child_process';
import { chmod, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';
import { packageRoot } from '../../platform/package-root.ts';
import type { BoundDevice, ReportedDevice } from '../../platform/render/device-choice.ts';
import { createDockerRuntime } from '../../platform/render/docker/runtime.ts';
import { runtimeOf } from '../../platform/render/engines.ts';
import { bindDevice, gpuDeviceClass, pciOf, readCards } from '../../platform/render/gpu/cards.ts';
import { findGpuEngines } from '../../platform/render/gpu/find-gpu-engines.ts';
import { nvidiaCards, nvidiaDeviceFiles } from '../../platform/render/gpu/nvidia.ts';
import { DeviceWitness } from '../../platform/render/gpu/witness.ts';
import { whyLeftOut } from '../../platform/render/images/labels.ts';
import { createProcessRuntime } from '../../platform/render/process/runtime.ts';
import { sandboxArguments } from '../../platform/render/process/sandbox.ts';
import type { RenderRuntime } from '../../platform/render/runtime.ts';
import { devicesSchema } from '../../platform/render/session/replies.ts';
import { FarmError } from '../../protocol/errors.ts';
import { testImage } from './docker-support.ts';
import { makeFixtures, temporaryFolder } from './support.ts';

const { signal } = new AbortController();
const UUIDS = [
  'GPU-01234567-89ab-cdef-0123-456789abcdef',
  'GPU-11234567-89ab-cdef-0123-456789abcdef',
] as const;
const SMI = `${UUIDS[0]}, 00000000:01:00.0, 8.9, NVIDIA GeForce RTX 4090
${UUIDS[1]}, 00000000:C1:00.0, 8.6, NVIDIA RTX A4000, 16 GB
`;
const REPORT: { devices: ReportedDevice[] } = {
  devices: [
    { type: 'OPTIX', id: 'CUDA_NVIDIA GeForce RTX 4090_0000:01:00_OptiX', name: 'NVIDIA GeForce RTX 4090' },
    { type: 'OPTIX', id: 'CUDA_NVIDIA RTX A4000_0000:c1:00_OptiX', name: 'NVIDIA RTX A4000' },
    { type: 'CUDA', id: 'CUDA_NVIDIA GeForce RTX 4090_0000:01:00', name: 'NVIDIA GeForce RTX 4090' },
    { type: 'CUDA', id: 'CUDA_NVIDIA RTX A4000_0000:c1:00', name: 'NVIDIA RTX A4000' },
    { type: 'CPU', id: 'CPU', name: 'AMD EPYC' },
  ],
};
const [optix, , cuda] = REPORT.devices as [ReportedDevice, ReportedDevice, ReportedDevice];
const BOUND: BoundDevice = { ...cuda, uuid: UUIDS[0], card: UUIDS[0], deviceClass: 'cuda-sm89' };

describe('the device class of a card', () => {
  it('comes from the compute capability of the card in the same place on the bus', () => {
    const cards = readCards(SMI);
    expect(cards.map(({ pci, name }) => [pci, name])).toEqual([
      ['0000:01:00', 'NVIDIA GeForce RTX 4090'],
      ['0000:c1:00', 'NVIDIA RTX A4000, 16 GB'],
    ]);
    const bound = devicesSchema.parse(REPORT).devices.map((device) => bindDevice(device, cards));
    expect(bound.slice(0, 4).map(({ deviceClass, uuid }) => [deviceClass, uuid])).toEqual([
      ['optix-sm89', UUIDS[0]],
      ['optix-sm86', UUIDS[1]],
      ['cuda-sm89', UUIDS[0]],
      ['cuda-sm86', UUIDS[1]],
    ]);
    expect(bound[0]?.card).toBe(bound[2]?.card);
  });

  it('says that it is only a name where nothing else is known', () => {
    expect(bindDevice(optix, [])).toMatchObject({
      deviceClass: 'optix-named-nvidia-geforce-rtx-4090',
      uuid: null,
      card: '0000:01:00',
    });
    const [card] = readCards(SMI.replace('8.9', '[N/A]'));
    expect(gpuDeviceClass(optix, card)).toBe('optix-named-nvidia-geforce-rtx-4090');
    expect(gpuDeviceClass({ type: 'HIP', id: 'x', name: '**' }, undefined)).toBe('hip-named-unknown');
    expect(gpuDeviceClass({ ...optix, name: 'x'.repeat(500) }, undefined)).toHaveLength(64);
  });

  it.each([
    '',
    'No devices were found\n',
    'a,b,c,d',
    `${UUIDS[0]}, 01:00.0, 8.9, x`,
    'GPU-1, 00000000:01:00.0, 8.9, x',
  ])('is not made of %j', (text) => {
    expect(readCards(text)).toEqual([]);
  });

  it('is not taken from a name that only looks like a place', () => {
    expect(pciOf('CUDA_Card 0000:01:00 Ti')).toBeNull();
    expect(pciOf('CPU')).toBeNull();
  });

  it('is asked from nvidia-smi, and nobody fails where that is missing or does not answer', async () => {
    await using folder = await temporaryFolder();
    expect(await nvidiaCards(signal, [folder.path])).toEqual([]);
    const program = join(folder.path, 'nvidia-smi');
    await writeFile(program, `#!/bin/sh\necho '${UUIDS[0]}, 00000000:01:00.0, 8.9, Card'\n`);
    await chmod(program, 0o755);
    expect(await nvidiaCards(signal, [folder.path])).toMatchObject([
      { uuid: UUIDS[0], computeCapability: '8.9' },
    ]);
    await writeFile(program, '#!/bin/sh\necho Field "compute_cap" is not a valid field\nexit 2\n');
    expect(await nvidiaCards(signal, [folder.path])).toEqual([]);
  });
});

describe('what a sandbox is given', () => {
  it('of /dev: the files to compute with, and none where there is no card', async () => {
    await using folder = await temporaryFolder();
    for (const name of ['nvidiactl', 'nvidia-uvm', 'nvidia-modeset', 'null'])
      await writeFile(join(folder.path, name), '');
    await mkdir(join(folder.path, 'nvidia-caps'));
    expect(await nvidiaDeviceFiles(folder.path)).toEqual([]);
    await writeFile(join(folder.path, 'nvidia0'), '');
    expect(await nvidiaDeviceFiles(folder.path)).toEqual(
      ['nvidia-uvm', 'nvidia0', 'nvidiactl'].map((name) => join(folder.path, name)),
    );
    expect(await nvidiaDeviceFiles(join(folder.path, 'none'))).toEqual([]);
  });

  it('is one card and its files, and nothing at all for the CPU', () => {
    const options = {
      programPath: '/usr/bin/blender',
      pythonFolder: '/p',
      folders: { scene: '/a', input: '/b', output: '/c' },
      limits: { fileBytes: 1, scratchBytes: 1 },
      prlimitPath: undefined,
      withoutAvx2: false,
      niceness: 0,
    };
    const onGpu = sandboxArguments({ ...options, gpu: { files: ['/dev/nvidia0'], uuid: UUIDS[0] } }, []).join(
      ' ',
    );
    expect(onGpu).toContain('--dev-bind /dev/nvidia0 /dev/nvidia0');
    expect(onGpu).toContain(`--setenv CUDA_VISIBLE_DEVICES ${UUIDS[0]}`);
    expect(sandboxArguments(options, []).join(' ')).not.toMatch(/dev-bind|CUDA|nvidia/);
  });
});

describe('what Cycles says it has rendered on', () => {
  const says = async (...lines: string[]) => {
    const witness = new DeviceWitness('OPTIX');
    for (const line of lines) witness.add(line);
    await witness.confirm(0);
  };
  const gpu = 'Path tracing on: NVIDIA GeForce RTX 4090 [OPTIX]';
  const cpu = 'Path tracing on: Intel Xeon Processor @ 2.50GHz (CPU) (2 threads) [CPU]';

  it('has to be the GPU of the session', async () => {
    await says('Fra:1 Mem:9.71M', gpu, gpu);
    for (const lines of [[cpu], [gpu, cpu], [], [`Fra:1 | Scene, ${gpu}`], [`${gpu} and more`]]) {
      await expect(says(...lines)).rejects.toMatchObject({ code: 'GPU_NOT_USED' });
    }
  });

  it('may come later than the answer of the renderer', async () => {
    const witness = new DeviceWitness('OPTIX');
    const confirmed = witness.confirm();
    witness.add(gpu);
    await confirmed;
  });
});

describe('the engines of a machine with two cards', () => {
  const standIn = (
    report: () => Promise<ReportedDevice[] | null>,
    works: (device: BoundDevice) => void = () => undefined,
  ): RenderRuntime => {
    const engine = {
      id: 'blender-4.3.2',
      version: '4.3.2',
      deviceClass: 'cpu-avx2',
      runtime: 'process' as const,
    };
    const open = () => Promise.reject(new FarmError('INTERNAL', 'nothing is rendered here'));
    const on = (device: BoundDevice) => ({
      engine: { ...engine, deviceClass: device.deviceClass, device },
      open,
      tryOut: async () => works(device),
    });
    return { engine, open, gpus: { report, on } };
  };
  const find = async (runtime: RenderRuntime) => {
    const notes: string[] = [];
    const cards = async () => readCards(SMI);
    const found = await findGpuEngines([runtime], { signal, cards, onNote: (note) => notes.push(note) });
    return { found, notes, classes: found.map(({ engine }) => engine.deviceClass) };
  };

  it('are one for each card, of the best kind', async () => {
    const runtime = standIn(async () => REPORT.devices);
    const { found, classes, notes } = await find(runtime);
    expect([classes, notes]).toEqual([['optix-sm89', 'optix-sm86'], []]);
    const all = [runtime, ...found];
    expect(runtimeOf(all, 'blender-4.3.2').engine.deviceClass).toBe('cpu-avx2');
    expect(runtimeOf(all, 'blender-4.3.2', 'optix-sm86').engine.device?.uuid).toBe(UUIDS[1]);
  });

  it('leave out what is reported and does not render, and say so', async () => {
    const broken = (device: BoundDevice) => {
      if (device.type === 'OPTIX') throw new FarmError('GPU_NOT_FOUND', 'no OptiX in this driver');
      if (device.uuid === UUIDS[1]) throw new FarmError('GPU_NOT_USED', 'it was the CPU');
    };
    const { classes, notes } = await find(standIn(async () => REPORT.devices, broken));
    expect(classes).toEqual(['cuda-sm89']);
    expect(notes).toHaveLength(3);
    expect(notes.join()).toContain('NVIDIA RTX A4000 (CUDA) is left out: GPU_NOT_USED: it was the CPU');
  });

  it('are none where there is nothing to ask, and a GPU that cannot be asked fails nobody', async () => {
    expect(await find(standIn(async () => null))).toMatchObject({ found: [], notes: [] });
    const failing = await find(
      standIn(() => Promise.reject(new FarmError('RENDER_FAILED', 'the driver is stuck'))),
    );
    expect(failing.found).toEqual([]);
    expect(failing.notes.join()).toContain('the driver is stuck');
    const { notes } = await find(standIn(async () => REPORT.devices.slice(4)));
    expect(notes.join()).toContain('reports no GPU');
  });
});

describe('a session on a GPU that is not there', { timeout: 240_000 }, () => {
  it('is refused by the process runtime, by the trial as well as with a scene', async () => {
    await using folder = await temporaryFolder();
    await makeFixtures(folder.path);
    const runtime = await createProcessRuntime({ signal, gpuDeviceFiles: ['/dev/null'] });
    const bound = runtime.gpus?.on(BOUND);
    await expect(bound?.tryOut(signal)).rejects.toMatchObject({ code: 'GPU_NOT_FOUND' });
    const scene = { root: folder.path, main: 'plain.blend' };
    await expect(bound?.open(scene, { signal, threads: 1 })).rejects.toMatchObject({ code: 'GPU_NOT_FOUND' });
    // Asked for in the same sandbox this Blender reports no GPU.
    expect((await runtime.gpus?.report(signal))?.map((device) => device.type)).toEqual(['CPU']);
    expect(
      await (await createProcessRuntime({ signal, gpuDeviceFiles: [] })).gpus?.report(signal),
    ).toBeNull();
  });

  it('is refused by the container runtime, whose engine cannot give one', async () => {
    await using folder = await temporaryFolder();
    const { docker, image } = await testImage();
    const runtime = await createDockerRuntime({ docker, image, owner: folder.path });
    expect(await runtime.gpus?.report(signal)).toBeNull();
    await expect(runtime.gpus?.on(BOUND).tryOut(signal)).rejects.toMatchObject({ code: 'RENDER_FAILED' });
    expect(() => runtime.gpus?.on({ ...BOUND, uuid: null })).toThrowError(
      expect.objectContaining({ code: 'GPU_NOT_FOUND' }),
    );
    expect(whyLeftOut({ gpu: ['cuda', 'optix'] }, false)).toContain('nvidia-ctk');
    expect(whyLeftOut({ gpu: ['cuda', 'optix'] }, true)).toBeNull();
    expect(whyLeftOut({ gpu: [] }, false)).toBeNull();
  });
});

describe('Blender with two cards that are made up', { timeout: 240_000 }, () => {
  const run = async (...parameters: string[]) => {
    const script = join(packageRoot(), 'test/render/check-devices.py');
    const images = join(packageRoot(), 'blender-images');
    const arguments_ = [
      ...['-b', '--factory-startup', '--debug-cycles', '--verbose', '2'],
      ...['--python', script, '--', images, ...parameters],
    ];
    // Blender ends with code 1 where a render was refused; what it printed is in the error then.
    const { stdout, stderr } = await promisify(execFile)('blender', arguments_).catch(
      (error: { stdout: string; stderr: string }) => error,
    );
    return `${stdout}\n${stderr}`.split('\n');
  };
  const expected = {
    refused: ['GPU_NOT_FOUND', 'GPU_NOT_FOUND'],
    used: ['CUDA_Card_0000:02:00'],
    kind: 'CUDA',
    scene: 'GPU',
  };
  const stateIn = (lines: string[]) =>
    JSON.parse(lines.find((line) => line.startsWith('DEVICES '))?.slice('DEVICES '.length) ?? 'null');

  it('has exactly one of them switched on, and renders nothing when it turns out not to be there', async () => {
    const lines = await run('--cycles-device', 'CUDA');
    expect(stateIn(lines)).toEqual(expected);
    expect(lines.find((line) => line.startsWith('REFUSED'))).toContain('Found no Cycles device');
    expect(lines).not.toContain('RENDERED');
  });

  it('takes the CPU without a word when it is not told twice, and what it logs gives that away', async () => {
    const lines = await run();
    expect(stateIn(lines)).toEqual(expected);
    expect(lines).toContain('RENDERED');
    const witness = new DeviceWitness('CUDA');
    for (const line of lines) witness.add(line);
    await expect(witness.confirm(0)).rejects.toMatchObject({
      code: 'GPU_NOT_USED',
      message: expect.stringContaining('(CPU)'),
    });
  });
});
