/** A node with two GPUs: stand-ins for its renderers, everything else is real. */
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { Dispatcher } from '../../coordinator/scheduling/dispatcher.ts';
import { requireWorkingNode, welcomeNode } from '../../coordinator/scheduling/nodes.ts';
import { publishQueued } from '../../coordinator/scheduling/publish-queued.ts';
import { receiptOf } from '../../coordinator/settlement/receipts.ts';
import { addressOf } from '../../platform/chain/signing.ts';
import type { BoundDevice } from '../../platform/render/device-choice.ts';
import { addressSchema } from '../../protocol/ids.ts';
import { PROTOCOL_VERSION } from '../../protocol/messages.ts';
import { deviceName, devicesOf, workUntilStopped } from '../../worker/devices.ts';
import type { Node } from '../../worker/node.ts';
import { tempFolder } from '../platform/temp-folder.ts';
import {
  DEVICE_CLASS,
  ENGINE,
  type JobOptions,
  type TestCoordinator,
  testCoordinator,
} from '../support/coordinator-context.ts';
import { type FakeNode, FakeRenderer, fakeNode } from './fake-node.ts';

vi.setConfig({ testTimeout: 60_000, hookTimeout: 120_000 });

/** A loaded machine may take long; what is waited for comes at once on a free one. */
const PATIENT = { timeout: 30_000, interval: 10 };

const OPTIX = 'optix-sm89';
const gpu = (number: number): BoundDevice => ({
  ...{ type: 'OPTIX', id: `CUDA_Card_0000:0${number}:00_OptiX`, name: 'Card' },
  ...{ uuid: null, card: `0000:0${number}:00`, deviceClass: OPTIX },
});

let farm: TestCoordinator;
let folder: Awaited<ReturnType<typeof tempFolder>>;
let fake: FakeNode;
let renderers: { cpu: FakeRenderer; gpus: [FakeRenderer, FakeRenderer] };
let dispatcher: Dispatcher;
let stopping: AbortController;
let working: Promise<unknown>;

beforeEach(async () => {
  farm = await testCoordinator();
  folder = await tempFolder();
  fake = await fakeNode(farm, folder.path);
  renderers = { cpu: fake.renderer, gpus: [new FakeRenderer(gpu(1)), new FakeRenderer(gpu(2))] };
  const all = [renderers.cpu, ...renderers.gpus].map((renderer) => renderer.runtime);
  farm.context.engines.push(renderers.gpus[0].runtime);
  await welcomeNode(farm.context, fake.node.config.nodeId, {
    protocolVersion: PROTOCOL_VERSION,
    address: addressSchema.parse(addressOf(fake.node.key)),
    operator: addressSchema.parse(addressOf(fake.node.key)),
    engines: all.map(({ engine: { id, deviceClass, device } }) => ({
      ...{ id, deviceClass },
      device: device && deviceName(device),
    })),
  });
  dispatcher = new Dispatcher(farm.context);
  await dispatcher.start();
  stopping = new AbortController();
  const { signal } = stopping;
  fake.onLease = async ({ device, run }) => {
    const node = await requireWorkingNode(farm.context, fake.node.config.nodeId, device);
    return await dispatcher.lease(node, run, signal);
  };
  const nodes = devicesOf(all).map((device): Node => ({ ...fake.node, ...device }));
  working = Promise.all(nodes.map((node) => workUntilStopped(node, signal)));
});
afterEach(async () => {
  stopping.abort();
  await working;
  await fake.node.sessions.close();
  await folder[Symbol.asyncDispose]();
  await farm[Symbol.asyncDispose]();
});

/** A job of four whole frames, its tasks on the list. */
async function submit(options: JobOptions = {}) {
  const job = await farm.addJob({ frames: [1, 2, 3, 4], whole: true, exr: false, ...options });
  await publishQueued(farm.db, farm.queue);
  for (const { id } of job.wholes) farm.queue.deliver({ taskId: id, jobId: job.id });
  return job;
}
const rowsOf = (tasks: readonly { id: Parameters<TestCoordinator['task']>[0] }[]) =>
  Promise.all(tasks.map((task) => farm.task(task.id)));

describe('a node with two GPUs', () => {
  it('renders on both at once, each in a session of its own, and leaves its CPU alone', async () => {
    let release: () => void = () => undefined;
    const released = new Promise<void>((resolve) => {
      release = resolve;
    });
    for (const renderer of renderers.gpus) renderer.hold = () => released;
    const job = await submit({ deviceClass: OPTIX });
    await vi.waitFor(() => expect(renderers.gpus.map(({ begun }) => begun.length)).toEqual([1, 1]), PATIENT);
    release();
    await vi.waitFor(async () => {
      expect((await rowsOf(job.wholes)).map((row) => row.state)).toEqual(job.wholes.map(() => 'delivered'));
    }, PATIENT);
    const receipts = (await rowsOf(job.wholes)).map(receiptOf);
    expect(new Set(receipts.map((receipt) => receipt.deviceClass))).toEqual(new Set([OPTIX]));
    const begun = renderers.gpus.flatMap((renderer) => renderer.begun);
    expect([...begun].sort()).toEqual([1, 2, 3, 4]);
    expect(renderers.gpus.map(({ opened }) => opened)).toEqual([1, 1]);
    expect(renderers.cpu.opened).toBe(0);
  });

  it('renders a job for CPUs on its CPU, and no job for GPUs of another class', async () => {
    const other = await submit({ deviceClass: 'optix-sm70' });
    const job = await submit();
    await vi.waitFor(async () => {
      expect((await rowsOf(job.wholes)).map((row) => row.state)).toEqual(job.wholes.map(() => 'delivered'));
    }, PATIENT);
    const receipts = (await rowsOf(job.wholes)).map(receiptOf);
    expect(new Set(receipts.map((receipt) => receipt.deviceClass))).toEqual(new Set([DEVICE_CLASS]));
    expect([renderers.cpu.opened, ...renderers.gpus.map(({ opened }) => opened)]).toEqual([1, 0, 0]);
    expect((await rowsOf(other.wholes)).map((row) => row.state)).toEqual(other.wholes.map(() => 'queued'));
  });

  it('may ask for each of them by name, and for none that it did not name', async () => {
    const { nodeId } = fake.node.config;
    const [first] = renderers.gpus;
    const name = deviceName(first.runtime.engine.device as BoundDevice);
    expect(await requireWorkingNode(farm.context, nodeId, name)).toMatchObject({
      engines: [ENGINE],
      gpu: { device: name, classes: [`${ENGINE} ${OPTIX}`] },
    });
    await expect(requireWorkingNode(farm.context, nodeId, 'another')).rejects.toMatchObject({
      code: 'MESSAGE_INVALID',
    });
  });
});

describe('a node without a GPU', () => {
  it('has one device, with all its engines and without a name', () => {
    const engines = [new FakeRenderer().runtime, new FakeRenderer().runtime];
    expect(devicesOf(engines)).toMatchObject([{ device: undefined, engines, last: null }]);
    expect(devicesOf(engines)).toHaveLength(1);
  });
});
