/** Which jobs are for GPUs, and who may have them. */
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { z } from 'zod';
import { ableNodes, endHopelessJobs } from '../../coordinator/scheduling/able-nodes.ts';
import { deviceClassOf, onlineSince, welcomeNode } from '../../coordinator/scheduling/nodes.ts';
import { submitJob } from '../../coordinator/submission/jobs.ts';
import { Scenes } from '../../coordinator/submission/scenes.ts';
import { addressOf, newPrivateKey } from '../../platform/chain/signing.ts';
import type { RenderRuntime } from '../../platform/render/runtime.ts';
import { addressSchema, type NodeId, nodeIdSchema } from '../../protocol/ids.ts';
import type { JobRequest } from '../../protocol/job.ts';
import { type helloSchema, PROTOCOL_VERSION } from '../../protocol/messages.ts';
import {
  DEVICE_CLASS,
  ENGINE,
  SCENE,
  type TestCoordinator,
  testCoordinator,
} from '../support/coordinator-context.ts';

vi.setConfig({ testTimeout: 30_000, hookTimeout: 60_000 });

const OPTIX = 'optix-sm89';
const idle = new AbortController().signal;

let farm: TestCoordinator;
beforeEach(async () => {
  farm = await testCoordinator();
  const [cpu] = farm.context.engines as [RenderRuntime];
  farm.context.engines.push({ ...cpu, engine: { ...cpu.engine, deviceClass: OPTIX } });
});
afterEach(() => farm[Symbol.asyncDispose]());

type Engines = z.output<typeof helloSchema>['engines'];
const onCpu = { id: ENGINE, deviceClass: DEVICE_CLASS };
const onGpu = { id: ENGINE, deviceClass: OPTIX, device: 'card' };

let count = 0;
async function join(...engines: Engines): Promise<NodeId> {
  const id = nodeIdSchema.parse(`gpu-node-${++count}`);
  const address = addressSchema.parse(addressOf(newPrivateKey()));
  await welcomeNode(farm.context, id, {
    protocolVersion: PROTOCOL_VERSION,
    address,
    operator: address,
    engines,
  });
  await farm.db.updateTable('nodes').set({ operator: address }).where('id', '=', id).execute();
  return id;
}
const specOf = async (device: JobRequest['device']) => {
  const request = { scene: SCENE, name: 'a.blend', frames: [1], device };
  return (await farm.job(await submitJob(farm.context, new Scenes(farm.context), request, idle))).spec;
};
const able = async (deviceClass?: string) => {
  const job = await farm.addJob(deviceClass === undefined ? {} : { deviceClass });
  return (await ableNodes(farm.db, job.id, onlineSince(farm.clock.now(), 10_000))).sort();
};

describe('a job', () => {
  it('for any device is for the GPUs that are online when it is submitted, else for CPUs', async () => {
    expect((await specOf('any')).deviceClass).toBeUndefined();
    const node = await join(onCpu, onGpu);
    expect((await specOf('any')).deviceClass).toBe(OPTIX);
    expect((await specOf('cpu')).deviceClass).toBeUndefined();
    const until = new Date(farm.clock.now() + 60_000);
    await farm.db.updateTable('nodes').set({ quarantined_until: until }).where('id', '=', node).execute();
    expect((await specOf('any')).deviceClass).toBeUndefined();
    await farm.db.updateTable('nodes').set({ quarantined_until: null }).where('id', '=', node).execute();
    await farm.everybodyLeaves();
    expect((await specOf('any')).deviceClass).toBeUndefined();
  });

  it('for GPUs waits for one, and is refused where this farm could not check it', async () => {
    expect((await specOf('gpu')).deviceClass).toBe(OPTIX);
    farm.context.engines.pop();
    await expect(specOf('gpu')).rejects.toMatchObject({ code: 'GPU_NOT_FOUND' });
  });

  it('for GPUs is for the nodes with that class, and one for CPUs for all that have a CPU', async () => {
    await farm.everybodyLeaves();
    const [both, cpu] = [await join(onCpu, onGpu), await join(onCpu)];
    expect(await able()).toEqual([both, cpu]);
    expect(await able(OPTIX)).toEqual([both]);
    expect(await able('optix-sm70')).toEqual([]);
  });

  it('for GPUs that this farm cannot check any more is ended', async () => {
    const [kept, ended] = [
      await farm.addJob({ deviceClass: OPTIX }),
      await farm.addJob({ deviceClass: 'cuda-sm50' }),
    ];
    await endHopelessJobs(farm.context);
    expect((await farm.job(kept.id)).state).toBe('active');
    expect(await farm.job(ended.id)).toMatchObject({
      state: 'failed',
      reason: expect.stringContaining('other GPUs (cuda-sm50)'),
    });
  });
});

describe('a node', () => {
  it('whose GPU alone can be checked gets no work for CPUs', async () => {
    await farm.everybodyLeaves();
    const node = await join({ ...onCpu, deviceClass: 'cpu-sse42' }, onGpu);
    expect(await able()).toEqual([]);
    expect(await able(OPTIX)).toEqual([node]);
    const row = await farm.node(node);
    expect(deviceClassOf(row, { engine: ENGINE })).toBeNull();
    expect(deviceClassOf(row, { engine: ENGINE, deviceClass: OPTIX })).toBe(OPTIX);
    expect(deviceClassOf(row, { engine: ENGINE, deviceClass: 'optix-sm70' })).toBeNull();
  });

  it.each<[string, Engines[number]]>([
    ['a class of GPUs that this farm has none of', { ...onGpu, deviceClass: 'optix-sm70' }],
    ['a GPU class without a GPU', { id: ENGINE, deviceClass: OPTIX }],
    ['a GPU that is a CPU', { ...onCpu, device: 'card' }],
  ])('that has %s and nothing else is refused', async (_what, engine) => {
    await expect(join(engine)).rejects.toMatchObject({ code: 'NODE_NOT_SERVED' });
  });
});
